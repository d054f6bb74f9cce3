import { ExactTime } from '../../components/ui';
import type { AssetWatcher } from '../../queries/client';
import { AssetLog } from './AssetLog';

const WORDS = {
  starting: 'is starting',
  running: 'is watching',
  failing: 'fails, and is started again',
  stopped: 'is stopped: no DAG that runs has it',
};

/** Triggers that make updates of an asset of what they see outside. */
export function Watchers({ name, watchers }: { name: string; watchers: AssetWatcher[] }) {
  if (watchers.length === 0) return null;
  return (
    <>
      <h3>Watchers</h3>
      <ul className="asset-events" aria-label="Watchers">
        {watchers.map((watcher) => (
          <li key={watcher.name}>
            <strong>{watcher.name}</strong>{' '}
            <span className={watcher.state === 'failing' ? 'chip warn' : 'chip'}>{watcher.state}</span>{' '}
            <span className="muted">{WORDS[watcher.state]}</span>
            <div className="mono small faint">{watcher.trigger_class}</div>
            <div className="muted">
              {watcher.event_count === 0
                ? 'No event yet.'
                : `${watcher.event_count.toLocaleString()} ${watcher.event_count === 1 ? 'event' : 'events'}`}
              {watcher.last_event_time && (
                <>
                  , the last at <ExactTime value={watcher.last_event_time} />
                </>
              )}
            </div>
            {watcher.last_error && (
              <div style={watcher.state === 'failing' ? { color: 'var(--danger)' } : undefined}>
                Latest failure
                {watcher.last_error_time && (
                  <>
                    {' '}
                    at <ExactTime value={watcher.last_error_time} />
                  </>
                )}
                : {watcher.last_error}
              </div>
            )}
            <AssetLog name={name} watcher={watcher.name} />
          </li>
        ))}
      </ul>
    </>
  );
}
