// Figures of the last ten minutes: first the daemon's own, then one point for each snapshot, two seconds apart at least.

import { lost, total, type State } from './state';

export const MINUTES = 10;
/** Seconds between two points. */
const EVERY = 2;
const POINTS = (MINUTES * 60) / EVERY;

/** Columns of `/api/history`. */
export interface Columns {
  at_ms: number[];
  fps: number[];
  bitrate_bps: number[];
  dropped: number[];
  latency_p50_ms: (number | null)[];
  latency_p95_ms: (number | null)[];
  cpu_percent: number[];
  memory_bytes: number[];
}

export class History {
  columns: Columns = empty();

  /** What the daemon remembers replaces what was seen. */
  replace(columns: Columns): void {
    this.columns = empty();
    for (const name of names()) (this.columns[name] as (number | null)[]) = columns[name].slice(-POINTS);
  }

  /** Whether a point was added. */
  add(state: State, at: number): boolean {
    const last = this.columns.at_ms.at(-1);
    if (last !== undefined && at - last < EVERY * 1000 - 50) return false;
    const { columns } = this;
    columns.at_ms.push(at);
    columns.fps.push(state.encode?.fps ?? 0);
    columns.bitrate_bps.push(state.encode?.bitrate_bps ?? 0);
    columns.dropped.push(lost(state));
    columns.latency_p50_ms.push(total(state)?.p50_ms ?? null);
    columns.latency_p95_ms.push(total(state)?.p95_ms ?? null);
    columns.cpu_percent.push(state.process.cpu_percent);
    columns.memory_bytes.push(state.process.memory_bytes);
    const oldest = at - MINUTES * 60_000;
    while (columns.at_ms.length > POINTS || (columns.at_ms[0] ?? at) < oldest) {
      for (const name of names()) columns[name].shift();
    }
    return true;
  }

  /** Frames lost from each point to the next; a daemon that began anew counts from zero. */
  losses(): number[] {
    return this.columns.dropped.map((count, index, all) => {
      const before = all[index - 1] ?? count;
      return count >= before ? count - before : count;
    });
  }
}

function names(): (keyof Columns)[] {
  return Object.keys(empty()) as (keyof Columns)[];
}

function empty(): Columns {
  return {
    at_ms: [], fps: [], bitrate_bps: [], dropped: [], latency_p50_ms: [], latency_p95_ms: [], cpu_percent: [],
    memory_bytes: [],
  };
}
