import { useQuery } from '@tanstack/react-query';
import { Link, Outlet, useLocation, useNavigate } from '@tanstack/react-router';
import { ChevronDown, CircleHelp, Monitor, Moon, Search as SearchIcon, Sun, User } from 'lucide-react';
import { useEffect, useState } from 'react';
import { useShortcuts } from '../lib/shortcuts';
import { setTheme, useTheme, type ThemeChoice } from '../lib/theme';
import { decisionsQuery } from '../queries/decisions';
import { parseErrorsQuery, systemQuery, viewerQuery } from '../queries/admin';
import { useConnection } from '../queries/live';
import { Menu } from './Menu';
import { Palette } from './Palette';
import { ShortcutsDialog } from './ShortcutsDialog';
import { Toasts } from './Toasts';
import { Hint, IconButton } from './ui';
import './Shell.css';

export function Shell() {
  const navigate = useNavigate();
  const [palette, setPalette] = useState(false);
  const [help, setHelp] = useState(false);
  const { theme } = useTheme();
  const path = useLocation({ select: (location) => location.pathname });
  useEffect(() => {
    document.title = titleOf(path);
  }, [path]);
  const group = 'Everywhere';
  useShortcuts([
    { keys: '/', label: 'Search and commands', group, run: () => setPalette(true) },
    { keys: 'mod+k', label: 'Search and commands', group, run: () => setPalette((open) => !open) },
    { keys: '?', label: 'List the keys', group, run: () => setHelp(true) },
    { keys: 'g h', label: 'Go to DAGs', group, run: () => void navigate({ to: '/' }) },
    { keys: 'g r', label: 'Go to runs', group, run: () => void navigate({ to: '/runs' }) },
    { keys: 'g e', label: 'Go to parse errors', group, run: () => void navigate({ to: '/parse-errors' }) },
    { keys: 'g p', label: 'Go to pools', group, run: () => void navigate({ to: '/pools' }) },
    { keys: 'g a', label: 'Go to the audit', group, run: () => void navigate({ to: '/audit' }) },
    {
      keys: 'T',
      label: 'Switch light and dark',
      group,
      run: () => setTheme(theme === 'dark' ? 'light' : 'dark'),
    },
  ]);
  return (
    <div className="shell">
      <a className="skip" href="#main">
        Skip to the content
      </a>
      <header className="bar">
        <Link to="/" className="logo" aria-label="Spinner, DAGs">
          <svg width="20" height="20" viewBox="0 0 32 32" aria-hidden="true">
            <circle
              cx="16"
              cy="16"
              r="11"
              fill="none"
              stroke="var(--accent)"
              strokeWidth="5"
              strokeDasharray="46 24"
              strokeLinecap="round"
            />
            <circle cx="16" cy="16" r="3.5" fill="var(--accent)" />
          </svg>
          <span>Spinner</span>
        </Link>
        <ClusterChip />
        <nav className="bar-nav" aria-label="Main">
          <Link
            to="/"
            activeOptions={{ exact: true, includeSearch: false }}
            data-active={path.startsWith('/dags/') || undefined}
          >
            DAGs
          </Link>
          <Link to="/runs">Runs</Link>
          <Link to="/lineage">Assets</Link>
          <ActionsLink />
          <ErrorsLink />
          <Menu
            trigger={
              <button
                type="button"
                className="bar-menu"
                data-active={
                  /^\/(backfills|deadlines|pools|variables|connections|audit)/.test(path) || undefined
                }
              >
                Operate <ChevronDown size={13} />
              </button>
            }
            actions={[
              { label: 'Deadlines', run: () => void navigate({ to: '/deadlines' }) },
              { label: 'Backfills', run: () => void navigate({ to: '/backfills' }) },
              { label: 'Pools', run: () => void navigate({ to: '/pools' }) },
              { label: 'Variables', run: () => void navigate({ to: '/variables' }) },
              { label: 'Connections', run: () => void navigate({ to: '/connections' }) },
              { label: 'Audit', run: () => void navigate({ to: '/audit' }) },
            ]}
          />
        </nav>
        <button type="button" className="bar-search" onClick={() => setPalette(true)}>
          <SearchIcon size={14} />
          <span className="grow">Search DAGs, runs, tasks, errors</span>
          <kbd>/</kbd>
        </button>
        <ConnectionState />
        <ThemeMenu />
        <IconButton label="Keys (?)" className="btn ghost icon bar-keys" onClick={() => setHelp(true)}>
          <CircleHelp size={16} />
        </IconButton>
        <Viewer />
      </header>
      <main id="main" tabIndex={-1}>
        <Outlet />
      </main>
      <Palette open={palette} onClose={() => setPalette(false)} onHelp={() => setHelp(true)} />
      <ShortcutsDialog open={help} onClose={() => setHelp(false)} />
      <Toasts />
    </div>
  );
}

