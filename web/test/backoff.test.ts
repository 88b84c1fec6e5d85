import { expect, test } from 'vitest';
import { backoff } from '../src/backoff';

test('waits double from half a second to ten', () => {
  const middle = Array.from({ length: 7 }, (_, attempt) => backoff(attempt, () => 0.5));
  expect(middle).toEqual([500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
});

test('waits are spread by a quarter either way', () => {
  expect(backoff(0, () => 0)).toBe(375);
  expect(backoff(0, () => 0.999999)).toBe(625);
  expect(backoff(1000, () => 0.999999)).toBe(12_500);
});
