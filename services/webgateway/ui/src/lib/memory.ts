/** Memory of tasks in words. */
import type { TaskMemory } from '../queries/client';
import { formatBytes } from './time';

export const SOURCES: Record<string, string> = {
  set: 'set by hand',
  raised: 'raised after running out of memory',
  learned: 'learned from its latest tries',
  configured: 'from its definition',
};

/** "312 MiB, at most 512 MiB — learned from its latest tries". */
export function memoryText(memory: TaskMemory): string {
  if (!memory.request_bytes && !memory.limit_bytes) return 'nothing asked for';
  const request = memory.request_bytes ? formatBytes(memory.request_bytes) : 'no request';
  const limit = memory.limit_bytes ? `at most ${formatBytes(memory.limit_bytes)}` : 'no limit';
  return `${request}, ${limit} — ${SOURCES[memory.source] ?? memory.source}`;
}

/** Bytes as a person would write them; empty for none. */
export function quantity(amount: number): string {
  if (!amount) return '';
  for (const [unit, size] of [
    ['Gi', 2 ** 30],
    ['Mi', 2 ** 20],
    ['Ki', 2 ** 10],
  ] as const)
    if (amount % size === 0) return `${amount / size}${unit}`;
  return String(amount);
}
