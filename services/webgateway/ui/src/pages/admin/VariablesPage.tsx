import { useQuery } from '@tanstack/react-query';
import { Pencil, Trash2, Variable } from 'lucide-react';
import { useState } from 'react';
import { DataTable } from '../../components/DataTable';
import { toastGood } from '../../components/Toasts';
import { Dialog, Empty, IconButton, Loading, Problem } from '../../components/ui';
import { usePatchSearch, useSearch } from '../../lib/search';
import { variablesQuery } from '../../queries/admin';
import type { VariableInfo } from '../../queries/client';
import { useDeleteVariable, useSaveVariable } from '../../queries/edits';
import { AdminPage, ConfirmDelete, useEditing } from './AdminPage';

const NEW: VariableInfo = { name: '', value: '', secret: false, description: '' };

/** Variables that DAGs read; secrets are never shown again. */
export function VariablesPage() {
  const variables = useQuery(variablesQuery);
  const search = useSearch();
  const patch = usePatchSearch();
  const remove = useDeleteVariable();
  const form = useEditing<VariableInfo>();
  return (
    <AdminPage title="Variables" addLabel="Add a variable" onAdd={() => form.add(NEW)}>
      {variables.isPending ? (
        <Loading label="Loading variables" />
      ) : variables.isError && !variables.data ? (
        <div style={{ padding: 16 }}>
          <Problem error={variables.error} retry={() => void variables.refetch()} />
        </div>
      ) : (
        <DataTable
          label="Variables"
          rows={variables.data}
          rowKey={(variable) => variable.name}
          sort={search.sort}
          onSort={(sort) => patch({ sort })}
          onOpen={form.edit}
          empty={
            <Empty title="No variables" icon={<Variable size={28} strokeWidth={1.5} />}>
              <p>
                A DAG reads one with <code>Variable.get("name")</code>, a template with{' '}
                <code>{'{{ var.value.name }}'}</code>.
              </p>
            </Empty>
          }
          columns={[
            {
              id: 'name',
              header: 'Variable',
              width: 'minmax(160px, 1fr)',
              sort: (variable) => variable.name,
              cell: (variable) => <strong className="mono truncate">{variable.name}</strong>,
            },
            {
              id: 'value',
              header: 'Value',
              width: 'minmax(200px, 2fr)',
              cell: (variable) =>
                variable.secret ? (
                  <span className="chip">secret</span>
                ) : (
                  <span className="mono truncate">{variable.value}</span>
                ),
            },
            {
              id: 'description',
              header: 'Description',
              width: 'minmax(160px, 1.6fr)',
              cell: (variable) => <span className="truncate muted">{variable.description}</span>,
            },
            {
              id: 'actions',
              header: <span className="sr-only">Actions</span>,
              name: 'Actions',
              width: '64px',
              cell: (variable) => (
                <>
                  <IconButton label={`Edit ${variable.name}`} onClick={() => form.edit(variable)}>
                    <Pencil size={14} />
                  </IconButton>
                  <IconButton label={`Delete ${variable.name}`} onClick={() => form.askDelete(variable.name)}>
                    <Trash2 size={14} />
                  </IconButton>
                </>
              ),
            },
          ]}
        />
      )}
      {form.editing && (
        <VariableForm variable={form.editing.value} isNew={form.editing.isNew} onClose={form.close} />
      )}
      {form.deleting && (
        <ConfirmDelete
          what={`variable ${form.deleting}`}
          consequence="Tasks that read it fail from now on."
          onClose={form.close}
          onConfirm={() => remove.mutate(form.deleting ?? '')}
        />
      )}
    </AdminPage>
  );
}

function VariableForm({
  variable,
  isNew,
  onClose,
}: {
  variable: VariableInfo;
  isNew: boolean;
  onClose: () => void;
}) {
  const [draft, setDraft] = useState(variable);
  const save = useSaveVariable();
  const valid = draft.name.trim() !== '' && (draft.value ?? '') !== '';
  const submit = () =>
    save.mutate(draft, {
      onSuccess: () => {
        onClose();
        toastGood(`Variable ${draft.name} saved`);
      },
    });
  return (
    <Dialog
      open
      onClose={onClose}
      title={isNew ? 'Add a variable' : `Edit ${variable.name}`}
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
      <label className="labelled">
        <span>Name</span>
        <input
          className="field mono"
          disabled={!isNew}
          value={draft.name}
          onChange={(event) => setDraft({ ...draft, name: event.target.value })}
        />
      </label>
      <label className="labelled">
        <span>{variable.secret && !isNew ? 'New value (the present one is not shown)' : 'Value'}</span>
        <textarea
          className="field mono"
          rows={4}
          spellCheck={false}
          value={draft.value ?? ''}
          onChange={(event) => setDraft({ ...draft, value: event.target.value })}
        />
      </label>
      <label className="labelled">
        <span>Description</span>
        <input
          className="field"
          value={draft.description}
          onChange={(event) => setDraft({ ...draft, description: event.target.value })}
        />
      </label>
      <label className="check">
        <input
          type="checkbox"
          checked={draft.secret}
          onChange={(event) => setDraft({ ...draft, secret: event.target.checked })}
        />
        Secret: encrypted, masked in logs, never shown again
      </label>
      {save.isError && <Problem error={save.error} />}
    </Dialog>
  );
}
