import { beforeEach, describe, expect, test } from 'vitest';
import {
  CONNECT_LIMIT, DECODE_LIMIT, DOUBT, Machine, SILENCE_LIMIT, TOLD_LIMIT, type Event, type Progress,
} from '../src/player/machine';

let machine: Machine;
let now: number;

beforeEach(() => {
  machine = new Machine(() => 0.5);
  now = 1000;
  expect(machine.start()).toEqual(['open']);
});

const send = (event: Event) => machine.handle(event, now);
const after = (milliseconds: number, event: Event) => {
  now += milliseconds;
  return send(event);
};
const progress = (fields: Partial<Progress>): Event => ({
  kind: 'progress',
  progress: { bytes: 0, framesReceived: 0, framesDecoded: 0, codec: 'AV1', visible: true, ...fields },
});
const play = () => {
  send({ kind: 'answered' });
  send({ kind: 'picture' });
  expect(machine.state).toEqual({ kind: 'playing' });
};
/** Lets the deadline come. */
const due = () => {
  expect(machine.due).not.toBeNull();
  now = machine.due ?? now;
  return send({ kind: 'due' });
};

describe('a stream that is not live yet', () => {
  test('is asked for again until it is, and the words do not flicker', () => {
    for (let asked = 0; asked < 20; asked++) {
      expect(send({ kind: 'refused', refusal: { kind: 'not-live', retryAfter: 1000 } })).toEqual(['close']);
      expect(machine.state.kind).toBe('waiting');
      expect((machine.due ?? 0) - now).toBeGreaterThanOrEqual(500);
      expect((machine.due ?? 0) - now).toBeLessThanOrEqual(3000);
      expect(due()).toEqual(['open']);
      expect(machine.state.kind).toBe('connecting');
      expect(machine.shown.kind).toBe('waiting');
    }
    play();
    expect(machine.shown.kind).toBe('playing');
    expect(machine.due).toBeNull();
  });
});

describe('a way too narrow for the picture', () => {
  const paused: Event = { kind: 'told', paused: true };
  const stop = () => {
    play();
    send(progress({ bytes: 100, framesDecoded: 1 }));
    after(DOUBT - 1, progress({ bytes: 200, framesDecoded: 1 }));
    expect(machine.doubts).toBe(false);
    after(1, progress({ bytes: 200, framesDecoded: 1 }));
    expect(machine.doubts).toBe(true);
  };

  test('is asked about once the picture stops, and waited out in the same session', () => {
    stop();
    expect(send(paused)).toEqual([]);
    for (let bytes = 300; now < 100_000; bytes += 100) {
      expect(after(5000, progress({ bytes, framesDecoded: 1 }))).toEqual([]);
      send(paused);
      expect([machine.state.kind, machine.doubts]).toEqual(['paused', true]);
    }
    expect(after(1000, progress({ bytes: 100_000, framesDecoded: 2 }))).toEqual([]);
    expect([machine.state.kind, machine.doubts]).toEqual(['playing', false]);
  });

  test('needs no bytes, for a stream may have no sound; but a server that no longer says so is lost', () => {
    stop();
    send(paused);
    expect(after(TOLD_LIMIT - 1, progress({ bytes: 200, framesDecoded: 1 }))).toEqual([]);
    expect(after(1, progress({ bytes: 200, framesDecoded: 1 }))).toEqual(['close']);
    expect(machine.state).toMatchObject({ kind: 'retrying', why: { kind: 'lost' } });
  });

  test('ends when the server says so: then the picture is due', () => {
    stop();
    send(paused);
    after(60_000, { kind: 'told', paused: false });
    expect([machine.state.kind, machine.doubts]).toEqual(['playing', false]);
    expect(after(1000, progress({ bytes: 300, framesDecoded: 1 }))).toEqual([]);
    expect(after(DECODE_LIMIT, progress({ bytes: 400, framesDecoded: 1 }))).toEqual(['close']);
  });

  test('is not what a stopped picture always means', () => {
    stop();
    send({ kind: 'told', paused: false });
    expect(after(DECODE_LIMIT - DOUBT, progress({ bytes: 300, framesDecoded: 1 }))).toEqual(['close']);
    expect(machine.state).toMatchObject({ kind: 'retrying', why: { kind: 'no-picture' } });
  });
});

