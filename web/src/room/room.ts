// Who is in a room, as the server tells it. Pure but for `follow`.

import { backoff } from '../backoff';

export interface Member {
  name: string;
  live: boolean;
  /** It is watched with a key alone. */
  locked: boolean;
  video: string | null;
  audio: string | null;
}

/** A stream that is shown. */
export interface Tile {
  member: Member;
  /** Since when it is not live, if it is not. */
  goneAt: number | null;
}

/** A publisher that is back before this keeps its tile, and every viewer's session with it. In milliseconds. */
export const LINGER = 3_000;

/** The tiles that follow from what was shown and what the server tells now. Who was there keeps its tile as it is. */
export function tiles(before: readonly Tile[], members: readonly Member[], now: number): Tile[] {
  const known = new Map(before.map((tile) => [tile.member.name, tile]));
  const shown: Tile[] = [];
  for (const member of members) {
    const tile = known.get(member.name);
    known.delete(member.name);
    if (member.live) shown.push({ member, goneAt: null });
    else if (tile !== undefined) shown.push({ member, goneAt: tile.goneAt ?? now });
  }
  for (const tile of known.values()) shown.push({ ...tile, goneAt: tile.goneAt ?? now });
  return shown
    .filter(({ goneAt }) => goneAt === null || now - goneAt < LINGER)
    .sort((a, b) => (a.member.name < b.member.name ? -1 : 1));
}

/** When `tiles` has to be asked again although the server says nothing. */
export function due(shown: readonly Tile[]): number | null {
  const ends = shown.flatMap(({ goneAt }) => (goneAt === null ? [] : [goneAt + LINGER]));
  return ends.length === 0 ? null : Math.min(...ends);
}

/** What a tile is called: the name without the room's part, which all of them share. */
export function label(name: string, room: string): string {
  return name.startsWith(`${room}-`) && name.length > room.length + 1 ? name.slice(room.length + 1) : name;
}

/** The room in the page's address. */
export function roomOf(path: string): string {
  return /^\/room\/([A-Za-z0-9_]{1,64})\/?$/.exec(path)?.[1] ?? '';
}

/** Follows a room; gives what ends it. */
export function follow(room: string, told: (members: Member[]) => void, broken: (isBroken: boolean) => void): () => void {
  let source: EventSource;
  let again: ReturnType<typeof setTimeout> | undefined;
  let attempt = 0;
  const open = () => {
    source = new EventSource(`/api/rooms/${room}`);
    source.addEventListener('room', ({ data }) => {
      attempt = 0;
      broken(false);
      told((JSON.parse(data as string) as { streams: Member[] }).streams);
    });
    source.onerror = () => {
      broken(true);
      // A lost connection the browser opens again by itself; a refusal it takes for the end.
      if (source.readyState === EventSource.CLOSED) again = setTimeout(open, backoff(attempt++, Math.random));
    };
  };
  open();
  return () => {
    clearTimeout(again);
    source.close();
  };
}
