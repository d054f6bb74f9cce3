import { useQuery } from '@tanstack/react-query';
import { Plus, RotateCcw } from 'lucide-react';
import { useState } from 'react';
import { StateIcon } from '../../components/StateIcon';
import { toastGood } from '../../components/Toasts';
import { Dialog, Loading, Problem } from '../../components/ui';
import { clearNote, clearWords } from '../../lib/clearing';
import { checkConf } from '../../lib/conf';
import { usePatchSearch } from '../../lib/search';
import { clearPreviewQuery, useClear, type ClearChoice } from '../../queries/runs';

interface Props {
  dagId: string;
  runId: string;
  title: string;
  choice: ClearChoice;
  onClose: () => void;
}

type Flag = 'downstream' | 'upstream' | 'past' | 'future' | 'only_failed' | 'latest_version';

const FLAGS: [Flag, string, string][] = [
  ['downstream', 'Downstream', 'and everything after it'],
  ['upstream', 'Upstream', 'and everything before it'],
  ['past', 'Earlier runs', 'the same tasks in runs before this one'],
  ['future', 'Later runs', 'the same tasks in runs after this one'],
  ['only_failed', 'Only failed', 'leave what succeeded as it is'],
  ['latest_version', 'Latest version', 'run with the newest code of the DAG, not as it was'],
];

const LISTED = 200;

/** Clears tasks so that they run again; says first what it would touch. */
export function ClearDialog({ dagId, runId, title, choice: initial, onClose }: Props) {
  const [choice, setChoice] = useState(initial);
  const patch = usePatchSearch();
  const preview = useQuery(clearPreviewQuery(dagId, runId, choice));
  const clear = useClear(dagId, runId);
  const single = (initial.task_ids ?? []).length > 0;
  const flags = FLAGS.filter(([flag]) => single || (flag !== 'downstream' && flag !== 'upstream'));
  const count = preview.data?.task_count ?? 0;
  const runs = preview.data?.run_count ?? 0;
  const listed = Math.min(LISTED, preview.data?.tasks.length ?? 0);
  const left = preview.data ? count + preview.data.removed_count + preview.data.added_count - listed : 0;
  const [conf, setConf] = useState('');
  const own = conf.trim() !== '';
  const check = checkConf(conf);
  const start = () =>
    clear.mutate(own && check.ok ? { ...choice, conf: check.value } : choice, {
      onSuccess: (result) => {
        onClose();
        patch({ try: undefined, line: undefined });
        toastGood(
          `Cleared ${result.task_count} ${result.task_count === 1 ? 'task' : 'tasks'}`,
          'They run again now.',
        );
      },
    });
  return (
    <Dialog
      open
      onClose={onClose}
      title={title}
      footer={
        <>
          <span className="muted" role="status" style={{ marginRight: 'auto' }}>
            {preview.data ? clearWords(preview.data) : ''}
          </span>
          <button type="button" className="btn" onClick={onClose}>
            Cancel
          </button>
          <button
            type="button"
            className="btn primary"
            disabled={
              !preview.data || !check.ok || count === 0 || clear.isPending || preview.isPlaceholderData
            }
            onClick={start}
          >
            <RotateCcw size={13} /> {clear.isPending ? 'Clearing' : 'Clear and run again'}
          </button>
        </>
      }
    >
      <div style={{ display: 'grid', gridTemplateColumns: '1fr 1fr', gap: '8px 16px' }}>
        {flags.map(([flag, label, text]) => (
          <label key={flag} className="check">
            <input
              type="checkbox"
              checked={choice[flag] ?? false}
              onChange={(event) => setChoice({ ...choice, [flag]: event.target.checked })}
            />
            <span>
              {label}
              <span className="faint small" style={{ display: 'block' }}>
                {text}
              </span>
            </span>
          </label>
        ))}
      </div>
      <details>
        <summary className="muted" style={{ cursor: 'pointer' }}>
          Other parameters
        </summary>
        <label className="labelled" style={{ marginTop: 8 }}>
          <span>conf that only these tasks see, a JSON object (empty: the run&apos;s)</span>
          <textarea
            className="field mono"
            rows={3}
            spellCheck={false}
            value={conf}
            aria-invalid={!check.ok}
            onChange={(event) => setConf(event.target.value)}
          />
          {!check.ok && (
            <span style={{ color: 'var(--danger)' }} role="alert">
              {check.message} {check.fix}
            </span>
          )}
        </label>
      </details>
      {preview.isPending && <Loading rows={3} label="Computing what it clears" />}
      {preview.isError && <Problem error={preview.error} retry={() => void preview.refetch()} />}
      {preview.data && (
        <ul
          className="clear-list"
          tabIndex={0}
          aria-label="Tasks to clear"
          style={{ opacity: preview.isPlaceholderData ? 0.5 : 1 }}
        >
          {count === 0 && <li className="muted">Nothing matches this choice.</li>}
          {preview.data.tasks.slice(0, LISTED).map((task) => (
            <li key={`${task.run_id}/${task.task_id}/${task.map_index}`} className="row">
              {task.effect === 'added' ? (
                <Plus size={14} aria-label="new" />
              ) : (
                <StateIcon state={task.state} label />
              )}
              <span className={`mono truncate${task.effect === 'removed' ? ' struck' : ''}`}>
                {task.task_id}
                {task.map_index >= 0 && ` [${task.map_index}]`}
              </span>
              <span className="faint small">{clearNote(task)}</span>
              {runs > 1 && <span className="mono faint truncate right">{task.run_id}</span>}
            </li>
          ))}
          {left > 0 && <li className="muted">and {left.toLocaleString()} more</li>}
        </ul>
      )}
      {clear.isError && <Problem error={clear.error} />}
    </Dialog>
  );
}
