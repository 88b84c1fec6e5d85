// Sound: on or off, how loud, remembered. Browsers give sound only after a click or key; the picture never waits.

const LOUDNESS = 'capcast.volume';
const WANTED = 'capcast.sound';

export class Sound {
  private wanted = recall(WANTED) === 'on';

  constructor(
    private readonly voice: HTMLAudioElement,
    private readonly changed: (on: boolean, volume: number) => void,
  ) {
    const kept = Number(recall(LOUDNESS) ?? '1');
    voice.volume = kept >= 0 && kept <= 1 ? kept : 1;
    voice.muted = !this.wanted;
    voice.onvolumechange = () => this.tell();
  }

  get on(): boolean {
    return !this.voice.muted && this.voice.volume > 0;
  }

  /** A new track, or none. */
  async attach(track: MediaStreamTrack | null): Promise<void> {
    this.voice.srcObject = track === null ? null : new MediaStream([track]);
    if (track === null) return;
    this.voice.muted = !this.wanted;
    await this.play();
  }

  /** By the viewer's hand, so that the browser agrees. */
  async set(on: boolean): Promise<void> {
    this.wanted = on;
    remember(WANTED, on ? 'on' : 'off');
    if (on && this.voice.volume === 0) this.setVolume(0.5);
    this.voice.muted = !on;
    await this.play();
    this.tell();
  }

  /** 0 to 1. */
  setVolume(volume: number): void {
    this.voice.volume = Math.min(1, Math.max(0, volume));
    remember(LOUDNESS, String(this.voice.volume));
  }

  get volume(): number {
    return this.voice.volume;
  }

  tell(): void {
    this.changed(this.on, this.voice.volume);
  }

  private async play(): Promise<void> {
    if (this.voice.srcObject === null) return;
    try {
      await this.voice.play();
    } catch {
      // Sound before any click was refused: stay silent until one comes.
      this.voice.muted = true;
      this.voice.play().catch(() => undefined);
      this.tell();
    }
  }
}

// Storage may be forbidden; then nothing is remembered.
function recall(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

function remember(name: string, value: string): void {
  try {
    localStorage.setItem(name, value);
  } catch {
    return;
  }
}
