/** Explanations in a page: the line that sums one up, and where its parties are. */
import type { Explanation, Party, Reason } from '../queries/client';
import { withLocalTimes } from './time';
import { sentence } from './words';

/** What is waited for first, and how much more there is; notes count only when there is nothing else. */
export function headline(explanation: Explanation): string {
  const reasons = explanation.reasons.filter((reason) => !reason.note);
  const first = reasons[0] ?? explanation.reasons[0];
  if (!first) return 'It waits for nothing.';
  const more = Math.max(reasons.length - 1, 0);
  return messageOf(first) + (more > 0 ? ` — and ${more} more` : '');
}

/** A reason's message as a sentence, with its times in the zone of the browser. */
export function messageOf(reason: Pick<Reason, 'message'>): string {
  return sentence(withLocalTimes(reason.message));
}

export type Place =
  | { to: '/dags/$dagId'; params: { dagId: string } }
  | {
      to: '/dags/$dagId/runs/$runId';
      params: { dagId: string; runId: string };
      search?: { task: string; map?: number };
    }
  | { to: '/pools' }
  | { to: '/parse-errors' };

/** Where a party can be looked at; null for those that have no page. */
export function placeOf(party: Party): Place | null {
  if (party.kind === 'pool') return { to: '/pools' };
  if (party.kind === 'file') return { to: '/parse-errors' };
  if (!party.dag_id) return null;
  if (!party.run_id) return { to: '/dags/$dagId', params: { dagId: party.dag_id } };
  const params = { dagId: party.dag_id, runId: party.run_id };
  if (!party.task_id) return { to: '/dags/$dagId/runs/$runId', params };
  const map = party.map_index >= 0 ? { map: party.map_index } : {};
  return { to: '/dags/$dagId/runs/$runId', params, search: { task: party.task_id, ...map } };
}

/** A party's name, with where it is when that is elsewhere than the subject. */
export function nameOf(party: Party, subject: Explanation['subject']): string {
  if (party.kind === 'task' && party.dag_id !== subject.dag_id)
    return `${party.dag_id} / ${party.run_id} / ${party.name}`;
  if (party.kind === 'task' && party.run_id !== subject.run_id) return `${party.run_id} / ${party.name}`;
  if (party.kind === 'run' && party.dag_id !== subject.dag_id) return `${party.dag_id} / ${party.name}`;
  return party.name.replace(/^user:/, '');
}
