// Every state in words for people.

import type { State, Trouble } from './machine';

export interface Words {
  title: string;
  detail: string;
  /** `busy`: something is under way; `calm`: waiting is normal; `trouble`: the viewer should know. */
  tone: 'busy' | 'calm' | 'trouble';
}

const CODEC_NAMES: Record<string, string> = { H264: 'H.264', H265: 'H.265' };

/** `H264` as people write it. */
export function codecName(codec: string): string {
  return CODEC_NAMES[codec.toUpperCase()] ?? codec;
}

/** None while the picture speaks for itself. `stream` is none for the server's default stream. */
export function describe(state: State, stream: string | null, now: number): Words | null {
  const name = stream === null ? 'The stream' : `“${stream}”`;
  switch (state.kind) {
    case 'playing':
      return null;
    case 'paused':
      return {
        title: 'Your connection is too slow for the picture',
        detail: 'It comes back by itself as soon as it fits. The sound goes on where there is some.',
        tone: 'trouble',
      };
    case 'connecting':
      return { title: 'Connecting', detail: 'The picture is on its way.', tone: 'busy' };
    case 'waiting':
      return { title: `${name} is not live yet`, detail: 'It will start by itself.', tone: 'calm' };
    case 'absent':
      return {
        title: stream === null ? 'There is no stream here' : `There is no stream called ${name}`,
        detail: 'Check the address. If the stream is set up later, it will start by itself.',
        tone: 'calm',
      };
    case 'locked':
      return {
        title: state.wrongKey ? 'That key does not fit' : `${name} needs a key`,
        detail: 'Enter the key you were given to watch it.',
        tone: 'calm',
      };
    case 'unplayable':
      return {
        title: state.codec === null
          ? 'Your browser cannot play this stream'
          : `Your browser cannot play ${codecName(state.codec)}`,
        detail: state.words !== ''
          ? sentence(state.words)
          : 'The stream arrives, but no picture can be decoded. A current Chrome, Edge or Firefox plays it.',
        tone: 'trouble',
      };
    case 'retrying': {
      const seconds = Math.ceil((state.at - now) / 1000);
      const next = seconds > 0 ? `Retrying in ${seconds} s.` : 'Retrying now.';
      return { title: trouble(state.why), detail: hint(state.why) + next, tone: 'trouble' };
    }
  }
}

function trouble(why: Trouble): string {
  switch (why.kind) {
    case 'lost':
      return 'Connection lost';
    case 'unreachable':
      return 'The server does not answer';
    case 'blocked':
      return 'No media gets through';
    case 'no-picture':
      return 'The picture stopped';
    case 'server':
      return 'The server cannot send the stream now';
  }
}

function hint(why: Trouble): string {
  switch (why.kind) {
    case 'blocked':
      return 'The server answers, but its media port is not reachable from here. ';
    case 'server':
      return why.words === '' ? '' : `${sentence(why.words)} `;
    default:
      return '';
  }
}

/** The server's messages start in lower case and have no full stop. */
function sentence(words: string): string {
  const text = words.trim();
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.');
}
