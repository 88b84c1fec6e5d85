import { expect, test } from 'vitest';
import { layersOf } from '../src/player/layers';
import { parseLayerAddress } from '../src/whep';

test('layers are those of the stream that is watched', () => {
  const state = { streams: [{ name: 'live', layers: [] }, { name: 'obs', layers: ['h', 'l'] }] };
  expect([layersOf(state, 'obs'), layersOf(state, 'live'), layersOf(state, 'none'), layersOf(null, 'obs')]).toEqual([['h', 'l'], [], [], []]);
});

test('the address for the choice of a layer is among the links', () => {
  const link = '<stun:stun.example.net>; rel="ice-server", '
    + '</api/sse/abc>; rel="urn:ietf:params:whep:ext:core:server-sent-events"; events="status,layers", '
    + '</api/layer/abc>; rel="urn:ietf:params:whep:ext:core:layer"';
  expect([parseLayerAddress(link), parseLayerAddress('<stun:x>; rel="ice-server"')]).toEqual(['/api/layer/abc', null]);
});
