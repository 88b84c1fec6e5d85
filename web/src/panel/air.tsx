import { useState } from 'preact/hooks';
import { Outcome, useCommand } from './command';
import type { Profile, State } from './state';
import { bits } from './words';

const STEP = 100_000;

/** On and off air, keyframe, bitrate. */
export function Air({ state, controls, profile }: { state: State; controls: boolean; profile: Profile | undefined }) {
  const air = useCommand();
  const stopped = state.state === 'stopped';
  const off = !controls;
  return (
    <section class="card" aria-labelledby="air-title">
      <h2 id="air-title">Control</h2>
      <div class="row buttons">
        <button type="button" class={stopped ? 'solid' : ''} disabled={off} aria-disabled={air.busy !== null}
          onClick={() => void air.run(stopped ? '/api/control/start' : '/api/control/stop')}>{stopped ? 'Go on air' : 'Go off air'}</button>
        <button type="button" disabled={off || stopped} aria-disabled={air.busy !== null} onClick={() => void air.run('/api/control/keyframe')}>Keyframe</button>
        <button type="button" disabled={off || stopped} aria-disabled={air.busy !== null} onClick={() => void air.run('/api/control/restart')}>Restart</button>
      </div>
      <Outcome said={air.said} busy={air.busy} />
      {state.encode !== null && <Bitrate state={state} controls={controls && !stopped} profile={profile} />}
    </section>
  );
}

function Bitrate({ state, controls, profile }: { state: State; controls: boolean; profile: Profile | undefined }) {
  const { busy, said, run } = useCommand();
  /** Under the finger, and not told to the daemon yet. */
  const [held, setHeld] = useState<number | null>(null);
  const encode = state.encode;
  if (encode === null) return null;
  const target = encode.target_bitrate_bps;
  const [least, most] = bounds(encode.bitrate_range_bps, target, profile?.bitrate ?? target);
  const release = (value: number) => {
    setHeld(null);
    if (Math.abs(value - target) >= 1) void run('/api/control/bitrate', { bitrate: `${Math.round(value / 1000)} kbit/s` });
  };
  return (
    <div class="bitrate">
      <label for="bitrate">Bitrate</label>
      <output id="target" for="bitrate">{held === null ? bits(target) : `${bits(held)} when let go`}</output>
      <input id="bitrate" type="range" min={least} max={most} step={STEP} value={held ?? target}
        disabled={!controls}
        aria-valuetext={bits(held ?? target)}
        onInput={(event) => setHeld(Number(event.currentTarget.value))}
        onChange={(event) => release(Number(event.currentTarget.value))} />
      <span class="ends soft"><span>{bits(least)}</span><span>{bits(most)}</span></span>
      {encode.bitrate_range_bps === undefined && <p class="soft">This encoder is started anew for another bitrate.</p>}
      {encode.limited_by !== undefined && <p class="soft">Kept down by output “{encode.limited_by}”.</p>}
      <Outcome said={said} busy={busy} />
    </div>
  );
}

/** What the slider goes over: an encoder takes gigabits, which nobody aims at with a slider. */
export function bounds(range: [number, number] | undefined, target: number, usual: number): [number, number] {
  const [least, most] = range ?? [usual / 4, usual * 4];
  const low = Math.ceil(least / STEP) * STEP;
  return [low, Math.max(low + STEP, Math.min(most, Math.max(usual * 4, target)))];
}
