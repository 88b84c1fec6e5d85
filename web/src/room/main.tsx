// A room: every stream whose name begins with it, side by side. Publishers come and go; the others' sessions stay.

import { render } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import favicon from '../favicon.svg';
import { Boundary } from '../panel/boundary';
import { keyOf } from '../key';
import { due, follow, label, roomOf, tiles, type Member, type Tile as Shown } from './room';
import { Tile } from './tile';

function Room({ room }: { room: string }) {
  const [members, setMembers] = useState<Member[] | null>(null);
  const [shown, setShown] = useState<Shown[]>([]);
  const [broken, setBroken] = useState(false);
  // Of this page's life alone: a stream that goes and comes back does not ask for its key again.
  const keys = useRef(new Map<string, string>());

  useEffect(() => follow(room, setMembers, setBroken), [room]);
  useEffect(() => {
    if (members !== null) setShown((before) => tiles(before, members, performance.now()));
  }, [members]);
  useEffect(() => {
    const at = due(shown);
    if (at === null || members === null) return;
    const timer = setTimeout(() => setShown((before) => tiles(before, members, performance.now())), Math.max(0, at - performance.now()) + 1);
    return () => clearTimeout(timer);
  }, [shown, members]);

  const live = shown.filter(({ goneAt }) => goneAt === null).length;
  const away = members?.filter((member) => !member.live && shown.every((tile) => tile.member.name !== member.name)) ?? [];
  return (
    <>
      <header class="head">
        <img src={favicon} alt="" width="26" height="26" />
        <h1>{room}</h1>
        <span class="count" data-live={live > 0 && !broken}><span class="dot" />{live === 0 ? 'nobody live' : `${live} live`}</span>
        <span class="space" />
        <p class="note" role="status">{broken ? 'The server does not answer; trying again. Pictures that play go on.' : ''}</p>
      </header>
      <main class="grid" data-count={Math.min(shown.length, 10)}>
        {shown.map(({ member, goneAt }) => (
          <Tile
            key={member.name} member={member} room={room} gone={goneAt !== null}
            known={keys.current.get(member.name) ?? keyOf(location.hash)}
            opened={(key) => keys.current.set(member.name, key)}
          />
        ))}
        {members !== null && shown.length === 0 && (
          <section class="empty">
            <div class="beacon" aria-hidden="true"><span /><span /><span /></div>
            <h2>Nobody is live in “{room}”</h2>
            <p>Whoever publishes as <code>{room}</code> or <code>{room}-…</code> appears here by itself.</p>
          </section>
        )}
      </main>
      {shown.length > 0 && away.length > 0 && (
        <p class="away">Not live: {away.map(({ name }) => label(name, room)).join(', ')}</p>
      )}
    </>
  );
}

const root = document.getElementById('room');
const room = roomOf(location.pathname);
document.title = `${room} · Capcast`;
if (root !== null) render(<Boundary><Room room={room} /></Boundary>, root);
