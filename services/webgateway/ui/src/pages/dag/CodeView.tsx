import { useQuery } from '@tanstack/react-query';
import { useParams } from '@tanstack/react-router';
import { CodeEditor } from '../../components/CodeEditor';
import { CopyText, Loading, Problem } from '../../components/ui';
import { usePatchSearch, useSearch } from '../../lib/search';
import { formatLocal } from '../../lib/time';
import { dagQuery, sourceQuery } from '../../queries/dags';

/** The file of the DAG, at the latest or a chosen version. */
export function CodeView() {
  const { dagId } = useParams({ from: '/dags/$dagId' });
  const search = useSearch();
  const patch = usePatchSearch();
  const dag = useQuery(dagQuery(dagId));
  const source = useQuery(sourceQuery(dagId, search.version));
  const versions = dag.data?.versions ?? [];
  return (
    <div className="col grow">
      <div className="toolbar">
        <label className="row">
          <span className="muted">Version</span>
          <select
            className="field mono"
            value={search.version ?? ''}
            onChange={(event) => patch({ version: event.target.value || undefined })}
          >
            <option value="">latest</option>
            {search.version && !versions.some((one) => one.version === search.version) && (
              <option value={search.version}>{search.version.slice(0, 12)}</option>
            )}
            {versions.map((one) => (
              <option key={one.version} value={one.version}>
                {one.version.slice(0, 12)} · {formatLocal(one.parsed_time)} · {one.task_count} tasks
              </option>
            ))}
          </select>
        </label>
        {source.data && (
          <>
            <span className="mono faint truncate">{source.data.relative_path}</span>
            <CopyText text={source.data.text} label="Copy the code" />
          </>
        )}
      </div>
      {source.isPending ? (
        <Loading rows={14} label="Loading the code" />
      ) : source.isError && !source.data ? (
        <div style={{ padding: 16 }}>
          <Problem error={source.error} retry={() => void source.refetch()} />
        </div>
      ) : (
        <CodeEditor text={source.data.text} label={`Code of ${dagId}`} />
      )}
    </div>
  );
}
