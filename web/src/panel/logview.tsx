import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { follow, LEVELS, Log, wanted } from './log';

/** Lines drawn at one time; what was before is found by searching. */
const DRAWN = 1_000;

export function LogView() {
  const log = useRef(new Log());
  const [version, setVersion] = useState(0);
  const [broken, setBroken] = useState(false);
  const [level, setLevel] = useState('info');
  const [search, setSearch] = useState('');
  const list = useRef<HTMLOListElement>(null);
  const atEnd = useRef(true);

  useEffect(() => follow(log.current, () => setVersion((count) => count + 1), setBroken), []);
  const found = useMemo(() => wanted(log.current.entries, level, search), [version, level, search]);
  const drawn = found.slice(-DRAWN);
  // Whoever reads further up is left there.
  useEffect(() => {
    const at = list.current;
    if (at !== null && atEnd.current) at.scrollTop = at.scrollHeight;
  }, [version, level, search]);

  return (
    <section class="card" aria-labelledby="log-title">
      <h2 id="log-title">Log</h2>
      <div class="row filters">
        <label for="level">Level</label>
        <select id="level" value={level} onChange={(event) => setLevel(event.currentTarget.value)}>
          {LEVELS.map((name) => <option key={name} value={name}>{name}</option>)}
        </select>
        <label for="search">Search</label>
        <input id="search" type="search" value={search} placeholder="words" onInput={(event) => setSearch(event.currentTarget.value)} />
        <span class="soft" id="found" role="status">
          {found.length > DRAWN ? `the last ${DRAWN} of ${found.length}` : found.length} {found.length === 1 ? 'line' : 'lines'}
          {broken ? ', connection lost' : ''}
        </span>
      </div>
      <ol class="log" ref={list} tabIndex={0} aria-label="Lines of the log"
        onScroll={({ currentTarget: at }) => { atEnd.current = at.scrollHeight - at.scrollTop - at.clientHeight < 24; }}>
        {drawn.map((entry) => ('missed' in entry
          ? <li key={entry.id} class="gap">{entry.missed} lines were missed</li>
          : (
            <li key={entry.id} data-level={entry.line.level}>
              <time>{clock(entry.line.at_ms)}</time> <b>{entry.line.level}</b> <span>{entry.line.words}</span>
            </li>
          )))}
      </ol>
    </section>
  );
}

function clock(at: number): string {
  return new Date(at).toLocaleTimeString(undefined, { hour12: false });
}
