import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Follower, SILENCE, socketUrl, type Link, type Socket } from '../src/panel/link';
import type { State } from '../src/panel/state';

class Fake {
  static all: Fake[] = [];
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: (() => void) | null = null;
  closed = false;
  constructor() {
    Fake.all.push(this);
  }
  close(): void {
    this.closed = true;
  }
}

const links: string[] = [];
const states: State[] = [];
function follower(): Follower {
  return new Follower(() => new Fake() as unknown as Socket, {
    onState: (state) => states.push(state),
    onLink: (link: Link) => links.push(link.kind),
  });
}

beforeEach(() => {
  vi.useFakeTimers();
  Fake.all.length = links.length = states.length = 0;
});
afterEach(() => {
  vi.useRealTimers();
});

test('a broken connection is opened again, later and later, and at once when woken', () => {
  const following = follower();
  following.start();
  Fake.all[0]?.onmessage?.({ data: '{"words":"on air"}' });
  expect([links, states[0]?.words]).toEqual([['open'], 'on air']);
  Fake.all[0]?.onclose?.();
  expect(links.at(-1)).toBe('lost');
  expect(Fake.all.length).toBe(1);
  vi.advanceTimersByTime(400);
  expect(Fake.all.length).toBe(2);
  Fake.all[1]?.onclose?.();
  vi.advanceTimersByTime(400);
  expect(Fake.all.length).toBe(2);
  following.wake();
  expect(Fake.all.length).toBe(3);
  Fake.all[2]?.onmessage?.({ data: '{"words":"back"}' });
  following.wake();
  expect([Fake.all.length, links.at(-1)]).toEqual([3, 'open']);
});

test('silence is the end of a connection, and what comes late is not heard', () => {
  follower().start();
  const first = Fake.all[0];
  first?.onmessage?.({ data: '{"words":"one"}' });
  vi.advanceTimersByTime(SILENCE - 1);
  expect(first?.closed).toBe(false);
  vi.advanceTimersByTime(1);
  expect([first?.closed, first?.onmessage, links.at(-1)]).toEqual([true, null, 'lost']);
});

test('one that was stopped stays so', () => {
  const following = follower();
  following.start();
  following.stop();
  vi.advanceTimersByTime(60_000);
  expect([Fake.all.length, Fake.all[0]?.closed]).toEqual([1, true]);
});

test('the address is that of the page', () => {
  expect(socketUrl('/api/events', 'http://box:8899/panel')).toBe('ws://box:8899/api/events');
  expect(socketUrl('/api/events', 'https://box.example/panel')).toBe('wss://box.example/api/events');
});
