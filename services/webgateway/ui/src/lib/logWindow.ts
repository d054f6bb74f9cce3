/**
 * The part of a log that the browser holds. A log may have millions of lines; lines arrive in windows from the
 * server (`LogPage`) and from the live stream, are kept in chunks, and chunks far from the view are dropped.
 * Line numbers are 1-based, chunk numbers 0-based.
 */

export interface LogLine {
  line: number;
  time?: string | null;
  level: string;
  stage: string;
  logger: string;
  text: string;
  critical: boolean;
}

export interface LogPage {
  first_line: number;
  lines: LogLine[];
  total_lines: number | null;
  next_offset: number;
  complete: boolean;
  truncated?: boolean;
  /** The line that says what was left out of a long log. */
  left_out_line?: number | null;
}

export const CHUNK_LINES = 500;
const KEPT_CHUNKS = 240;

export class LogWindow {
  private chunks = new Map<number, (LogLine | undefined)[]>();
  private asked = new Set<number>();
  private listeners = new Set<() => void>();
  /** Lines known to exist so far. */
  total = 0;
  complete = false;
  truncated = false;
  /** The line that says what was left out of a long log; `null` when nothing was, as far as is known. */
  leftOutLine: number | null = null;
  nextOffset = 0;
  loaded = 0;
  version = 0;
  /** Critical lines seen so far; they stay known after their chunk is dropped. */
  readonly critical = new Set<number>();

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  get(line: number): LogLine | undefined {
    const index = line - 1;
    return this.chunks.get(Math.floor(index / CHUNK_LINES))?.[index % CHUNK_LINES];
  }

  /** Takes a window or a live increment in; the same lines twice are harmless. */
  put(page: LogPage): void {
    // What is left out of a long log moves while it is written: the final text has other line numbers.
    if (page.complete && !this.complete && page.total_lines !== null && page.total_lines < this.total) {
      this.chunks.clear();
      this.critical.clear();
      this.loaded = 0;
      this.total = page.total_lines;
      this.leftOutLine = null;
      page = { ...page, lines: [] };
    }
    if (page.left_out_line) this.leftOutLine = page.left_out_line;
    for (const line of page.lines) {
      const index = line.line - 1;
      const number = Math.floor(index / CHUNK_LINES);
      let chunk = this.chunks.get(number);
      if (!chunk) this.chunks.set(number, (chunk = new Array<LogLine | undefined>(CHUNK_LINES)));
      if (chunk[index % CHUNK_LINES] === undefined) this.loaded += 1;
      chunk[index % CHUNK_LINES] = line;
      if (line.critical) this.critical.add(line.line);
      if (line.line > this.total) this.total = line.line;
    }
    if (page.total_lines !== null) this.total = Math.max(this.total, page.total_lines);
    this.complete = this.complete || page.complete;
    this.truncated = this.truncated || Boolean(page.truncated);
    this.nextOffset = Math.max(this.nextOffset, page.next_offset);
    this.changed();
  }

  /** First lines of the chunks that `first..last` needs and that nobody asked for; marks them as asked. */
  take(first: number, last: number): number[] {
    const starts: number[] = [];
    const end = Math.min(last, Math.max(this.total, 1));
    for (let number = chunkOf(first); number <= chunkOf(end); number += 1) {
      if (this.asked.has(number) || this.whole(number)) continue;
      this.asked.add(number);
      starts.push(number * CHUNK_LINES + 1);
    }
    return starts;
  }

  /** Makes the chunk that starts at `line` askable again, after its request ended. */
  release(line: number): void {
    this.asked.delete(chunkOf(line));
  }

  /** The first line of the first chunk that is not whole, or `null`; for scans through the whole log. */
  firstGap(): number | null {
    for (let number = 0; number * CHUNK_LINES < this.total; number += 1) {
      if (!this.whole(number)) return number * CHUNK_LINES + 1;
    }
    return null;
  }

  /** Drops the chunks farthest from `line` when too many are held. */
  trim(line: number): void {
    if (this.chunks.size <= KEPT_CHUNKS) return;
    const centre = chunkOf(line);
    const numbers = [...this.chunks.keys()].sort((a, b) => Math.abs(b - centre) - Math.abs(a - centre));
    for (const number of numbers.slice(0, this.chunks.size - KEPT_CHUNKS)) {
      this.loaded -= this.chunks.get(number)?.filter((entry) => entry !== undefined).length ?? 0;
      this.chunks.delete(number);
    }
    this.changed();
  }

  /** Loaded lines in order that pass the test. */
  filter(test: (line: LogLine) => boolean): LogLine[] {
    const found: LogLine[] = [];
    for (const number of [...this.chunks.keys()].sort((a, b) => a - b)) {
      for (const line of this.chunks.get(number) ?? []) if (line && test(line)) found.push(line);
    }
    return found;
  }

  private whole(number: number): boolean {
    const chunk = this.chunks.get(number);
    if (!chunk) return false;
    const size = Math.min(CHUNK_LINES, this.total - number * CHUNK_LINES);
    for (let index = 0; index < size; index += 1) if (chunk[index] === undefined) return false;
    return true;
  }

  private changed(): void {
    this.version += 1;
    for (const listener of this.listeners) listener();
  }
}

function chunkOf(line: number): number {
  return Math.max(0, Math.floor((line - 1) / CHUNK_LINES));
}

// eslint-disable-next-line no-control-regex -- terminal colours start with the escape character
const ANSI = /\u001b\[[0-9;?]*[ -/]*[@-~]/g;

export function stripAnsi(text: string): string {
  return text.includes('\u001b') ? text.replace(ANSI, '') : text;
}

const LEVEL_RANK: Record<string, number> = {
  DEBUG: 0,
  INFO: 1,
  WARNING: 2,
  WARN: 2,
  ERROR: 3,
  CRITICAL: 4,
  FATAL: 4,
};

/** True when the line is at least at the level; lines without a level (prints) count as INFO. */
export function atLeast(line: LogLine, level: string): boolean {
  if (level === '') return true;
  if (line.critical) return true;
  return (LEVEL_RANK[line.level.toUpperCase()] ?? 1) >= (LEVEL_RANK[level] ?? 0);
}
