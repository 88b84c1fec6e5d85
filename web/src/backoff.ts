// How long to wait before asking again. All times are in milliseconds.

/** The first wait. */
export const FIRST = 500;
/** No wait is longer than this, jitter aside. */
export const LONGEST = 10_000;

/**
 * The wait before attempt `attempt` (0 is the first retry): doubles from `first` up to `longest`, then spread by a
 * quarter either way so that many players do not come back at the same moment.
 */
export function backoff(attempt: number, random: () => number, first = FIRST, longest = LONGEST): number {
  const plain = Math.min(longest, first * 2 ** Math.min(attempt, 20));
  return Math.round(plain * (0.75 + 0.5 * random()));
}
