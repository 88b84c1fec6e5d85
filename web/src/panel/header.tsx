import { useEffect, useState } from 'preact/hooks';
import favicon from '../favicon.svg';
import { logOut, type May } from './api';
import type { Link } from './link';
import type { State } from './state';
import { sentence, span } from './words';

const WORDS: Record<State['state'], string> = {
  on_air: 'On air', degraded: 'On air', starting: 'Starting', stopped: 'Off air', failed: 'Off air',
};

export function Header({ state, link, may, onLeft }: {
  state: State | null; link: Link; may: May | null; onLeft: () => void;
}) {
  const lost = link.kind === 'lost';
  return (
    <header class="head" data-state={lost ? 'lost' : state?.state ?? 'opening'}>
      <div class="bar">
        <span class="brand"><img src={favicon} alt="" width="28" height="28" /> Capcast</span>
        {state !== null && <span class="soft">{state.version}, up {span(state.uptime_s)}</span>}
        <span class="space" />
        <Theme />
        {may?.logged_in === true && (
          <button type="button" class="plain" onClick={() => void logOut().then(onLeft, () => undefined)}>Log out</button>
        )}
      </div>
      <div class="headline">
        <span class="lamp" aria-hidden="true" />
        <span class="word">{lost ? 'No connection' : state === null ? 'Connecting' : WORDS[state.state]}</span>
      </div>
      <h1 id="words">
        {lost ? 'The daemon does not answer. Trying again by itself.' : state === null ? 'Asking the daemon' : plain(state)}
      </h1>
      {lost && state !== null && <p class="soft">What is below was true when it last spoke.</p>}
    </header>
  );
}

/** The daemon's sentence without the words that stand above it. */
function plain(state: State): string {
  return sentence(state.words.replace(/^(on|off) air: /, '')).replace(/(\d)x(\d)/g, '$1 × $2');
}

const THEME = 'capcast.theme';

function Theme() {
  const [theme, setTheme] = useState(() => recall());
  useEffect(() => {
    document.documentElement.style.colorScheme = theme === 'system' ? '' : theme;
    document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem(THEME, theme);
    } catch {
      // Storage may be forbidden; then it is not remembered.
    }
    document.dispatchEvent(new Event('themed'));
  }, [theme]);
  return (
    <label class="theme">
      <span class="spoken">Colours</span>
      <select value={theme} onChange={(event) => setTheme(event.currentTarget.value)}>
        <option value="system">System</option>
        <option value="light">Light</option>
        <option value="dark">Dark</option>
      </select>
    </label>
  );
}

function recall(): string {
  try {
    const kept = localStorage.getItem(THEME);
    return kept === 'light' || kept === 'dark' ? kept : 'system';
  } catch {
    return 'system';
  }
}
