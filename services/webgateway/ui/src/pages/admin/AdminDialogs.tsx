/** Dialogs about one setting: to add or change it, and to delete it. */
import type { UseMutationResult } from '@tanstack/react-query';
import { useState, type ReactNode } from 'react';
import { toastGood } from '../../components/Toasts';
import { Dialog, Problem } from '../../components/ui';
import { sentence } from '../../lib/words';

/** What the fields of a form see: the draft, how to change it, and what it was. */
export interface Form<T> {
  draft: T;
  change: (part: Partial<T>) => void;
  before: T;
  isNew: boolean;
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

/** Adds or changes one; what the server refuses is said in the dialog. */
export function EditDialog<T extends object>(props: EditProps<T>) {
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
