import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { AlertTriangle, X } from 'lucide-react';
import { useEffect, useRef, useState } from 'react';
import { FilterField } from '../../components/ui';
import { usePatchSearch, useSearch } from '../../lib/search';
import { useShortcuts } from '../../lib/shortcuts';
import { parseErrorsQuery } from '../../queries/admin';
import type { DagSummary } from '../../queries/client';

const STATES = [
  ['', 'Any state'],
  ['failed', 'Last run failed'],
  ['running', 'Running'],
  ['queued', 'Queued'],
  ['success', 'Last run succeeded'],
] as const;

interface Props {
  total: number | undefined;
  rows: DagSummary[];
}

export function HomeFilters({ total, rows }: Props) {
  const search = useSearch();
  const patch = usePatchSearch();
  const input = useRef<HTMLInputElement>(null);
  const [text, setText] = useState(search.q ?? '');
  const typed = useRef(search.q ?? '');
  useEffect(() => {
    if ((search.q ?? '') !== typed.current) {
      typed.current = search.q ?? '';
      setText(search.q ?? '');
    }
  }, [search.q]);
  useEffect(() => {
    if (text === typed.current) return;
    const timer = setTimeout(() => {
      typed.current = text;
      patch({ q: text || undefined });
    }, 180);
    return () => clearTimeout(timer);
  }, [text, patch]);
  useShortcuts([{ keys: 'f', label: 'Filter', group: 'DAGs', run: () => input.current?.focus() }]);

  const errors = useQuery(parseErrorsQuery(''));
  const errorCount = errors.data?.total ?? 0;
  const owners = useChoices(
    rows.map((dag) => dag.owner),
    search.owner,
  );
  const tags = useChoices(
    rows.flatMap((dag) => dag.tags),
    search.tag,
  );
  const any = search.q ?? search.owner ?? search.tier ?? search.tag ?? search.state ?? search.paused;

  return (
    <div className="page-head" role="search" aria-label="Filter DAGs">
      <FilterField
        ref={input}
        onKeyDown={(event) => event.key === 'Escape' && event.currentTarget.blur()}
        label="Filter by DAG id"
        width={260}
        value={text}
        onChange={(value) => setText(value)}
      />
      <select
        className={search.state ? 'field on' : 'field'}
        aria-label="State"
        value={search.state ?? ''}
        onChange={(event) => patch({ state: event.target.value || undefined })}
      >
        {STATES.map(([value, label]) => (
          <option key={value} value={value}>
            {label}
          </option>
        ))}
      </select>
      <select
        className={search.paused === undefined ? 'field' : 'field on'}
        aria-label="Active or paused"
        value={search.paused === undefined ? '' : String(search.paused)}
        onChange={(event) =>
          patch({ paused: event.target.value === '' ? undefined : event.target.value === 'true' })
        }
      >
        <option value="">Active and paused</option>
        <option value="false">Active</option>
        <option value="true">Paused</option>
      </select>
      <select
        className={search.owner ? 'field on' : 'field'}
        style={{ maxWidth: 160 }}
        aria-label="Owner"
        value={search.owner ?? ''}
        onChange={(event) => patch({ owner: event.target.value || undefined })}
      >
        <option value="">Any owner</option>
        {owners.map((owner) => (
          <option key={owner}>{owner}</option>
        ))}
      </select>
      <select
        className={search.tier ? 'field on' : 'field'}
        aria-label="Tier"
        value={search.tier ?? ''}
        onChange={(event) => patch({ tier: event.target.value ? Number(event.target.value) : undefined })}
      >
        <option value="">Any tier</option>
        {[1, 2, 3].map((tier) => (
          <option key={tier} value={tier}>
            Tier {tier}
          </option>
        ))}
      </select>
      <select
        className={search.tag ? 'field on' : 'field'}
        style={{ maxWidth: 140 }}
        aria-label="Tag"
        value={search.tag ?? ''}
        onChange={(event) => patch({ tag: event.target.value || undefined })}
      >
        <option value="">Any tag</option>
        {tags.map((tag) => (
          <option key={tag}>{tag}</option>
        ))}
      </select>
      {any !== undefined && (
        <Link to="/" search={search.sort ? { sort: search.sort } : {}} className="btn ghost small">
          <X size={13} /> Clear
        </Link>
      )}
      <span className="right muted" role="status">
        {total === undefined ? '' : `${total.toLocaleString()} ${total === 1 ? 'DAG' : 'DAGs'}`}
      </span>
      {errorCount > 0 && (
        <Link to="/parse-errors" className="chip danger" style={{ height: 24, padding: '0 8px' }}>
          <AlertTriangle size={13} /> {errorCount} parse {errorCount === 1 ? 'error' : 'errors'}
        </Link>
      )}
    </div>
  );
}

/** What has been seen so far; choices never disappear while a filter narrows the rows. */
function useChoices(values: string[], chosen: string | undefined): string[] {
  const [seen, setSeen] = useState<string[]>([]);
  const fresh = [...new Set([...values, chosen ?? ''])].filter((value) => value && !seen.includes(value));
  if (fresh.length > 0) setSeen([...seen, ...fresh].sort((a, b) => a.localeCompare(b)));
  return seen;
}
