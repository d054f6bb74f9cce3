import { useQuery } from '@tanstack/react-query';
import { Layers, Pencil, Trash2 } from 'lucide-react';
import { useState } from 'react';
import { DataTable } from '../../components/DataTable';
import { toastGood } from '../../components/Toasts';
import { Dialog, Empty, IconButton, Loading, Problem } from '../../components/ui';
import { usePatchSearch, useSearch } from '../../lib/search';
import { poolsQuery } from '../../queries/admin';
import type { PoolInfo } from '../../queries/client';
import { useDeletePool, useSavePool } from '../../queries/edits';
import { AdminPage, ConfirmDelete, useEditing } from './AdminPage';

const NEW: PoolInfo = { name: '', slots: 8, description: '', include_deferred: false, running: 0, queued: 0 };

/** Pools: how many tasks may run at once, and how many wait. */
export function PoolsPage() {
  const pools = useQuery(poolsQuery);
  const search = useSearch();
  const patch = usePatchSearch();
  const remove = useDeletePool();
  const form = useEditing<PoolInfo>();
  return (
    <AdminPage title="Pools" addLabel="Add a pool" onAdd={() => form.add(NEW)}>
      {pools.isPending ? (
        <Loading label="Loading pools" />
      ) : pools.isError && !pools.data ? (
        <div style={{ padding: 16 }}>
          <Problem error={pools.error} retry={() => void pools.refetch()} />
        </div>
      ) : (
        <DataTable
          label="Pools"
          rows={pools.data}
          rowKey={(pool) => pool.name}
          sort={search.sort}
          onSort={(sort) => patch({ sort })}
          onOpen={form.edit}
          empty={<Empty title="No pools" icon={<Layers size={28} strokeWidth={1.5} />} />}
          columns={[
            {
              id: 'name',
              header: 'Pool',
              width: 'minmax(160px, 1fr)',
              sort: (pool) => pool.name,
              cell: (pool) => <strong className="truncate">{pool.name}</strong>,
            },
            { id: 'use', header: 'Use', width: '240px', cell: (pool) => <Use pool={pool} /> },
            {
              id: 'queued',
              header: 'Waiting',
              width: '72px',
              align: 'right',
              sort: (pool) => pool.queued,
              cell: (pool) => pool.queued,
            },
            {
              id: 'deferred',
              header: 'Deferred tasks',
              width: '120px',
              cell: (pool) => (
                <span className="muted">{pool.include_deferred ? 'count' : 'do not count'}</span>
              ),
            },
            {
              id: 'description',
              header: 'Description',
              width: 'minmax(160px, 1.6fr)',
              cell: (pool) => <span className="truncate muted">{pool.description}</span>,
            },
            {
              id: 'actions',
              header: <span className="sr-only">Actions</span>,
              name: 'Actions',
              width: '64px',
              cell: (pool) => (
                <>
                  <IconButton label={`Edit ${pool.name}`} onClick={() => form.edit(pool)}>
                    <Pencil size={14} />
                  </IconButton>
                  <IconButton
                    label={`Delete ${pool.name}`}
                    disabled={pool.name === 'default_pool'}
                    onClick={() => form.askDelete(pool.name)}
                  >
                    <Trash2 size={14} />
                  </IconButton>
                </>
              ),
            },
          ]}
        />
      )}
      {form.editing && <PoolForm pool={form.editing.value} isNew={form.editing.isNew} onClose={form.close} />}
      {form.deleting && (
        <ConfirmDelete
          what={`pool ${form.deleting}`}
          consequence="Tasks that name it do not start until they name another pool."
          onClose={form.close}
          onConfirm={() => remove.mutate(form.deleting ?? '')}
        />
      )}
    </AdminPage>
  );
}

function Use({ pool }: { pool: PoolInfo }) {
  const endless = pool.slots < 0;
  const part = endless || pool.slots === 0 ? 0 : Math.min(1, pool.running / pool.slots);
  return (
    <>
      <span className="meter" aria-hidden="true">
        <span className={part >= 1 ? 'full' : ''} style={{ width: `${part * 100}%` }} />
      </span>
      {pool.running} of {endless ? 'any' : pool.slots}
    </>
  );
}

function PoolForm({ pool, isNew, onClose }: { pool: PoolInfo; isNew: boolean; onClose: () => void }) {
  const [draft, setDraft] = useState(pool);
  const save = useSavePool();
  const valid = draft.name.trim() !== '' && Number.isInteger(draft.slots) && draft.slots >= -1;
  const submit = () =>
    save.mutate(draft, {
      onSuccess: () => {
        onClose();
        toastGood(`Pool ${draft.name} saved`);
      },
    });
  return (
    <Dialog
      open
      onClose={onClose}
      title={isNew ? 'Add a pool' : `Edit ${pool.name}`}
      footer={
        <>
          <button type="button" className="btn" onClick={onClose}>
            Cancel
          </button>
          <button type="button" className="btn primary" disabled={!valid || save.isPending} onClick={submit}>
            Save
          </button>
        </>
      }
    >
      <div className="form-grid">
        <label className="labelled">
          <span>Name</span>
          <input
            className="field"
            disabled={!isNew}
            value={draft.name}
            onChange={(event) => setDraft({ ...draft, name: event.target.value })}
          />
        </label>
        <label className="labelled">
          <span>Slots (-1: no limit)</span>
          <input
            className="field"
            type="number"
            min={-1}
            value={Number.isNaN(draft.slots) ? '' : draft.slots}
            onChange={(event) => setDraft({ ...draft, slots: event.target.valueAsNumber })}
          />
        </label>
        <label className="labelled wide">
          <span>Description</span>
          <input
            className="field"
            value={draft.description}
            onChange={(event) => setDraft({ ...draft, description: event.target.value })}
          />
        </label>
        <label className="check wide">
          <input
            type="checkbox"
            checked={draft.include_deferred}
            onChange={(event) => setDraft({ ...draft, include_deferred: event.target.checked })}
          />
          Deferred tasks keep their slot
        </label>
      </div>
      {save.isError && <Problem error={save.error} />}
    </Dialog>
  );
}
