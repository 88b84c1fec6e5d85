import { useEffect, useRef, useState } from 'preact/hooks';
import { playerOf } from '../key';
import type { State } from '../player/machine';
import { describe, type Words } from '../player/words';
import { Viewing } from '../viewing';
import { label, type Member } from './room';

interface Props {
  member: Member;
  room: string;
  /** Nobody publishes it any more. */
  gone: boolean;
  /** The key that it was given before, or that came with the page's address. */
  known: string | null;
  opened(key: string): void;
}

/** One stream: its picture, its sound once it is wanted, and in words why there is none. */
export function Tile({ member, room, gone, known, opened }: Props) {
  const { name } = member;
  const figure = useRef<HTMLElement>(null);
  const video = useRef<HTMLVideoElement>(null);
  const voice = useRef<HTMLAudioElement>(null);
  const viewing = useRef<Viewing | null>(null);
  const given = useRef(known);
  const [state, setState] = useState<State>({ kind: 'connecting' });
  const [words, setWords] = useState<Words | null>(null);
  const [sounds, setSounds] = useState(false);
  const [on, setOn] = useState(false);
  const [full, setFull] = useState(false);

  useEffect(() => {
    const mine = new Viewing({ stream: name, key: given.current }, {
      track: (track) => {
        const element = track.kind === 'video' ? video.current : voice.current;
        if (element === null) return;
        if (track.kind === 'audio') setSounds(true);
        element.srcObject = new MediaStream([track]);
        element.play().catch(() => undefined);
      },
      state: (now) => {
        setState(now);
        setWords(describe(now, label(name, room), performance.now()));
        if (now.kind === 'playing' && given.current !== null) opened(given.current);
      },
    });
    viewing.current = mine;
    mine.start();
    return () => mine.stop();
  }, [name]);

  useEffect(() => {
    const changed = () => setFull(document.fullscreenElement === figure.current);
    document.addEventListener('fullscreenchange', changed);
    return () => document.removeEventListener('fullscreenchange', changed);
  }, []);

  const turn = () => {
    if (voice.current === null) return;
    voice.current.muted = on;
    setOn(!on);
    voice.current.play().catch(() => undefined);
  };
  const fill = () => {
    if (document.fullscreenElement !== null) void document.exitFullscreen();
    else if (document.fullscreenEnabled) figure.current?.requestFullscreen().catch(() => undefined);
    // iPhones give full screen to video elements only.
    else (video.current as { webkitEnterFullscreen?: () => void } | null)?.webkitEnterFullscreen?.();
  };
  const unlock = (event: SubmitEvent) => {
    event.preventDefault();
    const { value } = (event.currentTarget as HTMLFormElement).elements.namedItem('key') as HTMLInputElement;
    given.current = value;
    viewing.current?.unlock(value);
  };

  const shown = label(name, room);
  const said = gone ? { title: `${shown} has left`, detail: '', tone: 'calm' as const } : words;
  return (
    <figure ref={figure} class="tile" data-stream={name} data-state={state.kind} data-sound={on ? 'on' : 'off'} data-gone={gone} data-full={full}>
      <video ref={video} autoplay muted playsInline disableRemotePlayback aria-label={`Picture of ${shown}`} />
      <audio ref={voice} autoplay muted />
      {said !== null && (
        <div class="veil" data-tone={said.tone}>
          <strong>{said.title}</strong>
          {said.detail !== '' && <span>{said.detail}</span>}
          {state.kind === 'locked' && !gone && (
            <form onSubmit={unlock}>
              <input name="key" type="password" autocomplete="off" required maxLength={512} spellcheck={false} placeholder="Key" aria-label={`Key of ${shown}`} />
              <button type="submit" class="solid">Watch</button>
            </form>
          )}
          {(state.kind === 'retrying' || state.kind === 'unplayable') && !gone && (
            <button type="button" class="solid" onClick={() => viewing.current?.again()}>Try now</button>
          )}
        </div>
      )}
      <figcaption>
        <a class="name" href={playerOf(name, member.locked && state.kind === 'playing' ? given.current : null)} title={`Open ${name} alone`}>{shown}</a>
        <span class="space" />
        {sounds && (
          <button type="button" class="sound" aria-label={`Sound of ${shown}`} aria-pressed={on} title="Sound" onClick={turn}>
            <svg viewBox="0 0 24 24" aria-hidden="true">
              <path d="M4 9.5v5h3.5L12 18.5v-13L7.5 9.5z" />
              <path class="stroke" d={on ? 'M15 9a4.2 4.2 0 0 1 0 6m2.6-8.6a8 8 0 0 1 0 11.2' : 'm16 9.5 5 5m0-5-5 5'} />
            </svg>
          </button>
        )}
        <button type="button" class="full" aria-label={`Full screen of ${shown}`} aria-pressed={full} title="Full screen" onClick={fill}>
          <svg viewBox="0 0 24 24" aria-hidden="true">
            <path class="stroke" d={full ? 'M9 4v5H4m16 0h-5V4m0 16v-5h5M4 15h5v5' : 'M4 9V4h5m6 0h5v5m0 6v5h-5m-6 0H4v-5'} />
          </svg>
        </button>
      </figcaption>
    </figure>
  );
}
