import { useEffect, useState } from 'preact/hooks';
import { get } from './api';
import { Outcome, useCommand } from './command';
import type { Output } from './state';
import { bits, sentence, tone } from './words';

/** Where people watch what each output publishes; told to whoever controls the box only, and asked for when one goes on air. */
function useWatch(outputs: Output[], controls: boolean): Map<string, string> {
  const [watch, setWatch] = useState(new Map<string, string>());
  const published = controls ? outputs.filter(({ kind, state }) => kind === 'whip' && tone(state) === 'good').map(({ name }) => name).join() : '';
  useEffect(() => {
    setWatch(new Map());
    if (published === '') return;
    get<{ name: string; watch?: string }[]>('/api/outputs').then((told) => {
      setWatch(new Map(told.flatMap(({ name, watch: url }) => (url !== undefined && /^https?:/.test(url) ? [[name, url] as const] : []))));
    }, () => undefined);
  }, [published]);
  return watch;
}

export function Outputs({ outputs, controls }: { outputs: Output[]; controls: boolean }) {
  const watch = useWatch(outputs, controls);
  return (
    <section class="card" aria-labelledby="outputs-title">
      <h2 id="outputs-title">Outputs</h2>
      {outputs.length === 0 && <p class="soft">None is configured: the stream is watched here only. Add an <code>[[output]]</code> to publish elsewhere.</p>}
      <ul class="outputs">{outputs.map((output) => <Row key={output.name} output={output} watch={watch.get(output.name)} controls={controls} />)}</ul>
    </section>
  );
}

function Row({ output, watch, controls }: { output: Output; watch: string | undefined; controls: boolean }) {
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
      {watch !== undefined && <p class="soft">Watched at <a href={watch} target="_blank" rel="noreferrer">{watch}</a></p>}
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
