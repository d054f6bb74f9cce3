import { useQuery } from '@tanstack/react-query';
import { Link, useParams } from '@tanstack/react-router';
import { Markdown } from '../../components/Markdown';
import { MemoryTable } from '../../components/Memory';
import { ExactTime } from '../../components/ui';
import { dagQuery } from '../../queries/dags';
import { memoryQuery } from '../../queries/memory';

/** Everything that is known of the DAG. */
export function DetailsView() {
  const { dagId } = useParams({ from: '/dags/$dagId' });
  const { data: dag } = useQuery(dagQuery(dagId));
  const memory = useQuery(memoryQuery(dagId));
  if (!dag) return null;
  const facts: [string, React.ReactNode][] = [
    ['Description', dag.description || '—'],
    [
      'File',
      <span className="mono" key="file">
        {dag.relative_path}
      </span>,
    ],
    [
      'Schedule',
      <>
        <span className="mono" key="schedule">
          {dag.schedule || 'none'}
        </span>{' '}
        {dag.schedule_text && <span className="muted">· {dag.schedule_text}</span>}
      </>,
    ],
    ['Next logical date', <ExactTime key="next" value={dag.next_logical_date} />],
    ['Start date', <ExactTime key="start" value={dag.start_date} />],
    ['End date', <ExactTime key="end" value={dag.end_date} />],
    ['Catch-up', dag.catchup ? 'yes' : 'no'],
    ['Most active runs', dag.max_active_runs || 'no limit'],
    ['Most active tasks', dag.max_active_tasks || 'no limit'],
    ['Project', dag.project || '—'],
    [
      'Partition',
      <span className="mono" key="partition">
        {dag.partition}
      </span>,
    ],
    ['Runtime', dag.runtime],
  ];
  return (
    <div className="tab-scroll" tabIndex={0} role="group" aria-label="Details of the DAG">
      {dag.doc_md && (
        <section>
          <h2 className="label">Documentation</h2>
          <Markdown text={dag.doc_md} />
        </section>
      )}
      <section>
        <h2 className="label">Definition</h2>
        <dl className="facts">
          {facts.map(([name, value]) => (
            <div key={name} style={{ display: 'contents' }}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
      </section>
      <Json title="Access" value={dag.access_control} />
      <Json title="Params" value={dag.params} />
      <Json title="More" value={dag.details} />
      {memory.data && memory.data.length > 0 && (
        <section>
          <h2 className="label">Memory of the tasks</h2>
          <MemoryTable dagId={dagId} tasks={memory.data} />
        </section>
      )}
      <section>
        <h2 className="label">Versions</h2>
        <table className="plain">
          <thead>
            <tr>
              <th scope="col">Version</th>
              <th scope="col">Parsed</th>
              <th scope="col">Bundle</th>
              <th scope="col">Tasks</th>
            </tr>
          </thead>
          <tbody>
            {dag.versions.map((version) => (
              <tr key={version.version}>
                <td>
                  <Link
                    className="link mono"
                    to="/dags/$dagId/code"
                    params={{ dagId }}
                    search={{ version: version.version }}
                  >
                    {version.version.slice(0, 12)}
                  </Link>
                </td>
                <td>
                  <ExactTime value={version.parsed_time} />
                </td>
                <td className="mono">
                  {version.bundle} {version.bundle_version.slice(0, 12)}
                </td>
                <td>{version.task_count}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </div>
  );
}

function Json({ title, value }: { title: string; value: Record<string, unknown> }) {
  if (Object.keys(value).length === 0) return null;
  return (
    <section>
      <h2 className="label">{title}</h2>
      <pre className="codeblock wrap">{JSON.stringify(value, null, 2)}</pre>
    </section>
  );
}
