// What surrounds the picture: controls that hide by themselves, keys, full screen.

import { element } from './page';
import type { Overlay } from './overlay';
import type { Sound } from './sound';

/** Controls hide when nobody moved for this long. */
const IDLE = 3_000;

export class Chrome {
  private readonly root = document.documentElement;
  private readonly player = element('player');
  private readonly picture = element<HTMLVideoElement>('picture');
  private timer = 0;

  constructor(
    private readonly sound: Sound,
    private readonly overlay: Overlay,
  ) {
    this.player.addEventListener('pointermove', () => this.show());
    this.player.addEventListener('focusin', () => this.show());
    this.player.addEventListener('pointerleave', () => this.hide());
    this.player.addEventListener('click', (event) => this.clicked(event));
    this.player.addEventListener('dblclick', (event) => {
      if (!onControl(event)) this.toggleFull();
    });
    document.addEventListener('keydown', (event) => this.key(event));
    document.addEventListener('fullscreenchange', () => this.fullChanged());

    element('sound').addEventListener('click', () => void sound.set(!sound.on));
    element('unmute').addEventListener('click', () => void sound.set(true));
    element('full').addEventListener('click', () => this.toggleFull());
    element('pip').hidden = !document.pictureInPictureEnabled;
    element('pip').addEventListener('click', () => void this.toggleSmall());
    for (const change of ['enterpictureinpicture', 'leavepictureinpicture']) {
      this.picture.addEventListener(change, () => {
        element('pip').setAttribute('aria-pressed', String(document.pictureInPictureElement !== null));
      });
    }
    element('stats').addEventListener('click', () => this.toggleStats());
    element<HTMLInputElement>('volume').addEventListener('input', (event) => {
      const value = Number((event.target as HTMLInputElement).value) / 100;
      sound.setVolume(value);
      if (value > 0 && !sound.on) void sound.set(true);
    });
    this.show();
  }

  /** Shows the controls for a while. */
  show(): void {
    this.root.dataset.chrome = 'shown';
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.hide(), IDLE);
  }

  /** The sound changed, by whatever way. */
  soundChanged(on: boolean, volume: number): void {
    this.root.dataset.sound = on ? 'on' : 'off';
    element('sound').setAttribute('aria-pressed', String(on));
    element<HTMLInputElement>('volume').value = String(on ? Math.round(volume * 100) : 0);
  }

  private hide(): void {
    // Never from under the keyboard, and only when there is a picture to see.
    const focused = document.activeElement;
    const inUse = focused instanceof HTMLElement && focused.matches('.chrome :focus-visible, .chrome:focus-visible');
    if (this.root.dataset.state !== 'playing' || inUse) return this.later();
    this.root.dataset.chrome = 'hidden';
  }

  private later(): void {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.hide(), IDLE);
  }

  private clicked(event: MouseEvent): void {
    const wasShown = this.root.dataset.chrome === 'shown';
    this.show();
    if (onControl(event) || this.root.dataset.state !== 'playing') return;
    if (this.root.dataset.voice !== undefined && !this.sound.on) void this.sound.set(true);
    else if (wasShown && (event as PointerEvent).pointerType === 'touch') this.hide();
  }

  private key(event: KeyboardEvent): void {
    this.show();
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target;
    if (target instanceof HTMLInputElement && target.type !== 'range') return;
    // A menu takes letters and arrows itself.
    if (target instanceof HTMLSelectElement) return;
    switch (event.key) {
      case 'm':
      case 'M':
        void this.sound.set(!this.sound.on);
        break;
      case 'f':
      case 'F':
        this.toggleFull();
        break;
      case 's':
      case 'S':
        this.toggleStats();
        break;
      case 'p':
      case 'P':
        void this.toggleSmall();
        break;
      case 'ArrowUp':
      case 'ArrowDown':
        if (target instanceof HTMLInputElement) return;
        this.sound.setVolume(this.sound.volume + (event.key === 'ArrowUp' ? 0.05 : -0.05));
        break;
      default:
        return;
    }
    event.preventDefault();
  }

  private toggleStats(): void {
    element('stats').setAttribute('aria-pressed', String(this.overlay.toggle()));
  }

  /** The picture in a small window above all others. */
  private async toggleSmall(): Promise<void> {
    try {
      if (document.pictureInPictureElement !== null) await document.exitPictureInPicture();
      else if (document.pictureInPictureEnabled) await this.picture.requestPictureInPicture();
    } catch {
      // Not before there is a picture, or not as this browser sees it.
    }
  }

  private toggleFull(): void {
    if (document.fullscreenElement !== null) {
      void document.exitFullscreen();
    } else if (document.fullscreenEnabled) {
      this.player.requestFullscreen().catch(() => undefined);
    } else {
      // iPhones give full screen to video elements only.
      (this.picture as { webkitEnterFullscreen?: () => void }).webkitEnterFullscreen?.();
    }
  }

  private fullChanged(): void {
    const full = document.fullscreenElement !== null;
    this.root.toggleAttribute('data-full', full);
    element('full').setAttribute('aria-pressed', String(full));
  }
}

function onControl(event: Event): boolean {
  return event.target instanceof Element && event.target.closest('button, input, select, form, .card') !== null;
}
