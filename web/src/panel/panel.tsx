import { useEffect, useRef, useState } from 'preact/hooks';
import { get, type May } from './api';
import { Air } from './air';
import { Charts } from './charts';
import { Header } from './header';
import { History, type Columns } from './history';
import { Follower, socketUrl, type Link } from './link';
import { Login } from './login';
import { LogView } from './logview';
import { Outputs } from './outputs';
import { PreviewCard } from './preview';
import { Profiles } from './profiles';
import { Recordings } from './recordings';
import { Sources } from './sources';
import type { Profile, State } from './state';
import { Streams } from './streams';
import { isHere, Watch } from './watch';

/** Everything the parts show comes from the daemon; nothing is guessed ahead of it. */
export function Panel() {
  const [state, setState] = useState<State | null>(null);
  const [link, setLink] = useState<Link>({ kind: 'opening' });
  const [may, setMay] = useState<May | null>(null);
  const [profiles, setProfiles] = useState<Profile[] | null>(null);
  const [addresses, setAddresses] = useState<string[] | null>(null);
  const [points, setPoints] = useState(0);
  const history = useRef(new History());
  const version = useRef<string | null>(null);

  const askMay = () => get<May>('/api/session').then(setMay, () => undefined);

  useEffect(() => {
    const follower = new Follower(() => new WebSocket(socketUrl('/api/events', location.href)), {
      onState: (next) => {
        // The daemon was upgraded, and has a page of its own.
        version.current ??= next.version;
        if (version.current !== next.version) location.reload();
        setState(next);
        if (history.current.add(next, Date.now())) setPoints((count) => count + 1);
      },
      onLink: (next) => setLink((before) => (before.kind === next.kind ? before : next)),
    });
    const wake = () => {
      if (document.visibilityState === 'visible') follower.wake();
    };
    follower.start();
    window.addEventListener('online', wake);
    document.addEventListener('visibilitychange', wake);
    return () => {
      window.removeEventListener('online', wake);
      document.removeEventListener('visibilitychange', wake);
      follower.stop();
    };
  }, []);

  // Once for each connection: another daemon may have another past, another token, other profiles.
  useEffect(() => {
    if (link.kind !== 'open') return;
    void askMay();
    // A page that was opened on the box itself does not know how others reach it.
    if (isHere(location.hostname)) get<string[]>('/api/addresses').then(setAddresses, () => setAddresses([]));
    get<Columns>('/api/history').then((columns) => {
      history.current.replace(columns);
      setPoints((count) => count + 1);
    }, () => undefined);
  }, [link.kind]);
  useEffect(() => {
    if (link.kind !== 'open') return;
    get<Profile[]>('/api/profiles').then(setProfiles, () => undefined);
  }, [link.kind, state?.profile]);

  const controls = may?.may_control === true && link.kind === 'open';
  return (
    <>
      <Header state={state} link={link} may={may} onLeft={askMay} />
      <main>
        {may !== null && !may.may_control && <Login may={may} onDone={askMay} />}
        {state !== null && (
          <>
            <div class="top">
              <div class="side">
                <PreviewCard />
                <Sources state={state} />
              </div>
              <div class="side">
                <Air state={state} controls={controls} profile={profiles?.find(({ name }) => name === state.profile)} />
                <Watch state={state} addresses={addresses} />
              </div>
            </div>
            <Charts history={history.current} points={points} state={state} />
            <div class="pair">
              <Outputs outputs={state.outputs} controls={controls} />
              <Streams streams={state.streams} />
            </div>
            <Profiles profiles={profiles} active={state.profile} controls={controls} />
            {may?.may_control === true && <Recordings outputs={state.outputs} />}
            {may?.may_control === true && <LogView />}
          </>
        )}
      </main>
    </>
  );
}
