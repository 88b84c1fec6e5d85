// How an address carries a view key: behind `#`, which no browser sends and no log sees.

/** Of `/{stream}#key=…`. */
export function keyOf(hash: string): string | null {
  return new URLSearchParams(hash.slice(1)).get('key');
}

/** The address of a stream's player, with the key that opened it here. */
export function playerOf(stream: string, key: string | null): string {
  return key === null ? `/${stream}` : `/${stream}#${new URLSearchParams({ key })}`;
}
