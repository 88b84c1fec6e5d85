import { useMemo, useState } from 'preact/hooks';
import { encode } from 'uqr';
import type { State } from './state';

/** Where the stream is watched: to copy, or to point a phone at. */
export function Watch({ state }: { state: State }) {
  const [copied, setCopied] = useState('');
  const own = state.streams.find(({ publisher }) => publisher === 'box') ?? state.streams[0];
  const url = new URL(own === undefined ? '/' : `/${own.name}`, location.href).href;
  const here = ['localhost', '127.0.0.1', '[::1]'].includes(location.hostname);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(url);
      setCopied('Copied.');
    } catch {
      const field = document.getElementById('watch-url') as HTMLInputElement;
      field.select();
      setCopied('This browser lets no page copy; the address is selected: press Ctrl+C.');
    }
  };
  return (
    <section class="card watch" aria-labelledby="watch-title">
      <h2 id="watch-title">Watch</h2>
      <div class="row">
        <input id="watch-url" readOnly value={url} aria-label="Address of the player" onFocus={(event) => event.currentTarget.select()} />
        <button type="button" onClick={() => void copy()}>Copy</button>
        <a class="button" href={url} target="_blank" rel="noopener">Open</a>
      </div>
      <p class="outcome" role="status">{copied}</p>
      <details>
        <summary>QR code</summary>
        <Qr text={url} />
        {here && <p class="soft">This address works on this computer only. Open the panel by the box’s name or address for one that phones can reach.</p>}
      </details>
    </section>
  );
}

function Qr({ text }: { text: string }) {
  const { size, path } = useMemo(() => {
    const code = encode(text, { ecc: 'M', border: 3 });
    const dots = code.data.flatMap((row, y) => row.flatMap((dark, x) => (dark ? [`M${x} ${y}h1v1h-1z`] : [])));
    return { size: code.size, path: dots.join('') };
  }, [text]);
  return (
    <svg class="qr" viewBox={`0 0 ${size} ${size}`} role="img" aria-label={`QR code of ${text}`} shape-rendering="crispEdges">
      <rect width={size} height={size} fill="#fff" />
      <path d={path} fill="#000" />
    </svg>
  );
}
