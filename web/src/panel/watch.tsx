import { useMemo, useState } from 'preact/hooks';
import { encode } from 'uqr';
import type { State } from './state';

/** Is it a name that every computer has for itself? */
export function isHere(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.[\d.]+$/.test(hostname);
}

/**
 * Where the stream is watched: to copy, or to point a phone at. On the box itself this is its first `address` that others
 * reach, where it has one.
 */
export function watchUrl(state: Pick<State, 'streams'>, page: string, addresses: string[] | null): string {
  const own = state.streams.find(({ publisher }) => publisher === 'box') ?? state.streams[0];
  const base = isHere(new URL(page).hostname) ? addresses?.[0] ?? page : page;
  return new URL(own === undefined ? '/' : `/${own.name}`, base).href;
}

export function Watch({ state, addresses }: { state: State; addresses: string[] | null }) {
  const [copied, setCopied] = useState('');
  const url = watchUrl(state, location.href, addresses);
  const unreachable = addresses?.length === 0;
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
        {unreachable && <p class="soft">This address works on this computer only: the box listens to nobody else. See <code>http.listen</code>.</p>}
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
