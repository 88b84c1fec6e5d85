// One stream by WHEP, with nothing around it: the player's machine and session, for whoever shows several things.

import { sample } from './player/figures';
import { Machine, type Effect, type Event, type State } from './player/machine';
import { Told } from './told';
import { Refused, WhepSession } from './whep';

export interface Wanted {
  /** None is the box's own. */
  stream: string | null;
  /** For a stream that is watched with one. */
  key: string | null;
}

export interface Shown {
  track(track: MediaStreamTrack): void;
  state(state: State): void;
}

export class Viewing {
  private readonly machine: Machine;
  private key: string | null;
  private session: WhepSession | null = null;
  private iceServers: RTCIceServer[] = [];
  private due: ReturnType<typeof setTimeout> | undefined;
  private beat: ReturnType<typeof setInterval> | undefined;
  private readonly told = new Told((paused) => this.handle({ kind: 'told', paused }));
  private readonly leave = () => this.close();
  private readonly comeBack = ({ persisted }: PageTransitionEvent) => {
    if (persisted) this.apply(this.machine.start());
  };
  private readonly wake = () => {
    if (document.visibilityState === 'visible') this.handle({ kind: 'wake' });
  };

  constructor(
    private readonly wanted: Wanted,
    private readonly shown: Shown,
  ) {
    this.key = wanted.key;
    this.machine = new Machine(Math.random, wanted.key !== null);
  }

  start(): void {
    document.addEventListener('visibilitychange', this.wake);
    window.addEventListener('pagehide', this.leave);
    window.addEventListener('pageshow', this.comeBack);
    this.beat = setInterval(() => void this.measure(), 1000);
    this.apply(this.machine.start());
  }

  stop(): void {
    document.removeEventListener('visibilitychange', this.wake);
    window.removeEventListener('pagehide', this.leave);
    window.removeEventListener('pageshow', this.comeBack);
    clearInterval(this.beat);
    clearTimeout(this.due);
    this.close();
  }

  /** The viewer gave a key: it is tried. */
  unlock(key: string): void {
    this.key = key;
    this.handle({ kind: 'key' });
  }

  /** The viewer does not want to wait. */
  again(): void {
    this.handle({ kind: 'wake' });
  }

  private handle(event: Event): void {
    this.apply(this.machine.handle(event, performance.now()));
  }

  private apply(effects: Effect[]): void {
    for (const effect of effects) {
      this.close();
      if (effect === 'open') void this.open();
    }
    this.told.follow(this.machine.doubts ? this.session?.eventsAddress ?? null : null);
    clearTimeout(this.due);
    const { due } = this.machine;
    if (due !== null) this.due = setTimeout(() => this.handle({ kind: 'due' }), Math.max(0, due - performance.now()) + 1);
    this.shown.state(this.machine.shown);
  }

  private async open(): Promise<void> {
    const { stream } = this.wanted;
    const mine = new WhepSession(stream === null ? '/api/whep' : `/api/whep/${stream}`, this.key, this.iceServers, {
      onTrack: (track) => this.shown.track(track),
      onConnection: (state) => this.handle({ kind: 'connection', state }),
    });
    this.session = mine;
    try {
      await mine.open();
      this.iceServers = mine.iceServers;
      if (this.session === mine) this.handle({ kind: 'answered' });
    } catch (error) {
      if (this.session !== mine) return;
      const words = error instanceof Error ? error.message : String(error);
      this.handle({ kind: 'refused', refusal: error instanceof Refused ? error.refusal : { kind: 'broken', words } });
    }
  }

  private close(): void {
    this.told.follow(null);
    this.session?.leave();
    this.session = null;
  }

  /** Reads the browser's own counters: decoded frames end the waiting, silence ends the session. */
  private async measure(): Promise<void> {
    const measured = this.session;
    if (measured === null) return this.shown.state(this.machine.shown);
    const now = sample(await measured.peer.getStats(), performance.now());
    if (this.session !== measured) return;
    this.handle({ kind: 'progress', progress: { ...now, visible: document.visibilityState === 'visible' } });
  }
}
