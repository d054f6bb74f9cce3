/** The page of a kind of setting: a table of them, and dialogs to add, change and delete one. */
import type { UseMutationResult, UseQueryResult } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { Pencil, Plus, Trash2 } from 'lucide-react';
import { useState, type ReactNode } from 'react';
import { DataTable, type Column } from '../../components/DataTable';
import { toastGood } from '../../components/Toasts';
import { Dialog, IconButton, Loading, Problem } from '../../components/ui';
import { usePatchSearch, useSearch } from '../../lib/search';
import { sentence } from '../../lib/words';
import './admin.css';

const PAGES = [
  ['/pools', 'Pools'],
  ['/variables', 'Variables'],
  ['/connections', 'Connections'],
] as const;

interface Props<T extends object> {
  /** One of them in words: "pool". */
  noun: string;
  title: string;
  found: UseQueryResult<T[]>;
  nameOf: (item: T) => string;
  columns: Column<T>[];
  empty: ReactNode;
  /** What the form begins with. */
  blank: T;
  valid: (draft: T) => boolean;
  fields: (form: Form<T>) => ReactNode;
  save: UseMutationResult<unknown, Error, T>;
  remove: UseMutationResult<unknown, Error, string>;
  /** What deleting one means for those who use it. */
  consequence: string;
  keeps?: (item: T) => boolean;
}

/** What the fields of a form see: the draft, how to change it, and what it was. */
export interface Form<T> {
  draft: T;
  change: (part: Partial<T>) => void;
  before: T;
  isNew: boolean;
}

export function AdminPage<T extends object>(props: Props<T>) {
  const { noun, title, found, nameOf, keeps } = props;
  const search = useSearch();
  const patch = usePatchSearch();
  const [editing, setEditing] = useState<{ value: T; isNew: boolean } | null>(null);
  const [deleting, setDeleting] = useState<string | null>(null);
  const edit = (value: T) => setEditing({ value, isNew: false });
  const actions: Column<T> = {
    id: 'actions',
    header: <span className="sr-only">Actions</span>,
    name: 'Actions',
    width: '64px',
    cell: (item) => (
      <>
        <IconButton label={`Edit ${nameOf(item)}`} onClick={() => edit(item)}>
          <Pencil size={14} />
        </IconButton>
        <IconButton
          label={`Delete ${nameOf(item)}`}
          disabled={keeps?.(item)}
          onClick={() => setDeleting(nameOf(item))}
        >
          <Trash2 size={14} />
        </IconButton>
      </>
    ),
  };
  return (
    <>
      <div className="page-head">
        <h1>{title}</h1>
        <nav className="admin-nav" aria-label="Operate">
          {PAGES.map(([to, label]) => (
            <Link key={to} to={to} className="chip" activeProps={{ className: 'chip on' }}>
              {label}
            </Link>
          ))}
        </nav>
        <button
          type="button"
          className="btn primary right"
          onClick={() => setEditing({ value: props.blank, isNew: true })}
        >
          <Plus size={14} /> Add a {noun}
        </button>
      </div>
      <div className="page-table">
        {found.isPending ? (
          <Loading label={`Loading ${title.toLowerCase()}`} />
        ) : found.isError && !found.data ? (
          <div style={{ padding: 16 }}>
            <Problem error={found.error} retry={() => void found.refetch()} />
          </div>
        ) : (
          <DataTable
            label={title}
            rows={found.data}
            rowKey={nameOf}
            sort={search.sort}
            onSort={(sort) => patch({ sort })}
            onOpen={edit}
            empty={props.empty}
            columns={[...props.columns, actions]}
          />
        )}
      </div>
      {editing && (
        <EditDialog
          {...props}
          before={editing.value}
          isNew={editing.isNew}
          onClose={() => setEditing(null)}
        />
      )}
      {deleting !== null && (
        <ConfirmDelete
          what={`${noun} ${deleting}`}
          consequence={props.consequence}
          onClose={() => setDeleting(null)}
          onConfirm={() => props.remove.mutate(deleting)}
        />
      )}
    </>
  );
}

