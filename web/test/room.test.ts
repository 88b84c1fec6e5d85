import { describe, expect, it } from 'vitest';
import { playerOf } from '../src/key';
import { due, label, LINGER, roomOf, tiles, type Member } from '../src/room/room';

const member = (name: string, live = true): Member => ({ name, live, locked: false, video: 'vp8', audio: null });
const names = (shown: { member: Member }[]) => shown.map((tile) => tile.member.name);

describe('a room', () => {
  it('shows who is live, in the order of names', () => {
    const shown = tiles([], [member('a-2'), member('a-3', false), member('a-1')], 0);
    expect(names(shown)).toEqual(['a-1', 'a-2']);
    expect(due(shown)).toBeNull();
  });

  it('lets who leaves linger, and go on if it is back in time', () => {
    let shown = tiles([], [member('a-1'), member('a-2')], 0);
    shown = tiles(shown, [member('a-1'), member('a-2', false)], 1_000);
    expect(shown.map(({ goneAt }) => goneAt)).toEqual([null, 1_000]);
    expect(due(shown)).toBe(1_000 + LINGER);
    expect(tiles(shown, [member('a-1'), member('a-2')], 2_000)[1]?.goneAt).toBeNull();
    // Told again meanwhile, and no longer told of at all: its time runs on.
    shown = tiles(shown, [member('a-1'), member('a-2', false)], 2_000);
    shown = tiles(shown, [member('a-1')], 2_500);
    expect(shown[1]?.goneAt).toBe(1_000);
    expect(names(tiles(shown, [member('a-1')], 1_000 + LINGER))).toEqual(['a-1']);
  });

  it('is named by the address, and names its tiles without itself', () => {
    expect([roomOf('/room/meet'), roomOf('/room/meet/'), roomOf('/room/a-b'), roomOf('/meet')]).toEqual(['meet', 'meet', '', '']);
    expect([label('meet-anna', 'meet'), label('meet', 'meet'), label('meet-', 'meet')]).toEqual(['anna', 'meet', 'meet-']);
    expect([playerOf('a', null), playerOf('a', 'x &')]).toEqual(['/a', '/a#key=x+%26']);
  });
});
