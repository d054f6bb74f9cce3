import { Check, LoaderCircle, X } from 'lucide-react';
import { Hint } from '../../components/ui';
import { useNow } from '../../lib/clock';
import { elapsedSeconds, formatDuration, formatLocal } from '../../lib/time';
import type { Stage } from '../../queries/client';

/** "TaskExecStage" is "Task exec". */
function stageName(name: string): string {
  const words = name.replace(/Stage$/, '').replace(/([a-z])([A-Z])/g, '$1 $2');
  return words.charAt(0).toUpperCase() + words.slice(1).toLowerCase();
}

/** The stages of a try in order, each with its outcome and the time it took. */
export function Stages({ stages }: { stages: Stage[] }) {
  const now = useNow();
  return (
    <ol className="stages" aria-label="Stages">
      {stages.map((stage) => {
        const seconds = stage.seconds ?? elapsedSeconds(stage.start_time, stage.end_time, now);
        return (
          <li key={stage.name} className={`stage ${stage.outcome}`}>
            <Hint
              text={
                <>
                  <strong>{stage.name}</strong>: {stage.outcome}
                  {stage.start_time && <div className="muted">from {formatLocal(stage.start_time)}</div>}
                  {stage.message && <div>{stage.message}</div>}
                  {stage.category && <div className="mono">{stage.category}</div>}
                </>
              }
            >
              <button
                type="button"
                className="stage-button"
                aria-label={`${stage.name}: ${stage.outcome}, ${formatDuration(seconds)}`}
              >
                <span className="stage-dot" aria-hidden="true">
                  {stage.outcome === 'success' && <Check size={11} strokeWidth={3} />}
                  {stage.outcome === 'failed' && <X size={11} strokeWidth={3} />}
                  {stage.outcome === 'running' && (
                    <LoaderCircle size={12} strokeWidth={2.5} className="spin" />
                  )}
                </span>
                <span className="stage-name">{stageName(stage.name)}</span>
                <span className="stage-time">{formatDuration(seconds)}</span>
              </button>
            </Hint>
          </li>
        );
      })}
    </ol>
  );
}
