// A command on its way, and what came of it, in words beside its control.

import { useEffect, useRef, useState } from 'preact/hooks';
import { command, Refusal } from './api';
import { sentence } from './words';

export interface Said {
  well: boolean;
  words: string;
  hint: string | null;
}

export interface Commanding {
  /** On its way: the path of the command. */
  busy: string | null;
  said: Said | null;
  run(path: string, body?: unknown): Promise<void>;
}

export function useCommand(): Commanding {
  const [busy, setBusy] = useState<string | null>(null);
  const [said, setSaid] = useState<Said | null>(null);
  const under = useRef(false);
  // What was done stands for a while; why something was not done, until the next try.
  useEffect(() => {
    if (said?.well !== true) return;
    const timer = setTimeout(() => setSaid(null), 15_000);
    return () => clearTimeout(timer);
  }, [said]);
  // A control is not disabled meanwhile: that would take the focus from whoever uses the keyboard.
  const run = async (path: string, body?: unknown) => {
    if (under.current) return;
    under.current = true;
    setBusy(path);
    setSaid(null);
    let came: Said;
    try {
      came = { well: true, words: await command(path, body), hint: null };
    } catch (error) {
      const { message, hint } = error instanceof Refusal ? error : { message: String(error), hint: null };
      came = { well: false, words: message, hint };
    }
    under.current = false;
    setBusy(null);
    setSaid(came);
  };
  return { busy, said, run };
}

/** Always there, so that screen readers hear when it fills. */
export function Outcome({ said, busy }: { said: Said | null; busy?: string | null }) {
  return (
    <p class="outcome" role="status" data-well={said === null ? undefined : String(said.well)}>
      {busy != null && <span class="waiting">Working …</span>}
      {said !== null && <span>{sentence(said.words)}</span>}
      {said?.hint != null && <span class="hint">{sentence(said.hint)}</span>}
    </p>
  );
}
