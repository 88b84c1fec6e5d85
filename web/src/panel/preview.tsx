import { useEffect, useRef, useState } from 'preact/hooks';
import { describe, type Words } from '../player/words';
import { Preview } from './viewing';

/** The stream as viewers see it, without sound. */
export function PreviewCard() {
  const video = useRef<HTMLVideoElement>(null);
  const [words, setWords] = useState<Words | null>(null);
  useEffect(() => {
    if (video.current === null) return;
    const preview = new Preview(video.current, (state) => setWords(describe(state, null, performance.now())));
    preview.start();
    return () => preview.stop();
  }, []);
  return (
    <section class="preview" aria-label="Live preview" data-playing={words === null}>
      <video ref={video} autoplay muted playsInline disableRemotePlayback aria-label="Live picture" />
      {words !== null && <p class="veil"><strong>{words.title}</strong><span>{words.detail}</span></p>}
    </section>
  );
}
