/** "Why?": everything that a DAG, a run or a task waits for, since when, who holds it, and how to end the wait. */
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { ChevronRight, HelpCircle } from 'lucide-react';
import { useId, useState } from 'react';
import type { AnyState } from '../lib/states';
import { headline, messageOf, nameOf, placeOf } from '../lib/why';
import { asProblem, type Explanation, type Party, type Reason } from '../queries/client';
import { explainQuery, type ExplainSubject } from '../queries/explain';
import { StateIcon } from './StateIcon';
import { Problem, RelativeTime } from './ui';
import './Why.css';

interface Props {
  subject: ExplainSubject;
  /** The subject's state as the page knows it. */
  state: string;
  /** Whether the reasons are shown from the start. */
  open?: boolean;
  /** Nothing is shown when there is only this reason, since the page says it already. */
  known?: string;
}

/** One line that sums the reasons up, and the reasons below it when it is open. */
export function Why({ subject, state, open: first = false, known }: Props) {
  const [open, setOpen] = useState(first);
  const body = useId();
  const query = useQuery(explainQuery(subject, state));
  const found = query.data;
  const line = found
    ? headline(found)
    : query.isError
      ? asProblem(query.error).message
      : 'Asking the scheduler…';
  if (known && found?.reasons.length && found.reasons.every((reason) => reason.code === known)) return null;
  return (
    <section className="why" aria-label="Why?">
      <button
        type="button"
        className="why-head"
        aria-expanded={open}
        aria-controls={body}
        onClick={() => setOpen(!open)}
      >
        <ChevronRight size={13} className="why-mark" aria-hidden="true" />
        <HelpCircle size={13} aria-hidden="true" />
        <span className="why-title">Why?</span>
        <span className="truncate">{line}</span>
      </button>
      {open && (
        <div id={body} className="why-body">
          {found ? (
            <Reasons found={found} />
          ) : (
            query.isError && <Problem error={query.error} retry={() => void query.refetch()} />
          )}
        </div>
      )}
    </section>
  );
}

function Reasons({ found }: { found: Explanation }) {
  if (found.reasons.length === 0) return <p className="muted">It waits for nothing.</p>;
  return (
    <ul className="why-reasons" aria-label="Reasons">
      {found.reasons.map((reason, index) => (
        <ReasonItem key={`${reason.code}/${index}`} reason={reason} subject={found.subject} />
      ))}
    </ul>
  );
}

function ReasonItem({ reason, subject }: { reason: Reason; subject: Explanation['subject'] }) {
  return (
    <li className={reason.note ? 'why-reason note' : 'why-reason'}>
      <p className="why-message" title={reason.message}>
        {messageOf(reason)}
      </p>
      <p className="small muted row wrap">
        <span className="chip outline mono">{reason.code}</span>
        {reason.note && <span>holds nothing back by itself</span>}
        {reason.since && (
          <span>
            since <RelativeTime value={reason.since} />
          </span>
        )}
        {reason.until && (
          <span>
            until <RelativeTime value={reason.until} />
          </span>
        )}
      </p>
      <Parties title="Held by" parties={reason.holders} count={reason.holder_count} subject={subject} />
      <Parties title="Waiting" parties={reason.waiting} count={reason.waiting_count} subject={subject} />
      {reason.fix && (
        <p className="small">
          <strong>How to fix: </strong>
          {reason.fix}
        </p>
      )}
    </li>
  );
}

interface PartiesProps {
  title: string;
  parties: Party[];
  count: number;
  subject: Explanation['subject'];
}

function Parties({ title, parties, count, subject }: PartiesProps) {
  if (parties.length === 0) return null;
  const more = count - parties.length;
  return (
    <div className="small row wrap why-parties">
      <span className="muted">{title}</span>
      <ul className="row wrap" aria-label={title}>
        {parties.map((party, index) => (
          <li key={`${party.name}/${index}`} className="row">
            <PartyName party={party} text={nameOf(party, subject)} />
          </li>
        ))}
      </ul>
      {more > 0 && <span className="muted">and {more.toLocaleString()} more</span>}
    </div>
  );
}

function PartyName({ party, text }: { party: Party; text: string }) {
  const place = placeOf(party);
  const inner = (
    <>
      {party.state && <StateIcon state={party.state as AnyState} size={12} label />}
      {party.kind !== 'task' && party.kind !== 'run' && <span className="faint">{party.kind}</span>}
      <span className="mono">{text}</span>
    </>
  );
  if (!place) return <span className="row">{inner}</span>;
  return (
    <Link className="link row" {...place}>
      {inner}
    </Link>
  );
}
