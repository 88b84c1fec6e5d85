// What the player is doing, as a pure state machine: events and the time go in, effects and a deadline come out.
//
//              refused ──> waiting / absent / locked / unplayable / retrying ──due──┐
//   connecting ─────────────────────────────────────────────────────────────────────┤
//     │    ^  no media, no picture, connection failed ──> retrying ──due────────────┤
//     │    └────────────────────────────────────────────────────────────────────────┘
//     └─ picture ──> playing ── silence, connection failed ──> retrying
//                     │   ^
//      told so while  └─> paused ── picture ──> playing
//      it has stopped
//
// All times are in milliseconds.

import { backoff } from '../backoff';
import type { Refusal } from '../whep';

export type State =
  | { kind: 'connecting' }
  | { kind: 'waiting' }
  | { kind: 'absent' }
  | { kind: 'locked'; wrongKey: boolean }
  | { kind: 'unplayable'; words: string; codec: string | null }
  | { kind: 'retrying'; why: Trouble; at: number }
  | { kind: 'playing' }
  /** The server sends no picture, for the way here carries none. */
  | { kind: 'paused' };

/** Why the player has to try again. */
export type Trouble =
  | { kind: 'lost' }
  | { kind: 'unreachable' }
  | { kind: 'blocked' }
  | { kind: 'no-picture' }
  | { kind: 'server'; words: string };

export type Event =
  | { kind: 'refused'; refusal: Refusal }
  | { kind: 'answered' }
  | { kind: 'connection'; state: RTCPeerConnectionState }
  | { kind: 'picture' }
  | { kind: 'progress'; progress: Progress }
  /** The server said whether it sends this session a picture. */
  | { kind: 'told'; paused: boolean }
  | { kind: 'due' }
  /** The network came back, the page became visible, or the viewer asked. */
  | { kind: 'wake' }
  | { kind: 'key' };

/** What has arrived in this session so far. */
export interface Progress {
  bytes: number;
  framesReceived: number;
  framesDecoded: number;
  /** `AV1`, `H264`, … */
  codec: string | null;
  /** Hidden pages may decode nothing, which then means nothing. */
  visible: boolean;
}

/** `open` starts a new session (after closing the one before); `close` ends it. */
export type Effect = 'open' | 'close';

/** From the answer to the first byte of media. */
export const CONNECT_LIMIT = 10_000;
/** Without a byte for this long, the session is renewed: browsers need far longer to see that a server died. */
export const SILENCE_LIMIT = 3_000;
/** Media arrives but no picture is decoded. A server needs some five seconds to be sure that the way here is too narrow. */
export const DECODE_LIMIT = 8_000;
/** No picture for this long is reason to ask the server whether it sends one. */
export const DOUBT = 1_000;
/** Told every five seconds, a server that has fallen silent is lost. */
export const TOLD_LIMIT = 12_000;
/** An encoder switch at the server may make a stream playable. */
export const UNPLAYABLE_RETRY = 10_000;
/** While a stream is not live, at most this far apart. */
export const WAIT_LONGEST = 3_000;
/** While a stream does not exist. */
export const ABSENT_RETRY = 5_000;

export class Machine {
  state: State = { kind: 'connecting' };
  /** When to send `due`; none when nothing is awaited. */
  due: number | null = null;
  /** What to say: while a new attempt runs after waiting, that is still the waiting, or the words would flicker. */
  get shown(): State {
    return this.state.kind === 'connecting' && this.before !== null ? this.before : this.state;
  }

  /** The picture has stopped, and the server may say why. */
  get doubts(): boolean {
    return this.state.kind === 'paused' || (this.state.kind === 'playing' && this.stalled);
  }

  private before: State | null = null;
  private attempt = 0;
  private answered = false;
  private progress: Progress | null = null;
  private bytesAt = 0;
  private decodedAt = 0;
  private toldAt = 0;
  private stalled = false;

  /** `hasKey`: one came with the address. */
  constructor(private readonly random: () => number, private hasKey = false) {}

  handle(event: Event, now: number): Effect[] {
    switch (event.kind) {
      case 'refused':
        return this.state.kind === 'connecting' ? this.refused(event.refusal, now) : [];
      case 'answered':
        if (this.state.kind !== 'connecting') return [];
        this.answered = true;
        this.before = null;
        this.due = now + CONNECT_LIMIT;
        return [];
      case 'connection':
        return (event.state === 'failed' || event.state === 'closed') && this.inSession() ? this.fail(this.lossWords(), now) : [];
      case 'picture':
        if (this.inSession()) this.playing(now);
        return [];
      case 'progress':
        return this.inSession() ? this.measured(event.progress, now) : [];
      case 'told':
        this.told(event.paused, now);
        return [];
      case 'due':
        return this.due !== null && now >= this.due ? this.dueNow(now) : [];
      case 'wake':
        return this.inSession() || this.state.kind === 'locked' ? [] : this.open();
      case 'key':
        this.hasKey = true;
        return this.open();
    }
  }

