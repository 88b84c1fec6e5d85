// The player: one stream, the whole window.

import { keyOf } from '../key';
import { Told } from '../told';
import { Refused, WhepSession } from '../whep';
import { Chrome } from './chrome';
import { figures, sample, type Sample } from './figures';
import { LayerMenu } from './layers';
import { Machine, type Effect, type Event } from './machine';
import { Overlay } from './overlay';
import { element } from './page';
import { Sound } from './sound';
import { describe } from './words';

const root = document.documentElement;
const picture = element<HTMLVideoElement>('picture');
const card = element('card');

/** None at `/`: the server knows which stream that is. */
const stream = streamOf(location.pathname);
const endpoint = stream === null ? '/api/whep' : `/api/whep/${stream}`;

const overlay = new Overlay();
const sound: Sound = new Sound(element<HTMLAudioElement>('voice'), (on, volume) => chrome.soundChanged(on, volume));
const chrome = new Chrome(sound, overlay);
const machine = new Machine(Math.random, keyOf(location.hash) !== null);
const layers = new LayerMenu();
const told = new Told((paused) => handle({ kind: 'told', paused }));

let session: WhepSession | null = null;
let iceServers: RTCIceServer[] = [];
let key = keyOf(location.hash);
let before: Sample | null = null;
let glass: number | null = null;
let timer = 0;

element('name').textContent = stream ?? 'Capcast';
document.title = stream === null ? 'Capcast' : `${stream} · Capcast`;
sound.tell();

function handle(event: Event): void {
  apply(machine.handle(event, performance.now()));
}

function apply(effects: Effect[]): void {
  for (const effect of effects) {
    close();
    if (effect === 'open') void open();
  }
  told.follow(machine.doubts ? session?.eventsAddress ?? null : null);
  clearTimeout(timer);
  if (machine.due !== null) {
    timer = window.setTimeout(() => handle({ kind: 'due' }), Math.max(0, machine.due - performance.now()) + 1);
  }
  show();
}

async function open(): Promise<void> {
  const mine = new WhepSession(endpoint, key, iceServers, {
    onTrack: (track) => attach(track),
    onConnection: (state) => handle({ kind: 'connection', state }),
  });
  session = mine;
  try {
    await mine.open();
    iceServers = mine.iceServers;
    if (session === mine) {
      handle({ kind: 'answered' });
      void layers.begin(stream, mine.layerAddress);
    }
  } catch (error) {
    if (session !== mine) return;
    const words = error instanceof Error ? error.message : String(error);
    handle({ kind: 'refused', refusal: error instanceof Refused ? error.refusal : { kind: 'broken', words } });
  }
}

function close(): void {
  session?.leave();
  session = null;
  layers.end();
  before = null;
  glass = null;
  overlay.clear();
}

function attach(track: MediaStreamTrack): void {
  if (track.kind === 'audio') {
    root.toggleAttribute('data-voice', true);
    void sound.attach(track);
    return;
  }
  picture.srcObject = new MediaStream([track]);
  picture.play().catch(() => undefined);
  watch(track);
}

/** Notices each shown frame: the first ends the waiting, and each tells its age where the browser knows it. */
function watch(track: MediaStreamTrack): void {
  const current = () => (picture.srcObject as MediaStream | null)?.getVideoTracks()[0] === track;
  if (!('requestVideoFrameCallback' in picture)) {
    (picture as HTMLVideoElement).onplaying = () => {
      if (current()) handle({ kind: 'picture' });
    };
    return;
  }
  const frame = (_: number, shown: VideoFrameCallbackMetadata) => {
    if (!current()) return;
    if (machine.state.kind !== 'playing') handle({ kind: 'picture' });
    if (shown.captureTime !== undefined) {
      const age = shown.expectedDisplayTime - shown.captureTime;
      // Far off means that the clocks were not brought together.
      if (age > 0 && age < 10_000) glass = glass === null ? age : glass + (age - glass) / 8;
    }
    picture.requestVideoFrameCallback(frame);
  };
  picture.requestVideoFrameCallback(frame);
}

async function measure(): Promise<void> {
  const measured = session;
  if (measured === null) return;
  const now = sample(await measured.peer.getStats(), performance.now());
  if (session !== measured) return;
  const fresh = before === null ? null : figures(before, now);
  if (fresh !== null) overlay.update(now, fresh, glass);
  before = now;
  handle({ kind: 'progress', progress: { ...now, visible: document.visibilityState === 'visible' } });
}

function show(): void {
  const state = machine.shown;
  const words = describe(state, stream, performance.now());
  root.dataset.state = state.kind;
  // The last picture stays in sight while a lost connection is repaired.
  root.toggleAttribute('data-held', held());
  card.hidden = words === null;
  element('lock').hidden = state.kind !== 'locked';
  element('again').hidden = state.kind !== 'retrying' && state.kind !== 'unplayable';
  if (words === null) {
    say('');
    return;
  }
  card.dataset.tone = words.tone;
  element('title').textContent = words.title;
  element('detail').textContent = words.detail;
  // Once for each state, not for every second of a countdown.
  say(state.kind === 'retrying' ? `${words.title}. Retrying.` : `${words.title}. ${words.detail}`);
  chrome.show();
}

let everPlayed = false;
function held(): boolean {
  const { kind } = machine.shown;
  if (kind === 'playing') everPlayed = true;
  else if (kind !== 'connecting' && kind !== 'retrying' && kind !== 'paused') everPlayed = false;
  return everPlayed && kind !== 'playing';
}

function say(text: string): void {
  const spoken = element('spoken');
  if (spoken.textContent !== text) spoken.textContent = text;
}

element('again').addEventListener('click', () => handle({ kind: 'wake' }));
element<HTMLFormElement>('lock').addEventListener('submit', (event) => {
  event.preventDefault();
  key = element<HTMLInputElement>('key').value;
  handle({ kind: 'key' });
});
window.addEventListener('online', () => handle({ kind: 'wake' }));
document.addEventListener('visibilitychange', () => {
  if (document.visibilityState === 'visible' && machine.state.kind !== 'unplayable') handle({ kind: 'wake' });
});
window.addEventListener('pagehide', () => close());
window.addEventListener('pageshow', (event) => {
  if (event.persisted) apply(machine.start());
});
// A switch of the profile may bring other layers.
picture.addEventListener('resize', () => void layers.refresh());
let seconds = 0;
window.setInterval(() => {
  void measure();
  seconds += 1;
  if (seconds % 10 === 0 && document.visibilityState === 'visible') void layers.refresh();
  if (machine.shown.kind === 'retrying') show();
}, 1000);
apply(machine.start());

function streamOf(path: string): string | null {
  const name = path.replace(/^\/|\/$/g, '');
  return /^[A-Za-z0-9_-]{1,64}$/.test(name) ? name : null;
}
