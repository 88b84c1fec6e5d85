// A picture of the box's own stream, by WHEP: the player's machine and session, and none of what surrounds them.

import { sample } from '../player/figures';
import { Machine, type Effect, type Event, type State } from '../player/machine';
import { Refused, WhepSession } from '../whep';

export class Preview {
  private readonly machine = new Machine(Math.random);
  private session: WhepSession | null = null;
  private iceServers: RTCIceServer[] = [];
  private due: ReturnType<typeof setTimeout> | undefined;
  private beat: ReturnType<typeof setInterval> | undefined;
  private readonly leave = () => this.close();
  private readonly wake = () => {
    if (document.visibilityState === 'visible') this.handle({ kind: 'wake' });
  };

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly changed: (state: State) => void,
  ) {}

  start(): void {
    document.addEventListener('visibilitychange', this.wake);
    window.addEventListener('pagehide', this.leave);
    this.beat = setInterval(() => void this.measure(), 1000);
    this.apply(this.machine.start());
  }

  stop(): void {
    document.removeEventListener('visibilitychange', this.wake);
    window.removeEventListener('pagehide', this.leave);
    clearInterval(this.beat);
    clearTimeout(this.due);
    this.close();
  }

  private handle(event: Event): void {
    this.apply(this.machine.handle(event, performance.now()));
  }

  private apply(effects: Effect[]): void {
    for (const effect of effects) {
      this.close();
      if (effect === 'open') void this.open();
    }
    clearTimeout(this.due);
    const { due } = this.machine;
    if (due !== null) this.due = setTimeout(() => this.handle({ kind: 'due' }), Math.max(0, due - performance.now()) + 1);
    this.changed(this.machine.shown);
  }

  private async open(): Promise<void> {
    const mine = new WhepSession('/api/whep', null, this.iceServers, {
      onTrack: (track) => {
        if (track.kind !== 'video') return;
        this.video.srcObject = new MediaStream([track]);
        this.video.play().catch(() => undefined);
      },
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
    this.session?.leave();
    this.session = null;
  }

  /** Reads the browser's own counters: decoded frames end the waiting, silence ends the session. */
  private async measure(): Promise<void> {
    const measured = this.session;
    if (measured === null) return this.changed(this.machine.shown);
    const now = sample(await measured.peer.getStats(), performance.now());
    if (this.session !== measured) return;
    this.handle({ kind: 'progress', progress: { ...now, visible: document.visibilityState === 'visible' } });
  }
}
