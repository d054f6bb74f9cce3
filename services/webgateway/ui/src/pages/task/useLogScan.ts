import { useEffect } from 'react';
import { CHUNK_LINES } from '../../lib/logWindow';
import type { LogHandle } from '../../queries/tasks';

const LIMIT_LINES = 100_000;

/** While a search or filter is on, loads the log window by window, up to a limit; says how far it is. */
export function useLogScan(log: LogHandle, on: boolean): { text: string } {
  const { window: held, version } = log;
  const gap = on && held.loaded < LIMIT_LINES ? held.firstGap() : null;
  useEffect(() => {
    if (gap !== null) log.need(gap, gap + CHUNK_LINES * 4 - 1);
    // eslint-disable-next-line react-hooks/exhaustive-deps -- again whenever a window arrived
  }, [gap, version]);
  if (!on || held.loaded >= held.total) return { text: '' };
  return { text: `${held.loaded.toLocaleString()} of ${held.total.toLocaleString()} lines` };
}