  /** Begins; also called when a page comes back from the browser's cache. */
  start(): Effect[] {
    this.attempt = 0;
    this.state = { kind: 'connecting' };
    this.before = null;
    return this.open();
  }

  private inSession(): boolean {
    return this.state.kind === 'playing' || this.state.kind === 'connecting' || this.state.kind === 'paused';
  }

  private open(): Effect[] {
    const quiet = ['waiting', 'absent', 'unplayable', 'retrying'].includes(this.state.kind);
    if (this.state.kind !== 'connecting') this.before = quiet ? this.state : null;
    this.state = { kind: 'connecting' };
    this.due = null;
    this.answered = false;
    this.progress = null;
    return ['open'];
  }

  private refused(refusal: Refusal, now: number): Effect[] {
    const attempt = this.attempt++;
    switch (refusal.kind) {
      case 'not-live':
        this.state = { kind: 'waiting' };
        this.due = now + backoff(attempt, this.random, Math.max(500, refusal.retryAfter ?? 0), WAIT_LONGEST);
        break;
      case 'absent':
        this.state = { kind: 'absent' };
        this.due = now + backoff(0, this.random, ABSENT_RETRY);
        break;
      case 'locked':
        this.state = { kind: 'locked', wrongKey: this.hasKey };
        this.due = null;
        break;
      case 'no-codec':
        this.state = { kind: 'unplayable', words: refusal.words, codec: codecIn(refusal.words) };
        this.due = now + backoff(0, this.random, UNPLAYABLE_RETRY);
        break;
      case 'busy':
        this.retry({ kind: 'server', words: refusal.words }, now, attempt, refusal.retryAfter ?? 0);
        break;
      case 'broken':
        this.retry({ kind: 'server', words: refusal.words }, now, attempt, 0);
        break;
      case 'unreachable':
        this.retry({ kind: 'unreachable' }, now, attempt, 0);
        break;
    }
    return ['close'];
  }

  private measured(progress: Progress, now: number): Effect[] {
    const before = this.progress;
    this.progress = progress;
    if (before === null || progress.bytes > before.bytes) this.bytesAt = now;
    if (before === null || progress.framesDecoded > before.framesDecoded || !progress.visible) this.decodedAt = now;
    if (this.state.kind === 'connecting') {
      if (progress.framesDecoded > 0) this.playing(now);
      // Media has begun to arrive: from here on it is the picture that is awaited.
      else if (progress.bytes > 0 && (before?.bytes ?? 0) === 0) this.due = now + DECODE_LIMIT;
      return [];
    }
    if (this.state.kind === 'paused') {
      if (before !== null && progress.framesDecoded > before.framesDecoded) this.playing(now);
      return this.state.kind === 'paused' && now - this.toldAt >= TOLD_LIMIT ? this.fail({ kind: 'lost' }, now) : [];
    }
    this.stalled = now - this.decodedAt >= DOUBT;
    if (now - this.bytesAt >= SILENCE_LIMIT) return this.fail({ kind: 'lost' }, now);
    if (now - this.decodedAt >= DECODE_LIMIT) return this.fail({ kind: 'no-picture' }, now);
    return [];
  }

  private told(paused: boolean, now: number): void {
    if (this.state.kind !== 'playing' && this.state.kind !== 'paused') return;
    if (paused) {
      this.state = { kind: 'paused' };
      this.toldAt = now;
    } else if (this.state.kind === 'paused') {
      this.playing(now);
    }
  }

  private dueNow(now: number): Effect[] {
    if (this.state.kind !== 'connecting') return this.open();
    const progress = this.progress;
    if (progress === null || progress.bytes === 0) return this.fail(this.lossWords(), now);
    if (progress.framesReceived > 0 && progress.visible) {
      this.attempt++;
      this.state = { kind: 'unplayable', words: '', codec: progress.codec };
      this.due = now + backoff(0, this.random, UNPLAYABLE_RETRY);
      return ['close'];
    }
    return this.fail({ kind: 'no-picture' }, now);
  }

  private playing(now: number): void {
    if (this.state.kind !== 'playing') {
      this.bytesAt = now;
      this.decodedAt = now;
      this.stalled = false;
    }
    this.state = { kind: 'playing' };
    this.before = null;
    this.attempt = 0;
    this.due = null;
  }

  private lossWords(): Trouble {
    if (this.state.kind !== 'connecting') return { kind: 'lost' };
    return this.answered ? { kind: 'blocked' } : { kind: 'unreachable' };
  }

  private fail(why: Trouble, now: number): Effect[] {
    this.retry(why, now, this.attempt++, 0);
    return ['close'];
  }

  private retry(why: Trouble, now: number, attempt: number, atLeast: number): void {
    const at = now + Math.max(backoff(attempt, this.random), atLeast);
    this.state = { kind: 'retrying', why, at };
    this.due = at;
  }
}

/** The codec a refusal speaks of. */
function codecIn(words: string): string | null {
  return /\b(AV1|VP9|VP8|H\.?264)\b/i.exec(words)?.[0]?.toUpperCase().replace('.', '') ?? null;
}
