import { expect, test } from 'vitest';
import { describe as inWords } from '../src/player/words';

test('every state says what is the matter and what happens next', () => {
  expect(inWords({ kind: 'playing' }, 'live', 0)).toBeNull();
  expect(inWords({ kind: 'waiting' }, 'live', 0)).toMatchObject({
    title: '“live” is not live yet', detail: 'It will start by itself.',
  });
  expect(inWords({ kind: 'retrying', why: { kind: 'lost' }, at: 4000 }, null, 1000)).toMatchObject({
    title: 'Connection lost', detail: 'Retrying in 3 s.',
  });
  expect(inWords({ kind: 'retrying', why: { kind: 'lost' }, at: 4000 }, null, 4000)?.detail).toBe('Retrying now.');
  expect(inWords({ kind: 'unplayable', words: 'the stream is AV1', codec: 'AV1' }, null, 0)).toMatchObject({
    title: 'Your browser cannot play AV1', detail: 'The stream is AV1.',
  });
  expect(inWords({ kind: 'unplayable', words: '', codec: 'H264' }, null, 0)?.title)
    .toBe('Your browser cannot play H.264');
});
