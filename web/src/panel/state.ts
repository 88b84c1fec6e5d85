// The daemon's state as `/api/status` and `/api/events` give it; only what the panel shows.

export interface Stage {
  frames_in: number;
  frames_out: number;
  dropped: number;
  fps: number;
  bitrate_bps?: number;
  latency_p50_ms: number | null;
  latency_p95_ms: number | null;
}

/** What comes over the network; counts are since it was opened. */
export interface Arrival {
  picture: string | null;
  sound: string | null;
  bitrate_bps: number;
  broken: number;
  /** Missing where it is not wished for. */
  passthrough?: { state: 'passed' | 'awaited' | 'refused'; reason: string };
  srt?: { rtt_ms: number; loss: number | null };
}

export interface Capture extends Stage {
  state: string;
  reason: string;
  source: { name: string; state: string; reason: string };
  showing: 'source' | 'held' | 'slate';
  format: string | null;
  size: string | null;
  framerate: string | null;
  restarts: number;
  arrival?: Arrival;
}

export interface Encode extends Stage {
  state: string;
  reason: string;
  encoder: string;
  codec: string;
  size?: string;
  framerate?: string;
  target_bitrate_bps: number;
  /** The least and the most that can be set; missing where it cannot be set live. */
  bitrate_range_bps?: [number, number];
  limited_by?: string;
  keyframes: number;
  keyframes_forced: number;
  restarts: number;
  /** Smaller versions of the same picture. */
  renditions?: Encode[];
}

export interface Audio extends Stage {
  state: string;
  reason: string;
  source: string;
  /** One per channel; −120 is silence. */
  peak_dbfs: number[];
  encode: Encode | null;
}

export interface Output extends Stage {
  name: string;
  kind: string;
  state: string;
  reason: string;
  server: string | null;
  retry_in_s: number | null;
  rtt_ms: number | null;
  loss: number | null;
  limits: boolean;
}

/** How long one step of the picture's way takes. */
export interface Latency {
  step: string;
  p50_ms: number;
  p95_ms: number;
}

export interface Stream {
  name: string;
  live: boolean;
  publisher: string | null;
  /** The best one first; empty where there is but one version of the picture. */
  layers: string[];
  video: string | null;
  audio: string | null;
  viewers: number;
  /** Of those, the ones whose way carries no picture. */
  viewers_paused: number;
  dropped: number;
}

export interface State {
  version: string;
  uptime_s: number;
  state: 'starting' | 'on_air' | 'degraded' | 'stopped' | 'failed';
  words: string;
  profile: string;
  process: { cpu_percent: number; memory_bytes: number };
  capture: Capture;
  encode: Encode | null;
  audio: Audio | null;
  outputs: Output[];
  /** In order, from the capture to the viewers' socket; `total` comes last. */
  latency: Latency[];
  streams: Stream[];
}

/** One of `/api/profiles`. */
export interface Profile {
  name: string;
  summary: string;
  codec: string;
  encoder: string | null;
  size: string | null;
  framerate: string | null;
  bitrate: number;
  runs: boolean;
  missing: { message: string; hint: string | null }[];
  active: boolean;
}

/** From the capture to the viewers' socket. */
export function total(state: State): Latency | undefined {
  return state.latency.find(({ step }) => step === 'total');
}

/** Frames lost so far at every place that can lose some, as the server's history counts them. */
export function lost(state: State): number {
  const outputs = state.outputs.reduce((sum, output) => sum + output.dropped, 0);
  const streams = state.streams.reduce((sum, stream) => sum + stream.dropped, 0);
  return state.capture.dropped + (state.encode?.dropped ?? 0) + outputs + streams;
}
