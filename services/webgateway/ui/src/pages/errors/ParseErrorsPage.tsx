/** DAG files that cannot be read: which, where, why, and how to fix them. */
import { useQuery } from '@tanstack/react-query';
import { CircleCheck, SearchX } from 'lucide-react';
import { useEffect, useState } from 'react';
import { ParseErrorCard } from '../../components/ParseErrorCard';
import { Empty, FilterField, Loading, Problem } from '../../components/ui';
import { usePatchSearch, useSearch } from '../../lib/search';
import { parseErrorsQuery } from '../../queries/admin';
import { ErrorHistory } from './ErrorHistory';
import './errors.css';

export function ParseErrorsPage() {
  const search = useSearch();
  const patch = usePatchSearch();
  const [text, setText] = useState(search.q ?? '');
  useEffect(() => {
    if (text === (search.q ?? '')) return;
    const timer = setTimeout(() => patch({ q: text || undefined }), 200);
    return () => clearTimeout(timer);
  }, [text, search.q, patch]);
  const errors = useQuery(parseErrorsQuery(search.q ?? ''));
  const items = (errors.data?.items ?? []).filter(
    (error) => !search.path || error.relative_path === search.path,
  );
  return (
    <>
      <div className="page-head">
        <h1>Parse errors</h1>
        <div className="row" role="group" aria-label="Which errors" style={{ gap: 4 }}>
          {(['', 'history'] as const).map((tab) => (
            <button
              key={tab}
              type="button"
              className="btn ghost small"
              aria-pressed={(search.tab ?? '') === tab}
              onClick={() => patch({ tab: tab || undefined, path: undefined })}
            >
              {tab ? 'Over' : 'Now'}
            </button>
          ))}
        </div>
        <FilterField
          label="Filter by path, type or message"
          width={280}
          value={text}
          onChange={(value) => setText(value)}
        />
        {search.path && (
          <button type="button" className="btn ghost small" onClick={() => patch({ path: undefined })}>
            All files
          </button>
        )}
        <span className="right muted" role="status">
          {search.tab !== 'history' &&
            errors.data &&
            `${errors.data.total} ${errors.data.total === 1 ? 'file' : 'files'}`}
        </span>
      </div>
      {search.tab === 'history' ? (
        <div className="page-table">
          <ErrorHistory query={search.q ?? ''} />
        </div>
      ) : (
        <div className="page-body" tabIndex={0} role="group" aria-label="Broken files">
          {errors.isPending ? (
            <Loading label="Loading parse errors" />
          ) : errors.isError && !errors.data ? (
            <Problem error={errors.error} retry={() => void errors.refetch()} />
          ) : items.length === 0 ? (
            search.q || search.path ? (
              <Empty title="No broken file matches" icon={<SearchX size={28} strokeWidth={1.5} />}>
                <button
                  type="button"
                  className="btn"
                  onClick={() => (setText(''), patch({ q: undefined, path: undefined }))}
                >
                  Clear the filter
                </button>
              </Empty>
            ) : (
              <Empty title="Every DAG file can be read" icon={<CircleCheck size={28} strokeWidth={1.5} />}>
                <p>A file that breaks appears here within seconds, with its line and how to fix it.</p>
              </Empty>
            )
          ) : (
            <div className="errors-list">
              {items.map((error) => (
                <ParseErrorCard
                  key={`${error.bundle}/${error.relative_path}/${error.error_type}/${error.line}`}
                  error={error}
                  open={items.length === 1}
                />
              ))}
            </div>
          )}
        </div>
      )}
    </>
  );
}
