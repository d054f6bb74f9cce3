import { useQuery } from '@tanstack/react-query';
import { Pencil, Plug, Trash2 } from 'lucide-react';
import { useState } from 'react';
import { DataTable } from '../../components/DataTable';
import { toastGood } from '../../components/Toasts';
import { Dialog, Empty, IconButton, Loading, Problem } from '../../components/ui';
import { usePatchSearch, useSearch } from '../../lib/search';
import { connectionsQuery } from '../../queries/admin';
import type { ConnectionInfo } from '../../queries/client';
import { useDeleteConnection, useSaveConnection } from '../../queries/edits';
import { AdminPage, ConfirmDelete, useEditing } from './AdminPage';

const NEW: ConnectionInfo = {
  connection_id: '',
  type: '',
  host: '',
  port: null,
  schema: '',
  login: '',
  has_password: false,
  description: '',
};

/** Connections that operators and hooks use; passwords are never shown again. */
export function ConnectionsPage() {
  const connections = useQuery(connectionsQuery);
  const search = useSearch();
  const patch = usePatchSearch();
  const remove = useDeleteConnection();
  const form = useEditing<ConnectionInfo>();
  return (
    <AdminPage title="Connections" addLabel="Add a connection" onAdd={() => form.add(NEW)}>
      {connections.isPending ? (
        <Loading label="Loading connections" />
      ) : connections.isError && !connections.data ? (
        <div style={{ padding: 16 }}>
          <Problem error={connections.error} retry={() => void connections.refetch()} />
        </div>
      ) : (
        <DataTable
          label="Connections"
          rows={connections.data}
          rowKey={(connection) => connection.connection_id}
          sort={search.sort}
          onSort={(sort) => patch({ sort })}
          onOpen={form.edit}
          empty={
            <Empty title="No connections" icon={<Plug size={28} strokeWidth={1.5} />}>
              <p>Operators and hooks find hosts, logins and passwords here by their id.</p>
            </Empty>
          }
          columns={[
            {
              id: 'id',
              header: 'Connection',
              width: 'minmax(160px, 1fr)',
              sort: (one) => one.connection_id,
              cell: (one) => <strong className="mono truncate">{one.connection_id}</strong>,
            },
            { id: 'type', header: 'Type', width: '110px', sort: (one) => one.type, cell: (one) => one.type },
            {
              id: 'host',
              header: 'Host',
              width: 'minmax(160px, 1.2fr)',
              cell: (one) => (
                <span className="mono truncate">{[one.host, one.port].filter(Boolean).join(':')}</span>
              ),
            },
            {
              id: 'schema',
              header: 'Schema',
              width: 'minmax(90px, 0.7fr)',
              cell: (one) => <span className="truncate">{one.schema}</span>,
            },
            {
              id: 'login',
              header: 'Login',
              width: 'minmax(90px, 0.7fr)',
              cell: (one) => <span className="truncate">{one.login}</span>,
            },
            {
              id: 'password',
              header: 'Password',
              width: '84px',
              cell: (one) =>
                one.has_password ? <span className="chip">set</span> : <span className="faint">none</span>,
            },
            {
              id: 'description',
              header: 'Description',
              width: 'minmax(120px, 1fr)',
              cell: (one) => <span className="truncate muted">{one.description}</span>,
            },
            {
              id: 'actions',
              header: <span className="sr-only">Actions</span>,
              name: 'Actions',
              width: '64px',
              cell: (one) => (
                <>
                  <IconButton label={`Edit ${one.connection_id}`} onClick={() => form.edit(one)}>
                    <Pencil size={14} />
                  </IconButton>
                  <IconButton
                    label={`Delete ${one.connection_id}`}
                    onClick={() => form.askDelete(one.connection_id)}
                  >
                    <Trash2 size={14} />
                  </IconButton>
                </>
              ),
            },
          ]}
        />
      )}
      {form.editing && (
        <ConnectionForm connection={form.editing.value} isNew={form.editing.isNew} onClose={form.close} />
      )}
      {form.deleting && (
        <ConfirmDelete
          what={`connection ${form.deleting}`}
          consequence="Tasks that use it fail from now on."
          onClose={form.close}
          onConfirm={() => remove.mutate(form.deleting ?? '')}
        />
      )}
    </AdminPage>
  );
}

function ConnectionForm({
  connection,
  isNew,
  onClose,
}: {
  connection: ConnectionInfo;
  isNew: boolean;
  onClose: () => void;
}) {
  const [draft, setDraft] = useState<ConnectionInfo & { password?: string }>(connection);
  const save = useSaveConnection();
  const valid = draft.connection_id.trim() !== '' && draft.type.trim() !== '';
  const text = (name: 'type' | 'host' | 'schema' | 'login' | 'description', label: string, wide = false) => (
    <label className={wide ? 'labelled wide' : 'labelled'}>
      <span>{label}</span>
      <input
        className="field"
        value={draft[name]}
        onChange={(event) => setDraft({ ...draft, [name]: event.target.value })}
      />
    </label>
  );
  const submit = () =>
    save.mutate(draft, {
      onSuccess: () => {
        onClose();
        toastGood(`Connection ${draft.connection_id} saved`);
      },
    });
  return (
    <Dialog
      open
      onClose={onClose}
      title={isNew ? 'Add a connection' : `Edit ${connection.connection_id}`}
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
          <span>Id</span>
          <input
            className="field mono"
            disabled={!isNew}
            value={draft.connection_id}
            onChange={(event) => setDraft({ ...draft, connection_id: event.target.value })}
          />
        </label>
        {text('type', 'Type, for example mysql')}
        {text('host', 'Host')}
        <label className="labelled">
          <span>Port</span>
          <input
            className="field"
            type="number"
            min={0}
            max={65535}
            value={draft.port ?? ''}
            onChange={(event) =>
              setDraft({ ...draft, port: event.target.value === '' ? null : event.target.valueAsNumber })
            }
          />
        </label>
        {text('schema', 'Schema')}
        {text('login', 'Login')}
        <label className="labelled wide">
          <span>{connection.has_password ? 'Password (empty: as it was)' : 'Password'}</span>
          <input
            className="field"
            type="password"
            autoComplete="new-password"
            value={draft.password ?? ''}
            onChange={(event) => setDraft({ ...draft, password: event.target.value })}
          />
        </label>
        {text('description', 'Description', true)}
      </div>
      {save.isError && <Problem error={save.error} />}
    </Dialog>
  );
}
