// The way to the daemon: its state by WebSocket, opened again with back-off when it breaks. All times in milliseconds.

import { backoff } from '../backoff';
import type { State } from './state';

/** The daemon speaks every two seconds at least; silence for this long is the end. */
export const SILENCE = 6_000;
const FIRST = 300;
const LONGEST = 5_000;

export type Link = { kind: 'opening' } | { kind: 'open' } | { kind: 'lost'; since: number };

export interface Listener {
  onState(state: State): void;
  onLink(link: Link): void;
}

/** The part of a browser's WebSocket that is used. */
export type Socket = Pick<WebSocket, 'onmessage' | 'onclose' | 'close'>;

export class Follower {
  private socket: Socket | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private attempt = 0;
  private lostAt: number | null = null;

  constructor(
    private readonly connect: () => Socket,
    private readonly listener: Listener,
  ) {}

  start(): void {
    clearTimeout(this.timer);
    this.drop();
    const socket = this.connect();
    this.socket = socket;
    socket.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (typeof data === 'string') this.heard(JSON.parse(data) as State);
    };
    socket.onclose = () => this.broken();
    this.expect();
  }

  /** The network came back, or the page is looked at again: do not wait any longer. */
  wake(): void {
    if (this.lostAt !== null) this.start();
  }

  stop(): void {
    clearTimeout(this.timer);
    this.drop();
  }

  private heard(state: State): void {
    this.attempt = 0;
    this.lostAt = null;
    this.expect();
    this.listener.onLink({ kind: 'open' });
    this.listener.onState(state);
  }

  private expect(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.broken(), SILENCE);
  }

  private broken(): void {
    this.drop();
    this.lostAt ??= Date.now();
    this.listener.onLink({ kind: 'lost', since: this.lostAt });
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.start(), backoff(this.attempt++, Math.random, FIRST, LONGEST));
  }

  private drop(): void {
    const socket = this.socket;
    this.socket = null;
    if (socket === null) return;
    socket.onmessage = socket.onclose = null;
    socket.close();
  }
}

/** The address of `path` as a WebSocket. */
export function socketUrl(path: string, base: string): string {
  const url = new URL(path, base);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return url.href;
}
