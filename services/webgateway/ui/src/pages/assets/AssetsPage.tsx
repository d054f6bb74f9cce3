import { useQuery } from '@tanstack/react-query';
import { Database, SearchX } from 'lucide-react';
import { useEffect, useState } from 'react';
import { DataTable } from '../../components/DataTable';
import { Empty, FilterField, Loading, Problem, RelativeTime } from '../../components/ui';
import { usePatchSearch, useSearch } from '../../lib/search';
import { assetsQuery } from '../../queries/assets';
import type { AssetUser } from '../../queries/client';
import { AssetPane } from './AssetPane';
import './assets.css';

/** What tasks update and DAGs wait for: a list, and the lineage and events of the one that is chosen. */
export function AssetsPage() {
  const search = useSearch();
  const patch = usePatchSearch();
  const [text, setText] = useState(search.q ?? '');
  useEffect(() => {
    const timer = setTimeout(() => patch({ q: text || undefined }), 250);
    return () => clearTimeout(timer);
  }, [text, patch]);
  const assets = useQuery(assetsQuery(search.q ?? ''));
  const chosen = assets.data?.items.find((asset) => asset.name === search.subject);
  return (
    <>
      <div className="page-head">
        <h1>Assets</h1>
        <FilterField label="Name or URI" width={240} value={text} onChange={setText} />
      </div>
      <div className="asset-split">
        <div className="page-table">
          {assets.isPending ? (
            <Loading label="Loading assets" />
          ) : assets.isError && !assets.data ? (
            <div style={{ padding: 16 }}>
              <Problem error={assets.error} retry={() => void assets.refetch()} />
            </div>
          ) : (
            <DataTable
              label="Assets"
              rows={assets.data.items}
              rowKey={(asset) => `${asset.alias ? 'alias' : 'asset'}:${asset.name}`}
              selected={chosen && `${chosen.alias ? 'alias' : 'asset'}:${chosen.name}`}
              onOpen={(asset) => patch({ subject: asset.name })}
              sort={search.sort}
              onSort={(sort) => patch({ sort })}
              empty={
                search.q ? (
                  <Empty title="No asset matches" icon={<SearchX size={28} strokeWidth={1.5} />}>
                    <button type="button" className="btn" onClick={() => setText('')}>
                      Clear the filter
                    </button>
                  </Empty>
                ) : (
                  <Empty title="No assets" icon={<Database size={28} strokeWidth={1.5} />}>
                    <p>
                      Give a task <code>outlets=[Asset("name")]</code>, and a DAG{' '}
                      <code>schedule=[Asset("name")]</code>.
                    </p>
                  </Empty>
                )
              }
              columns={[
                {
                  id: 'name',
                  header: 'Asset',
                  width: 'minmax(180px, 2fr)',
                  sort: (asset) => asset.name,
                  cell: (asset) => (
                    <span className="truncate">
                      <strong>{asset.name}</strong> {asset.alias && <span className="chip">alias</span>}
                      {asset.stale && <span className="chip warn">stale</span>}{' '}
                      {asset.watchers.some((watcher) => watcher.state === 'failing') && (
                        <span className="chip warn">watcher fails</span>
                      )}
                    </span>
                  ),
                },
                {
                  id: 'producers',
                  header: 'Updated by',
                  width: 'minmax(120px, 1fr)',
                  cell: (asset) => <span className="truncate muted">{names(asset.producers)}</span>,
                },
                {
                  id: 'consumers',
                  header: 'Starts',
                  width: 'minmax(120px, 1fr)',
                  cell: (asset) => <span className="truncate muted">{names(asset.consumers)}</span>,
                },
                {
                  id: 'updates',
                  header: 'Updates',
                  width: '80px',
                  align: 'right',
                  sort: (asset) => asset.update_count,
                  cell: (asset) => asset.update_count.toLocaleString(),
                },
                {
                  id: 'latest',
                  header: 'Latest',
                  width: '110px',
                  sort: (asset) => asset.last_update_time ?? '',
                  cell: (asset) => <RelativeTime value={asset.last_update_time} every={10} />,
                },
              ]}
            />
          )}
        </div>
        {chosen && (
          <AssetPane key={chosen.name} asset={chosen} onClose={() => patch({ subject: undefined })} />
        )}
      </div>
    </>
  );
}

function names(users: AssetUser[]): string {
  return [...new Set(users.map((user) => user.dag_id))].join(', ') || '—';
}