interface EditProps<T> {
  noun: string;
  nameOf: (item: T) => string;
  valid: (draft: T) => boolean;
  fields: (form: Form<T>) => ReactNode;
  save: UseMutationResult<unknown, Error, T>;
  before: T;
  isNew: boolean;
  onClose: () => void;
}

function EditDialog<T extends object>(props: EditProps<T>) {
  const { noun, nameOf, valid, fields, save, before, isNew } = props;
  const [draft, setDraft] = useState(before);
  const [tried, setTried] = useState(false);
  const close = () => {
    save.reset();
    props.onClose();
  };
  const submit = () => {
    setTried(true);
    save.mutate(draft, {
      onSuccess: () => {
        close();
        toastGood(`${sentence(noun)} ${nameOf(draft)} saved`);
      },
    });
  };
  return (
    <Dialog
      open
      onClose={close}
      title={isNew ? `Add a ${noun}` : `Edit ${nameOf(before)}`}
      footer={
        <>
          <button type="button" className="btn" onClick={close}>
            Cancel
          </button>
          <button
            type="button"
            className="btn primary"
            disabled={!valid(draft) || save.isPending}
            onClick={submit}
          >
            Save
          </button>
        </>
      }
    >
      <div className="form-grid">
        {fields({ draft, change: (part) => setDraft({ ...draft, ...part }), before, isNew })}
      </div>
      {tried && save.isError && <Problem error={save.error} />}
    </Dialog>
  );
}

interface TextProps {
  label: string;
  value: string;
  onChange: (value: string) => void;
  wide?: boolean;
  mono?: boolean;
  disabled?: boolean;
  /** More than one line. */
  rows?: number;
  type?: 'password';
}

/** A labelled field for text. */
export function TextField({ label, value, onChange, wide, mono, disabled, rows, type }: TextProps) {
  const common = {
    className: mono ? 'field mono' : 'field',
    value,
    disabled,
    onChange: (event: { target: { value: string } }) => onChange(event.target.value),
  };
  return (
    <label className={wide ? 'labelled wide' : 'labelled'}>
      <span>{label}</span>
      {rows ? (
        <textarea {...common} rows={rows} spellCheck={false} />
      ) : (
        <input {...common} type={type} autoComplete={type && 'new-password'} />
      )}
    </label>
  );
}

interface NumberProps {
  label: string;
  value: number;
  onChange: (value: number) => void;
  min: number;
  max?: number;
}

/** A labelled field for a whole number; NaN while it is empty. */
export function NumberField({ label, value, onChange, min, max }: NumberProps) {
  return (
    <label className="labelled">
      <span>{label}</span>
      <input
        className="field"
        type="number"
        min={min}
        max={max}
        value={Number.isNaN(value) ? '' : value}
        onChange={(event) => onChange(event.target.valueAsNumber)}
      />
    </label>
  );
}

export function CheckField({
  label,
  on,
  onChange,
}: {
  label: string;
  on: boolean;
  onChange: (on: boolean) => void;
}) {
  return (
    <label className="check wide">
      <input type="checkbox" checked={on} onChange={(event) => onChange(event.target.checked)} />
      {label}
    </label>
  );
}

interface ConfirmProps {
  what: string;
  consequence: string;
  onClose: () => void;
  onConfirm: () => void;
}

/** Asks before something is deleted. */
function ConfirmDelete({ what, consequence, onClose, onConfirm }: ConfirmProps) {
  return (
    <Dialog
      open
      onClose={onClose}
      title={`Delete ${what}?`}
      description={consequence}
      footer={
        <>
          <button type="button" className="btn" onClick={onClose}>
            Keep it
          </button>
          <button
            type="button"
            className="btn danger"
            onClick={() => {
              onConfirm();
              onClose();
            }}
          >
            Delete
          </button>
        </>
      }
    >
      {null}
    </Dialog>
  );
}
