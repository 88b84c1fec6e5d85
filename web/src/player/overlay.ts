// The statistics overlay.

import { element } from './page';
import type { Figures, Sample } from './figures';
import { codecName } from './words';

const HISTORY = 60;

export class Overlay {
  private readonly panel = element('figures');
  private readonly delays: number[] = [];

  get shown(): boolean {
    return !this.panel.hidden;
  }

  toggle(): boolean {
    this.panel.hidden = !this.panel.hidden;
    return this.shown;
  }

  /** Begin anew with a new session. */
  clear(): void {
    this.delays.length = 0;
  }

  /** Once a second. `glass` is the delay from capture to screen in ms, where the browser can tell. */
  update(sample: Sample, figures: Figures, glass: number | null): void {
    const delay = glass ?? figures.playout;
    if (delay !== null) {
      this.delays.push(delay);
      if (this.delays.length > HISTORY) this.delays.shift();
    }
    element('brief').textContent =
      sample.height > 0 && delay !== null ? `${sample.height}p · ${bits(figures.bitrate)} · ${milli(delay)}` : '';
    if (!this.shown) return;

    const codecs = [sample.codec, sample.audioCodec].flatMap((codec) => (codec === null ? [] : [nice(codec)]));
    put('f-picture', sample.width > 0 ? `${sample.width} × ${sample.height}, ${figures.fps.toFixed(1)} fps` : null);
    put('f-codec', codecs.length > 0 ? codecs.join(' + ') : null);
    put('f-decoder', decoder(sample, figures));
    put('f-bitrate', bits(figures.bitrate));
    put('f-delay', delay === null ? null : `${milli(delay)} ${glass === null ? 'from the server' : 'glass to glass'}`);
    put('f-here', glass === null || figures.playout === null ? null : `${milli(figures.playout)} network, buffer, decoder`);
    put('f-loss', `${(figures.loss * 100).toFixed(1)} %, ${sample.videoLost} in all`);
    put('f-frames', `${sample.framesDecoded}, dropped ${sample.framesDropped}, freezes ${sample.freezes}`);
    put('f-network', sample.roundTrip === null ? sample.protocol?.toUpperCase() ?? null
      : `${sample.protocol?.toUpperCase() ?? ''} round trip ${milli(sample.roundTrip)}`.trim());
    this.draw();
  }

  private draw(): void {
    const top = Math.max(40, ...this.delays) * 1.1;
    const points = this.delays.map((delay, index) => {
      const x = 120 - (this.delays.length - 1 - index) * (120 / (HISTORY - 1));
      return `${x.toFixed(1)},${(29 - (delay / top) * 28).toFixed(1)}`;
    });
    element('f-trace').setAttribute('points', points.join(' '));
    element('f-trace-top').textContent = `to ${milli(top)}`;
  }
}

/** A row of which nothing is known is not shown. */
function put(id: string, text: string | null): void {
  const value = element(id);
  value.textContent = text ?? '';
  if (value.parentElement !== null) value.parentElement.hidden = text === null;
}

/** Browsers name the decoder only to pages that may use the camera; its time per frame is always known. */
function decoder(sample: Sample, figures: Figures): string | null {
  const name = sample.decoder === null ? [] : [sample.hardware === true ? `${sample.decoder} (hardware)` : sample.decoder];
  const time = figures.decode === null ? [] : [`${milli(figures.decode)} a frame`];
  return [...name, ...time].join(', ') || null;
}

function nice(codec: string): string {
  return codec.toLowerCase() === 'opus' ? 'Opus' : codecName(codec);
}

function milli(value: number): string {
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}

function bits(value: number): string {
  return value >= 1e6 ? `${(value / 1e6).toFixed(1)} Mbit/s` : `${Math.round(value / 1e3)} kbit/s`;
}
