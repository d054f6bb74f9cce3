import { useQuery } from '@tanstack/react-query';
import { Variable } from 'lucide-react';
import type { Column } from '../../components/DataTable';
import { Empty } from '../../components/ui';
import { variablesQuery } from '../../queries/admin';
import type { VariableInfo } from '../../queries/client';
import { useDeleteVariable, useSaveVariable } from '../../queries/edits';
import { AdminPage } from './AdminPage';
import { CheckField, TextField } from './fields';

const BLANK: VariableInfo = { name: '', value: '', secret: false, description: '' };

const COLUMNS: Column<VariableInfo>[] = [
  {
    id: 'name',
    header: 'Variable',
    width: 'minmax(110px, 1fr)',
    sort: (variable) => variable.name,
    cell: (variable) => <strong className="mono truncate">{variable.name}</strong>,
  },
  {
    id: 'value',
    header: 'Value',
    width: 'minmax(110px, 2fr)',
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
    extra: true,
    cell: (variable) => <span className="truncate muted">{variable.description}</span>,
  },
];

/** Variables that DAGs read; secrets are never shown again. */
export function VariablesPage() {
  return (
    <AdminPage
      noun="variable"
      title="Variables"
      found={useQuery(variablesQuery)}
      nameOf={(variable) => variable.name}
      columns={COLUMNS}
      empty={
        <Empty title="No variables" icon={<Variable size={28} strokeWidth={1.5} />}>
          <p>
            A DAG reads one with <code>Variable.get("name")</code>, a template with{' '}
            <code>{'{{ var.value.name }}'}</code>.
          </p>
        </Empty>
      }
      blank={BLANK}
      valid={(draft) => draft.name.trim() !== '' && (draft.value ?? '') !== ''}
      save={useSaveVariable()}
      remove={useDeleteVariable()}
      consequence="Tasks that read it fail from now on."
      fields={({ draft, change, before, isNew }) => (
        <>
          <TextField
            label="Name"
            wide
            mono
            disabled={!isNew}
            value={draft.name}
            onChange={(name) => change({ name })}
          />
          <TextField
            label={before.secret && !isNew ? 'New value (the present one is not shown)' : 'Value'}
            wide
            mono
            rows={4}
            value={draft.value ?? ''}
            onChange={(value) => change({ value })}
          />
          <TextField
            label="Description"
            wide
            value={draft.description}
            onChange={(description) => change({ description })}
          />
          <CheckField
            label="Secret: encrypted, masked in logs, never shown again"
            on={draft.secret}
            onChange={(secret) => change({ secret })}
          />
        </>
      )}
    />
  );
}
