/** The palette: search across DAGs, runs, tasks and errors, and the commands of the application. */
import { useQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { Command } from 'cmdk';
import { AlertTriangle, ArrowRight, FileText, ListTree, Play, Square, Workflow } from 'lucide-react';
import { Dialog } from 'radix-ui';
import { useDeferredValue, useState } from 'react';
import { setTheme, type ThemeChoice } from '../lib/theme';
import { searchQuery } from '../queries/admin';
import type { SearchHit } from '../queries/client';

const ICONS: Record<SearchHit['kind'], React.ReactNode> = {
  dag: <Workflow size={15} />,
  run: <Play size={15} />,
  task: <Square size={15} />,
  error: <AlertTriangle size={15} />,
  log: <FileText size={15} />,
};

const KINDS: [SearchHit['kind'], string][] = [
  ['dag', 'DAGs'],
  ['run', 'Runs'],
  ['task', 'Tasks'],
  ['error', 'Errors'],
  ['log', 'Logs'],
];

interface Props {
  open: boolean;
  onClose: () => void;
  onHelp: () => void;
}

export function Palette({ open, onClose, onHelp }: Props) {
  return (
    <Dialog.Root open={open} onOpenChange={(next) => !next && onClose()}>
      <Dialog.Portal>
        <Dialog.Overlay className="overlay" />
        <Dialog.Content className="dialog wide" aria-describedby={undefined}>
          <Dialog.Title className="sr-only">Search and commands</Dialog.Title>
          <PaletteBody onClose={onClose} onHelp={onHelp} />
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}

function PaletteBody({ onClose, onHelp }: Omit<Props, 'open'>) {
  const navigate = useNavigate();
  const [text, setText] = useState('');
  const q = useDeferredValue(text.trim());
  const { data: hits = [], isFetching } = useQuery(searchQuery(q));
  const go = (run: () => unknown) => () => {
    onClose();
    run();
  };
  const open = (hit: SearchHit) => {
    const { dag_id: dagId, run_id: runId, task_id: taskId } = hit;
    if (hit.kind === 'error') return navigate({ to: '/parse-errors', search: { q: hit.title } });
    if (taskId && runId)
      return navigate({
        to: '/dags/$dagId/runs/$runId/tasks/$taskId/$mapIndex',
        params: { dagId, runId, taskId, mapIndex: String(hit.map_index) },
        search: hit.try_number ? { try: hit.try_number } : {},
      });
    if (runId) return navigate({ to: '/dags/$dagId/runs/$runId', params: { dagId, runId } });
    return navigate({ to: '/dags/$dagId', params: { dagId }, search: taskId ? { task: taskId } : {} });
  };
  const commands: [string, () => unknown][] = [
    ['Go to DAGs', () => navigate({ to: '/' })],
    ['Go to runs', () => navigate({ to: '/runs' })],
    ['Go to failed runs', () => navigate({ to: '/runs', search: { state: 'failed' } })],
    ['Go to running runs', () => navigate({ to: '/runs', search: { state: 'running' } })],
    ['Go to parse errors', () => navigate({ to: '/parse-errors' })],
    ['Go to assets', () => navigate({ to: '/lineage' })],
    ['Go to required actions', () => navigate({ to: '/decisions' })],
    ['Go to backfills', () => navigate({ to: '/backfills' })],
    ['Go to deadlines', () => navigate({ to: '/deadlines' })],
    ['Go to pools', () => navigate({ to: '/pools' })],
    ['Go to variables', () => navigate({ to: '/variables' })],
    ['Go to connections', () => navigate({ to: '/connections' })],
    ['Go to the audit', () => navigate({ to: '/audit' })],
    ['Show paused DAGs', () => navigate({ to: '/', search: { paused: true } })],
    ...(['light', 'dark', 'system'] as ThemeChoice[]).map((choice): [string, () => unknown] => [
      `Theme: ${choice}`,
      () => setTheme(choice),
    ]),
    ['List the keys', onHelp],
  ];
  const shownCommands = commands.filter(([label]) => label.toLowerCase().includes(q.toLowerCase()));
  return (
    <Command shouldFilter={false} label="Search and commands" loop>
      <Command.Input
        className="palette-input"
        placeholder="Search DAGs, runs, tasks and errors, or type a command"
        value={text}
        onValueChange={setText}
      />
      <Command.List className="palette-list" label="Results">
        {q && !isFetching && hits.length === 0 && shownCommands.length === 0 && (
          <Command.Empty>Nothing is named like “{q}”. Try a part of the id.</Command.Empty>
        )}
        {q &&
          KINDS.map(([kind, heading]) => {
            const group = hits.filter((hit) => hit.kind === kind);
            if (group.length === 0) return null;
            return (
              <Command.Group key={kind} heading={heading}>
                {group.map((hit, index) => (
                  <Command.Item
                    key={`${kind}${index}`}
                    value={`${kind}${index}`}
                    onSelect={go(() => open(hit))}
                  >
                    <span className="faint">{ICONS[hit.kind]}</span>
                    <span className="truncate">{hit.title}</span>
                    <span className="faint small truncate right">{hit.subtitle || hit.highlight}</span>
                  </Command.Item>
                ))}
              </Command.Group>
            );
          })}
        {shownCommands.length > 0 && (
          <Command.Group heading="Commands">
            {shownCommands.map(([label, run]) => (
              <Command.Item key={label} value={label} onSelect={go(run)}>
                <span className="faint">
                  {label === 'List the keys' ? <ListTree size={15} /> : <ArrowRight size={15} />}
                </span>
                {label}
              </Command.Item>
            ))}
          </Command.Group>
        )}
      </Command.List>
    </Command>
  );
}