describe('a lost connection', () => {
  test('is seen after a short silence and renewed', () => {
    play();
    send(progress({ bytes: 100, framesDecoded: 1 }));
    expect(after(1000, progress({ bytes: 200, framesDecoded: 2 }))).toEqual([]);
    expect(after(SILENCE_LIMIT - 1, progress({ bytes: 200, framesDecoded: 2 }))).toEqual([]);
    expect(after(1, progress({ bytes: 200, framesDecoded: 2 }))).toEqual(['close']);
    expect(machine.state).toMatchObject({ kind: 'retrying', why: { kind: 'lost' }, at: now + 500 });
    expect(due()).toEqual(['open']);
  });

  test('backs off while the server is away, and starts small after the next success', () => {
    play();
    expect(send({ kind: 'connection', state: 'failed' })).toEqual(['close']);
    const waits: number[] = [];
    for (let asked = 0; asked < 6; asked++) {
      waits.push((machine.due ?? 0) - now);
      expect(due()).toEqual(['open']);
      send({ kind: 'refused', refusal: { kind: 'unreachable' } });
      expect(machine.state).toMatchObject({ kind: 'retrying', why: { kind: 'unreachable' } });
    }
    expect(waits).toEqual([500, 1000, 2000, 4000, 8000, 10_000]);
    due();
    play();
    send({ kind: 'connection', state: 'closed' });
    expect((machine.due ?? 0) - now).toBe(500);
  });

  test('is tried at once when the network comes back', () => {
    play();
    send({ kind: 'connection', state: 'failed' });
    expect(send({ kind: 'wake' })).toEqual(['open']);
  });

  test('that only pauses is left alone', () => {
    play();
    expect(send({ kind: 'connection', state: 'disconnected' })).toEqual([]);
    expect(send({ kind: 'wake' })).toEqual([]);
    expect(machine.state.kind).toBe('playing');
  });
});

describe('an answer without a picture', () => {
  test('means a blocked media port when nothing arrives', () => {
    send({ kind: 'answered' });
    after(1000, progress({}));
    expect(machine.due).toBe(1000 + CONNECT_LIMIT);
    expect(due()).toEqual(['close']);
    expect(machine.state).toMatchObject({ kind: 'retrying', why: { kind: 'blocked' } });
  });

  test('means a missing decoder when frames arrive and none is decoded', () => {
    send({ kind: 'answered' });
    after(1000, progress({ bytes: 10 }));
    expect(machine.due).toBe(now + DECODE_LIMIT);
    after(1000, progress({ bytes: 1000, framesReceived: 30 }));
    expect(due()).toEqual(['close']);
    expect(machine.state).toMatchObject({ kind: 'unplayable', codec: 'AV1' });
    expect(due()).toEqual(['open']);
  });

  test('means nothing while the page is hidden', () => {
    send({ kind: 'answered' });
    after(1000, progress({ bytes: 10 }));
    after(1000, progress({ bytes: 1000, framesReceived: 30, visible: false }));
    due();
    expect(machine.state).toMatchObject({ kind: 'retrying', why: { kind: 'no-picture' } });
  });

  test('is renewed when decoding stops in the middle, but not in a hidden page', () => {
    play();
    const step = (bytes: number, visible: boolean) => after(1000, progress({ bytes, framesDecoded: 5, visible }));
    for (let second = 0; second < 30; second++) expect(step(second, false)).toEqual([]);
    const effects = Array.from({ length: DECODE_LIMIT / 1000 }, (_, second) => step(100 + second, true));
    expect(effects.flat()).toEqual(['close']);
    expect(machine.state).toMatchObject({ kind: 'retrying', why: { kind: 'no-picture' } });
  });
});

describe('refusals', () => {
  test('for want of a codec name it and try again later', () => {
    const words = 'the stream is AV1, which was not offered';
    send({ kind: 'refused', refusal: { kind: 'no-codec', words } });
    expect(machine.state).toEqual({ kind: 'unplayable', words, codec: 'AV1' });
    expect(due()).toEqual(['open']);
  });

  test('for want of a key wait for one, and know a wrong one', () => {
    send({ kind: 'refused', refusal: { kind: 'locked' } });
    expect(machine.state).toEqual({ kind: 'locked', wrongKey: false });
    expect(machine.due).toBeNull();
    expect(send({ kind: 'wake' })).toEqual([]);
    expect(send({ kind: 'key' })).toEqual(['open']);
    send({ kind: 'refused', refusal: { kind: 'locked' } });
    expect(machine.state).toEqual({ kind: 'locked', wrongKey: true });
  });

  test('of a full server wait as long as it asks', () => {
    send({ kind: 'refused', refusal: { kind: 'busy', words: 'full', retryAfter: 7000 } });
    expect(machine.due).toBe(now + 7000);
  });

  test('that come late, from a session already given up, change nothing', () => {
    play();
    expect(send({ kind: 'refused', refusal: { kind: 'absent' } })).toEqual([]);
    expect(machine.state.kind).toBe('playing');
  });
});
