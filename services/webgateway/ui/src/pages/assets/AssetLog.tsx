import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { Problem } from '../../components/ui';
import { assetLogQuery } from '../../queries/assets';

/** The end of the log of a watcher, or without one of the latest stale callback; read when it is opened. */
export function AssetLog({ name, watcher = '' }: { name: string; watcher?: string }) {
  const [open, setOpen] = useState(false);
  const log = useQuery({ ...assetLogQuery(name, watcher), enabled: open });
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary className="muted">Log</summary>
      {log.isError && <Problem error={log.error} retry={() => void log.refetch()} />}
      {log.data && (
        <pre className="asset-log" tabIndex={0} aria-label="Log">
          {log.data.lines.map((line) => line.text).join('\n') || 'It has said nothing yet.'}
        </pre>
      )}
    </details>
  );
}
