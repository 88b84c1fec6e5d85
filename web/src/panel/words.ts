// Numbers and states as people read them.
import type { Arrival } from './state';

const CODECS: Record<string, string> = { h264: 'H.264', vp8: 'VP8', vp9: 'VP9', av1: 'AV1', opus: 'Opus' };

export function codec(name: string | null | undefined): string {
  return name == null ? '' : (CODECS[name] ?? name);
}

export function bits(bps: number): string {
  if (bps >= 1e6) return `${(bps / 1e6).toFixed(1)} Mbit/s`;
  return `${Math.round(bps / 1e3)} kbit/s`;
}

export function bytes(count: number): string {
  if (count >= 1e9) return `${(count / 1e9).toFixed(1)} GB`;
  return count >= 1e6 ? `${Math.round(count / 1e6)} MB` : `${Math.round(count / 1e3)} kB`;
}

export function span(seconds: number): string {
  const whole = Math.floor(seconds);
  if (whole < 120) return `${whole} s`;
  if (whole < 7200) return `${Math.floor(whole / 60)} min`;
  if (whole < 172_800) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3600)} h`;
}

/** The daemon's messages begin in lower case and have no full stop. */
export function sentence(words: string): string {
  const text = words.trim();
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** `1280x720` as people write it. */
export function size(value: string | null | undefined): string {
  return value == null ? '' : value.replace('x', ' × ');
}

/** What arrives over the network, part by part; nothing while nothing does. */
export function arrives({ picture, sound, bitrate_bps, broken, passthrough, srt }: Arrival): string[] {
  const codings = [picture, sound].filter((coding) => coding !== null).join(' + ');
  if (codings === '') return [];
  const way = srt === undefined ? [] : [`${srt.rtt_ms.toFixed(1)} ms round trip`, srt.loss === null ? '' : `${(srt.loss * 100).toFixed(1)} % lost`];
  return [codings, bits(bitrate_bps), ...way, broken > 0 ? `${broken} broken` : '', passthrough?.state === 'passed' ? 'passed on as it is' : '']
    .filter((word) => word !== '');
}

/** How well a part is, from its life in one word. */
export function tone(state: string): 'good' | 'busy' | 'bad' | 'quiet' {
  switch (state) {
    case 'running':
    case 'live':
    case 'on_air':
    case 'recording':
      return 'good';
    case 'failed':
    case 'backoff':
      return 'bad';
    case 'stopped':
      return 'quiet';
    default:
      return 'busy';
  }
}
