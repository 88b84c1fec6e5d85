// The daemon's log as the panel keeps it: the last lines, and which of them are wanted. Pure but for `follow`.

import { backoff } from '../backoff';

export interface Line {
  at_ms: number;
  level: string;
  target: string;
  words: string;
}

/** A line, or a gap where so many were missed. */
export type Entry = { id: number; line: Line } | { id: number; missed: number };

export const LEVELS = ['error', 'warn', 'info', 'debug', 'trace'] as const;
export const KEPT = 5_000;

export class Log {
  entries: Entry[] = [];
  private next = 0;

  add(line: Line): void {
    this.push({ id: this.next++, line });
  }

  gap(missed: number): void {
    this.push({ id: this.next++, missed });
  }

  private push(entry: Entry): void {
    this.entries.push(entry);
    // In larger steps: shifting at every line costs more.
    if (this.entries.length > KEPT + 500) this.entries = this.entries.slice(-KEPT);
  }
}

/** Entries of this level or worse that hold every word of `search`, whatever the case. */
export function wanted(entries: readonly Entry[], level: string, search: string): Entry[] {
  const least = LEVELS.indexOf(level as (typeof LEVELS)[number]);
  const words = search.toLowerCase().split(/\s+/).filter((word) => word !== '');
  return entries.filter((entry) => {
    if ('missed' in entry) return words.length === 0;
    const { line } = entry;
    const at = LEVELS.indexOf(line.level as (typeof LEVELS)[number]);
    const text = `${line.words} ${line.target}`.toLowerCase();
    return at <= least && words.every((word) => text.includes(word));
  });
}

/** Follows the daemon's log; `changed` is called once for many lines. Gives what ends it. */
export function follow(log: Log, changed: () => void, broken: (isBroken: boolean) => void): () => void {
  let source: EventSource;
  let again: ReturnType<typeof setTimeout> | undefined;
  let attempt = 0;
  let due = false;
  const soon = () => {
    if (due) return;
    due = true;
    setTimeout(() => {
      due = false;
      changed();
    }, 100);
  };
  const open = () => {
    source = new EventSource('/api/logs');
    source.onopen = () => {
      attempt = 0;
      broken(false);
    };
    source.onmessage = ({ data }) => {
      log.add(JSON.parse(data as string) as Line);
      soon();
    };
    source.addEventListener('lagged', ({ data }) => {
      log.gap((JSON.parse(data as string) as { missed: number }).missed);
      soon();
    });
    source.onerror = () => {
      broken(true);
      // A lost connection the browser opens again by itself, and says where it was; a refusal it takes for the end.
      if (source.readyState !== EventSource.CLOSED) return;
      again = setTimeout(() => {
        log.entries = [];
        open();
      }, backoff(attempt++, Math.random));
    };
  };
  open();
  return () => {
    clearTimeout(again);
    source.close();
  };
}
