/** The frame of the pages of pools, variables and connections. */
import { Link } from '@tanstack/react-router';
import { Plus } from 'lucide-react';
import { useState, type ReactNode } from 'react';
import { Dialog } from '../../components/ui';
import './admin.css';

interface Props {
  title: string;
  addLabel: string;
  onAdd: () => void;
  children: ReactNode;
}

const PAGES = [
  ['/pools', 'Pools'],
  ['/variables', 'Variables'],
  ['/connections', 'Connections'],
] as const;

export function AdminPage({ title, addLabel, onAdd, children }: Props) {
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
        <button type="button" className="btn primary right" onClick={onAdd}>
          <Plus size={14} /> {addLabel}
        </button>
      </div>
      <div className="page-table">{children}</div>
    </>
  );
}

interface ConfirmProps {
  what: string;
  consequence: string;
  onClose: () => void;
  onConfirm: () => void;
}

/** Asks before something is deleted. */
export function ConfirmDelete({ what, consequence, onClose, onConfirm }: ConfirmProps) {
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

/** What is being edited: nothing, a new one, or one that exists. */
export function useEditing<T>() {
  const [editing, setEditing] = useState<{ value: T; isNew: boolean } | null>(null);
  const [deleting, setDeleting] = useState<string | null>(null);
  return {
    editing,
    deleting,
    add: (value: T) => setEditing({ value, isNew: true }),
    edit: (value: T) => setEditing({ value, isNew: false }),
    askDelete: setDeleting,
    close: () => {
      setEditing(null);
      setDeleting(null);
    },
  };
}