function titleOf(path: string): string {
  const parts = path.split('/').filter(Boolean).map(decodeURIComponent);
  if (parts[0] === 'dags') return `${[parts[5], parts[3], parts[1]].filter(Boolean).join(' · ')} · Spinner`;
  const names: Record<string, string> = {
    runs: 'Runs',
    'parse-errors': 'Parse errors',
    lineage: 'Assets',
    deadlines: 'Deadlines',
    backfills: 'Backfills',
    decisions: 'Required actions',
    pools: 'Pools',
    variables: 'Variables',
    connections: 'Connections',
    audit: 'Audit',
  };
  return `${names[parts[0] ?? ''] ?? 'DAGs'} · Spinner`;
}

function ClusterChip() {
  const { data } = useQuery(systemQuery);
  if (!data) return null;
  return (
    <Hint text={`Environment ${data.environment}, cluster ${data.cluster}, version ${data.version}`}>
      <span className={`cluster cluster-${kindOf(data.environment)}`} tabIndex={0}>
        {data.environment} · {data.cluster}
      </span>
    </Hint>
  );
}

function kindOf(environment: string): string {
  if (/prod/i.test(environment)) return 'production';
  return /stag|test|pre/i.test(environment) ? 'staging' : 'other';
}

function ActionsLink() {
  const { data } = useQuery(decisionsQuery());
  const count = data?.total ?? 0;
  return (
    <Link to="/decisions">
      Actions
      {count > 0 && (
        <span className="count" aria-label={`${count} required actions`}>
          {count}
        </span>
      )}
    </Link>
  );
}

function ErrorsLink() {
  const { data } = useQuery(parseErrorsQuery(''));
  const count = data?.total ?? 0;
  return (
    <Link to="/parse-errors">
      Errors
      {count > 0 && (
        <span className="count" aria-label={`${count} parse errors`}>
          {count}
        </span>
      )}
    </Link>
  );
}

function ConnectionState() {
  const connection = useConnection();
  const { data } = useQuery(systemQuery);
  const lag = data?.views_lag ?? 0;
  const late = connection === 'live' && lag > 1000;
  const text = {
    connecting: 'Connecting',
    live: late ? 'Catching up' : 'Live',
    reconnecting: 'Reconnecting',
  }[connection];
  const why = {
    connecting: 'Waiting for the stream of changes.',
    live: late ? `${lag.toLocaleString()} events are not shown yet.` : 'Changes show by themselves.',
    reconnecting: 'The connection is lost; what you see may be old. It is tried again every two seconds.',
  }[connection];
  return (
    <Hint text={why}>
      <span className={`connection ${late ? 'reconnecting' : connection}`} role="status" tabIndex={0}>
        <i aria-hidden="true" />
        {text}
      </span>
    </Hint>
  );
}

function ThemeMenu() {
  const { choice, theme } = useTheme();
  const option = (value: ThemeChoice, label: string, icon: React.ReactNode) => ({
    label: (
      <>
        {label}
        {choice === value && <span className="right muted">chosen</span>}
      </>
    ),
    icon,
    run: () => setTheme(value),
  });
  return (
    <Menu
      trigger={
        <button type="button" className="btn ghost icon" aria-label="Theme">
          {theme === 'dark' ? <Moon size={16} /> : <Sun size={16} />}
        </button>
      }
      actions={[
        option('system', 'As the system', <Monitor size={14} />),
        option('light', 'Light', <Sun size={14} />),
        option('dark', 'Dark', <Moon size={14} />),
      ]}
    />
  );
}

function Viewer() {
  const { data } = useQuery(viewerQuery);
  if (!data) return null;
  return (
    <Hint
      text={`${data.name}: ${data.roles.join(', ') || 'no roles'}${data.development ? ' (development user)' : ''}`}
    >
      <span className="viewer" tabIndex={0}>
        <User size={14} />
        {data.name}
      </span>
    </Hint>
  );
}
