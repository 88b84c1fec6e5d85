import type { Stream } from './state';
import { codec } from './words';

export function Streams({ streams }: { streams: Stream[] }) {
  const all = streams.reduce((sum, { viewers }) => sum + viewers, 0);
  return (
    <section class="card" aria-labelledby="viewers-title">
      <h2 id="viewers-title">Viewers <span class="count" id="viewers">{all}</span></h2>
      {streams.length === 0 ? <p class="soft">Nothing can be watched here.</p> : (
        <table>
          <thead><tr><th scope="col">Stream</th><th scope="col">State</th><th scope="col">Codecs</th><th scope="col" class="number">Viewers</th></tr></thead>
          <tbody>
            {streams.map((stream) => (
              <tr key={stream.name}>
                <th scope="row"><a href={`/${stream.name}`}>{stream.name}</a></th>
                <td><span class="life" data-tone={stream.live ? 'good' : 'quiet'}>{stream.live ? 'live' : 'not live'}</span></td>
                <td>{[stream.video, stream.audio].filter((name) => name !== null).map(codec).join(' + ')}</td>
                <td class="number">
                  {stream.viewers}
                  {stream.viewers_paused > 0 && <span class="soft" title="Their way is too narrow for the picture"> ({stream.viewers_paused} without picture)</span>}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}
