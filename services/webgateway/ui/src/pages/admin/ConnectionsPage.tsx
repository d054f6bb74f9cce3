import { useQuery } from '@tanstack/react-query';
import { Plug } from 'lucide-react';
import type { Column } from '../../components/DataTable';
import { Empty } from '../../components/ui';
import { checkConf } from '../../lib/conf';
import { connectionsQuery } from '../../queries/admin';
import { useDeleteConnection, useSaveConnection, type ConnectionDraft } from '../../queries/edits';
import { AdminPage } from './AdminPage';
import { NumberField, TextField } from './fields';

const BLANK: ConnectionDraft = {
  connection_id: '',
  type: '',
  host: '',
  port: null,
  schema: '',
  login: '',
  has_password: false,
  description: '',
};

const COLUMNS: Column<ConnectionDraft>[] = [
  {
    id: 'id',
    header: 'Connection',
    width: 'minmax(110px, 1fr)',
    sort: (one) => one.connection_id,
    cell: (one) => <strong className="mono truncate">{one.connection_id}</strong>,
  },
  { id: 'type', header: 'Type', width: '110px', sort: (one) => one.type, cell: (one) => one.type },
  {
    id: 'host',
    header: 'Host',
    width: 'minmax(160px, 1.2fr)',
    extra: true,
    cell: (one) => <span className="mono truncate">{[one.host, one.port].filter(Boolean).join(':')}</span>,
  },
  {
    id: 'schema',
    header: 'Schema',
    width: 'minmax(90px, 0.7fr)',
    extra: true,
    cell: (one) => <span className="truncate">{one.schema}</span>,
  },
  {
    id: 'login',
    header: 'Login',
    width: 'minmax(90px, 0.7fr)',
    extra: true,
    cell: (one) => <span className="truncate">{one.login}</span>,
  },
  {
    id: 'password',
    header: 'Password',
    width: '84px',
    extra: true,
    cell: (one) =>
      one.has_password ? <span className="chip">set</span> : <span className="faint">none</span>,
  },
  {
    id: 'description',
    header: 'Description',
    width: 'minmax(120px, 1fr)',
    extra: true,
    cell: (one) => <span className="truncate muted">{one.description}</span>,
  },
];

/** Connections that operators and hooks use; passwords and extras are never shown again. */
export function ConnectionsPage() {
  return (
    <AdminPage<ConnectionDraft>
      noun="connection"
      title="Connections"
      found={useQuery(connectionsQuery)}
      nameOf={(one) => one.connection_id}
      columns={COLUMNS}
      empty={
        <Empty title="No connections" icon={<Plug size={28} strokeWidth={1.5} />}>
          <p>Operators and hooks find hosts, logins and passwords here by their id.</p>
        </Empty>
      }
      blank={BLANK}
      valid={(draft) =>
        draft.connection_id.trim() !== '' && draft.type.trim() !== '' && checkConf(draft.extra ?? '').ok
      }
      save={useSaveConnection()}
      remove={useDeleteConnection()}
      consequence="Tasks that use it fail from now on."
      fields={({ draft, change, before, isNew }) => (
        <>
          <TextField
            label="Id"
            mono
            disabled={!isNew}
            value={draft.connection_id}
            onChange={(connection_id) => change({ connection_id })}
          />
          <TextField
            label="Type, for example mysql"
            value={draft.type}
            onChange={(type) => change({ type })}
          />
          <TextField label="Host" value={draft.host} onChange={(host) => change({ host })} />
          <NumberField
            label="Port"
            min={0}
            max={65535}
            value={draft.port ?? NaN}
            onChange={(port) => change({ port: Number.isNaN(port) ? null : port })}
          />
          <TextField label="Schema" value={draft.schema} onChange={(schema) => change({ schema })} />
          <TextField label="Login" value={draft.login} onChange={(login) => change({ login })} />
          <TextField
            label={before.has_password ? 'Password (empty: as it was)' : 'Password'}
            wide
            type="password"
            value={draft.password ?? ''}
            onChange={(password) => change({ password })}
          />
          <TextField
            label={isNew ? 'Extra, a JSON object' : 'Extra, a JSON object (empty: as it was)'}
            wide
            mono
            rows={3}
            value={draft.extra ?? ''}
            onChange={(extra) => change({ extra })}
          />
          <TextField
            label="Description"
            wide
            value={draft.description}
            onChange={(description) => change({ description })}
          />
        </>
      )}
    />
  );
}
