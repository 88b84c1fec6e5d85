import { useEffect, useState } from 'preact/hooks';
import { get } from './api';
import type { Output } from './state';
import { bytes } from './words';

/** As `/api/recordings` has it. */
interface Recording {
  output: string;
  name: string;
  bytes: number;
  written_ms: number;
  url: string;
}

/** Files shown; the folder has the others. */
const SHOWN = 12;

/** What was recorded, to be fetched; asked for again when a recording begins or ends a file. */
export function Recordings({ outputs }: { outputs: Output[] }) {
  const [all, setAll] = useState<Recording[] | null>(null);
  const recorders = outputs.filter(({ kind }) => kind === 'record');
  const files = recorders.map(({ name, state, reason }) => `${name} ${state} ${/`[^`]*`/.exec(reason)?.[0] ?? ''}`).join();
  useEffect(() => {
    if (files !== '') get<Recording[]>('/api/recordings').then(setAll, () => undefined);
  }, [files]);
  if (recorders.length === 0 || all === null) return null;
  const newest = [...all].sort((one, other) => other.written_ms - one.written_ms);
  const total = all.reduce((sum, file) => sum + file.bytes, 0);
  const older = all.length - SHOWN;
  return (
    <section class="card" aria-labelledby="recordings-title">
      <h2 id="recordings-title">Recordings</h2>
      {all.length === 0 && <p class="soft">Nothing is recorded yet.</p>}
      <ul class="outputs">
        {newest.slice(0, SHOWN).map((file) => (
          <li key={file.url} class="output">
            <div class="row">
              <span class="file">{file.name}</span>
              <span class="space" />
              <span class="soft">{bytes(file.bytes)}</span>
              <a class="button" href={file.url} download={file.name} aria-label={`Download ${file.name}`}>Download</a>
            </div>
          </li>
        ))}
      </ul>
      {all.length > 0 && <p class="soft">{all.length === 1 ? '1 file' : `${all.length} files`}, {bytes(total)}{older > 0 && `; the ${older} oldest are not shown`}</p>}
    </section>
  );
}
