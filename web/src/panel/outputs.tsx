import { Outcome, useCommand } from './command';
import type { Output } from './state';
import { bits, sentence, tone } from './words';

export function Outputs({ outputs, controls }: { outputs: Output[]; controls: boolean }) {
  return (
    <section class="card" aria-labelledby="outputs-title">
      <h2 id="outputs-title">Outputs</h2>
      {outputs.length === 0 && <p class="soft">None is configured: the stream is watched here only. Add an <code>[[output]]</code> to publish elsewhere.</p>}
      <ul class="outputs">{outputs.map((output) => <Row key={output.name} output={output} controls={controls} />)}</ul>
    </section>
  );
}

function Row({ output, controls }: { output: Output; controls: boolean }) {
  const { busy, said, run } = useCommand();
  const stopped = output.state === 'stopped';
  const path = `/api/outputs/${encodeURIComponent(output.name)}/${stopped ? 'start' : 'stop'}`;
  return (
    <li class="output">
      <div class="row">
        <strong>{output.name}</strong> <span class="soft">{output.kind}</span>
        <span class="life" data-tone={tone(output.state)}>{output.state.replace('_', ' ')}</span>
        <span class="space" />
        <button type="button" disabled={!controls} aria-disabled={busy !== null} aria-label={`${stopped ? 'Start' : 'Stop'} output ${output.name}`}
          onClick={() => void run(path)}>{stopped ? 'Start' : 'Stop'}</button>
      </div>
      {output.reason !== '' && <p class={tone(output.state) === 'good' ? 'soft' : 'reason'}>{sentence(output.reason)}</p>}
      <p class="soft">{figures(output)}</p>
      <Outcome said={said} />
    </li>
  );
}

function figures(output: Output): string {
  return [
    output.retry_in_s === null ? '' : `next attempt in ${Math.ceil(output.retry_in_s)} s`,
    (output.bitrate_bps ?? 0) > 0 ? bits(output.bitrate_bps ?? 0) : '',
    output.rtt_ms === null ? '' : `round trip ${Math.round(output.rtt_ms)} ms`,
    output.loss === null ? '' : `${(output.loss * 100).toFixed(1)} % lost`,
    output.dropped > 0 ? `${output.dropped} frames dropped` : '',
    output.limits ? 'keeps the bitrate down' : '',
    output.server ?? '',
  ].filter((figure) => figure !== '').join(', ');
}
