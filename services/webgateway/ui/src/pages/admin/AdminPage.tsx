/** The page of a kind of setting: a table of them, and buttons to add, change and delete one. */
import type { UseMutationResult, UseQueryResult } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { Pencil, Plus, Trash2 } from 'lucide-react';
import { useState, type ReactNode } from 'react';
import { DataTable, type Column } from '../../components/DataTable';
import { IconButton, Loading, Problem } from '../../components/ui';
import { usePatchSearch, useSearch } from '../../lib/search';
import { ConfirmDelete, EditDialog, type Form } from './AdminDialogs';
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
