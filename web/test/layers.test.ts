import { expect, test } from 'vitest';
import { layersOf } from '../src/player/layers';
import { parseAddress } from '../src/whep';

test('layers are those of the stream that is watched', () => {
  const state = { streams: [{ name: 'live', layers: ['640x360', '320x180'] }, { name: 'obs', layers: ['h', 'l'] }, { name: 'one', layers: [] }] };
  expect(['obs', 'live', 'one', 'none', null].map((name) => layersOf(state, name)))
    .toEqual([['h', 'l'], ['640x360', '320x180'], [], [], ['640x360', '320x180']]);
  expect([layersOf(null, 'obs'), layersOf(null, null), layersOf({ streams: [] }, null)]).toEqual([[], [], []]);
});

test('the address for the choice of a layer is among the links', () => {
  const link = '<stun:stun.example.net>; rel="ice-server", '
    + '</api/sse/abc>; rel="urn:ietf:params:whep:ext:core:server-sent-events"; events="status,layers,picture", '
    + '</api/layer/abc>; rel="urn:ietf:params:whep:ext:core:layer"';
  expect([parseAddress(link, 'layer'), parseAddress(link, 'server-sent-events')]).toEqual(['/api/layer/abc', '/api/sse/abc']);
  expect(parseAddress('<stun:x>; rel="ice-server"', 'layer')).toBeNull();
});
