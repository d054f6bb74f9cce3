import { useQuery } from '@tanstack/react-query';
import { Layers } from 'lucide-react';
import type { Column } from '../../components/DataTable';
import { Empty } from '../../components/ui';
import { poolsQuery } from '../../queries/admin';
import type { PoolInfo } from '../../queries/client';
import { useDeletePool, useSavePool } from '../../queries/edits';
import { AdminPage } from './AdminPage';
import { CheckField, NumberField, TextField } from './fields';

const BLANK: PoolInfo = {
  name: '',
  slots: 8,
  description: '',
  include_deferred: false,
  running: 0,
  queued: 0,
};

const COLUMNS: Column<PoolInfo>[] = [
  {
    id: 'name',
    header: 'Pool',
    width: 'minmax(96px, 1fr)',
    sort: (pool) => pool.name,
    cell: (pool) => <strong className="truncate">{pool.name}</strong>,
  },
  { id: 'use', header: 'Use', width: 'minmax(100px, 240px)', cell: (pool) => <Use pool={pool} /> },
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
    extra: true,
    cell: (pool) => <span className="muted">{pool.include_deferred ? 'count' : 'do not count'}</span>,
  },
  {
    id: 'description',
    header: 'Description',
    width: 'minmax(160px, 1.6fr)',
    extra: true,
    cell: (pool) => <span className="truncate muted">{pool.description}</span>,
  },
];

/** Pools: how many tasks may run at once, and how many wait. */
export function PoolsPage() {
  return (
    <AdminPage
      noun="pool"
      title="Pools"
      found={useQuery(poolsQuery)}
      nameOf={(pool) => pool.name}
      columns={COLUMNS}
      empty={<Empty title="No pools" icon={<Layers size={28} strokeWidth={1.5} />} />}
      blank={BLANK}
      valid={(draft) => draft.name.trim() !== '' && Number.isInteger(draft.slots) && draft.slots >= -1}
      save={useSavePool()}
      remove={useDeletePool()}
      consequence="Tasks that name it do not start until they name another pool."
      keeps={(pool) => pool.name === 'default_pool'}
      fields={({ draft, change, isNew }) => (
        <>
          <TextField
            label="Name"
            disabled={!isNew}
            value={draft.name}
            onChange={(name) => change({ name })}
          />
          <NumberField
            label="Slots (-1: no limit)"
            min={-1}
            value={draft.slots}
            onChange={(slots) => change({ slots })}
          />
          <TextField
            label="Description"
            wide
            value={draft.description}
            onChange={(description) => change({ description })}
          />
          <CheckField
            label="Deferred tasks keep their slot"
            on={draft.include_deferred}
            onChange={(include_deferred) => change({ include_deferred })}
          />
        </>
      )}
    />
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
