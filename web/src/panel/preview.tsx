import { useEffect, useRef, useState } from 'preact/hooks';
import { describe, type Words } from '../player/words';
import { Viewing } from '../viewing';

/** The stream as viewers see it, without sound. */
export function PreviewCard() {
  const video = useRef<HTMLVideoElement>(null);
  const [words, setWords] = useState<Words | null>(null);
  useEffect(() => {
    const viewing = new Viewing({ stream: null, key: null }, {
      track: (track) => {
        if (track.kind !== 'video' || video.current === null) return;
        video.current.srcObject = new MediaStream([track]);
        video.current.play().catch(() => undefined);
      },
      state: (state) => setWords(describe(state, null, performance.now())),
    });
    viewing.start();
    return () => viewing.stop();
  }, []);
  return (
    <section class="preview" aria-label="Live preview" data-playing={words === null}>
      <video ref={video} autoplay muted playsInline disableRemotePlayback aria-label="Live picture" />
      {words !== null && <p class="veil"><strong>{words.title}</strong><span>{words.detail}</span></p>}
    </section>
  );
}
