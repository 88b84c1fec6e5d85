import type { Arrival, Encode, State } from './state';
import { arrives, bits, codec, sentence, size, tone } from './words';

/** What comes in and what is made of it. */
export function Sources({ state }: { state: State }) {
  const { capture, encode, audio } = state;
  return (
    <section class="card" aria-labelledby="source-title">
      <h2 id="source-title">Source</h2>
      <dl class="parts">
        <Part name="Picture" life={capture.source.state === 'live' ? capture.state : capture.source.state} reason={capture.source.reason || capture.reason}
          words={[capture.source.name, size(capture.size), capture.format ?? '', rate(capture.fps)]} />
        {capture.arrival !== undefined && <Arriving arrival={capture.arrival} life={capture.source.state} />}
        {encode !== null && <Encoder name="Encoder" encode={encode} />}
        {encode?.renditions?.map((smaller) => <Encoder key={smaller.size} name="Smaller" encode={smaller} />)}
        {audio !== null && <Part name="Sound" life={audio.state} reason={audio.reason} words={[audio.source === 'none' ? '' : audio.source]} />}
      </dl>
      {audio !== null && audio.peak_dbfs.length > 0 && <Meters peaks={audio.peak_dbfs} />}
    </section>
  );
}

function Arriving({ arrival, life }: { arrival: Arrival; life: string }) {
  const words = arrives(arrival);
  const reason = arrival.passthrough?.reason ?? '';
  return words.length > 0 ? <Part name="Arrives" life={life} reason={reason && `not passed through: ${reason}`} words={words} /> : null;
}

function Encoder({ name, encode }: { name: string; encode: Encode }) {
  return (
    <Part name={name} life={encode.state} reason={encode.reason}
      words={[`${codec(encode.codec)} by ${encode.encoder}`, size(encode.size), rate(encode.fps), bits(encode.bitrate_bps ?? 0)]} />
  );
}

function Part({ name, life, reason, words }: { name: string; life: string; reason: string; words: string[] }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        <span class="life" data-tone={tone(life)}>{life.replace('_', ' ')}</span> {words.filter((word) => word !== '').join(', ')}
        {reason !== '' && <span class="reason">{sentence(reason)}</span>}
      </dd>
    </div>
  );
}

function rate(fps: number): string {
  return fps > 0 ? `${fps.toFixed(1)} fps` : '';
}

const FLOOR = -60;

/** Peaks in dBFS: from −60 to full scale; the last 6 dB are loud. */
function Meters({ peaks }: { peaks: number[] }) {
  return (
    <div class="meters">
      {peaks.map((peak, channel) => {
        const shown = Math.min(0, Math.max(FLOOR, peak));
        const name = peaks.length === 2 ? ['Left', 'Right'][channel] : `Channel ${channel + 1}`;
        return (
          <div class="meter" key={channel} role="meter" aria-label={`Level, ${name?.toLowerCase()}`} aria-valuemin={FLOOR}
            aria-valuemax={0} aria-valuenow={Math.round(shown)} aria-valuetext={decibels(peak)}>
            <span class="channel" aria-hidden="true">{name}</span>
            <span class="track"><span class="level" data-loud={peak > -6} style={{ width: `${100 * (1 - shown / FLOOR)}%` }} /></span>
            <span class="figure" aria-hidden="true">{decibels(peak)}</span>
          </div>
        );
      })}
    </div>
  );
}

function decibels(peak: number): string {
  return peak <= -119 ? 'silent' : `${peak.toFixed(0).replace('-', '−')} dB`;
}
