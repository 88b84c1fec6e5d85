import { expect, test } from 'vitest';
import { bounds } from '../src/panel/air';
import { History } from '../src/panel/history';
import { KEPT, Log, wanted } from '../src/panel/log';
import { sorted } from '../src/panel/profiles';
import type { Profile, State } from '../src/panel/state';
import { isHere, watchUrl } from '../src/panel/watch';
import { arrives, bits, size, span } from '../src/panel/words';

function state(dropped: number): State {
  const stage = { frames_in: 0, frames_out: 0, dropped: 0, fps: 30, latency_p50_ms: 1, latency_p95_ms: null };
  return {
    capture: { ...stage, dropped }, encode: { ...stage, bitrate_bps: 5 }, outputs: [{ ...stage, dropped: 2 }],
    latency: [{ step: 'encode', p50_ms: 1, p95_ms: 2 }, { step: 'total', p50_ms: 7, p95_ms: 9 }],
    streams: [{ dropped: 1 }], process: { cpu_percent: 3, memory_bytes: 4 },
  } as unknown as State;
}

test('history takes a point every two seconds for ten minutes', () => {
  const history = new History();
  expect([history.add(state(0), 0), history.add(state(0), 500), history.add(state(0), 2_000)]).toEqual([true, false, true]);
  for (let at = 4_000; at <= 700_000; at += 2_000) history.add(state(0), at);
  const { columns } = history;
  expect([columns.at_ms.length, columns.at_ms.at(-1)]).toEqual([300, 700_000]);
  expect(new Set(Object.values(columns).map((column) => column.length))).toEqual(new Set([300]));
  expect([columns.bitrate_bps[0], columns.latency_p50_ms[0], columns.latency_p95_ms[0]]).toEqual([5, 7, 9]);
});

test('losses are from point to point, and a daemon that began anew counts from zero', () => {
  const history = new History();
  [10, 14, 14, 1].forEach((dropped, index) => history.add(state(dropped), index * 2_000));
  expect(history.columns.dropped).toEqual([13, 17, 17, 4]);
  expect(history.losses()).toEqual([0, 4, 0, 4]);
});

test('log lines are found by level and words', () => {
  const log = new Log();
  log.add({ at_ms: 0, level: 'info', target: 'capcast::sfu', words: 'Listening on 8900' });
  log.gap(7);
  log.add({ at_ms: 1, level: 'warn', target: 'capcast::daemon', words: '3 frames lost' });
  const found = (level: string, search: string) => wanted(log.entries, level, search).map((entry) => ('missed' in entry ? 'gap' : entry.line.level));
  expect(found('trace', '')).toEqual(['info', 'gap', 'warn']);
  expect(found('warn', '')).toEqual(['gap', 'warn']);
  expect(found('info', 'SFU listening')).toEqual(['info']);
  expect(found('info', 'nothing')).toEqual([]);
});

test('the log is bounded', () => {
  const log = new Log();
  for (let line = 0; line < 3 * KEPT; line++) log.add({ at_ms: line, level: 'info', target: '', words: '' });
  expect(log.entries.length).toBeLessThanOrEqual(KEPT + 500);
  expect(log.entries.at(-1)).toMatchObject({ line: { at_ms: 3 * KEPT - 1 } });
});

test('the slider ends where people aim', () => {
  expect(bounds([500_000, 2e9], 3e6, 3e6)).toEqual([500_000, 12e6]);
  expect(bounds([150_001, 2e6], 1e6, 1e6)).toEqual([200_000, 2e6]);
  expect(bounds([500_000, 2e9], 40e6, 3e6)).toEqual([500_000, 40e6]);
  expect(bounds(undefined, 2e6, 2e6)).toEqual([500_000, 8e6]);
});

test('what is on comes first, then what runs', () => {
  const profile = (name: string, runs: boolean) => ({ name, runs }) as Profile;
  const names = sorted([profile('a', false), profile('b', true), profile('c', true)], 'c').map(({ name }) => name);
  expect(names).toEqual(['c', 'b', 'a']);
});

test('numbers are written for people', () => {
  expect([bits(3_900_000), bits(128_000), span(119), span(7_300), size('1280x720')])
    .toEqual(['3.9 Mbit/s', '128 kbit/s', '119 s', '2 h 1 min', '1280 × 720']);
});

test('what arrives is told part by part', () => {
  const arrival = { picture: 'H.264', sound: 'AAC', bitrate_bps: 6_214_000, broken: 0 };
  expect(arrives({ ...arrival, sound: null })).toEqual(['H.264', '6.2 Mbit/s']);
  expect(arrives({ ...arrival, broken: 3, srt: { rtt_ms: 12.08, loss: 0.002 }, passthrough: { state: 'passed', reason: '' } }))
    .toEqual(['H.264 + AAC', '6.2 Mbit/s', '12.1 ms round trip', '0.2 % lost', '3 broken', 'passed on as it is']);
  expect(arrives({ ...arrival, picture: null, sound: null })).toEqual([]);
});

test('the address to watch is one that others reach', () => {
  const streams = [{ name: 'obs', publisher: 'whip' }, { name: 'live', publisher: 'box' }] as State['streams'];
  const url = (page: string, addresses: string[] | null) => watchUrl({ streams }, page, addresses);
  expect(url('http://box.example:8899/panel', null)).toBe('http://box.example:8899/live');
  expect(url('http://localhost:8899/panel', ['http://192.0.2.1:8899', 'http://[2001:db8::1]:8899'])).toBe('http://192.0.2.1:8899/live');
  expect(url('http://127.0.0.1:8899/panel', [])).toBe('http://127.0.0.1:8899/live');
  expect(['localhost', '[::1]', '127.0.1.1', '127.example.org', '192.0.2.1'].map(isHere)).toEqual([true, true, true, false, false]);
});
