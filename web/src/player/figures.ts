// From WebRTC statistics to the figures a viewer can read. Pure: two samples in, figures out.

/** What one reading of `getStats` holds of interest. Times in milliseconds. */
export interface Sample {
  at: number;
  bytes: number;
  videoPackets: number;
  videoLost: number;
  framesReceived: number;
  framesDecoded: number;
  framesDropped: number;
  freezes: number;
  width: number;
  height: number;
  codec: string | null;
  audioCodec: string | null;
  decoder: string | null;
  hardware: boolean | null;
  /** Sums over all frames so far. */
  bufferDelay: number;
  bufferedFrames: number;
  decodeTime: number;
  roundTrip: number | null;
  protocol: string | null;
}

export interface Figures {
  fps: number;
  /** bit/s, sound included. */
  bitrate: number;
  /** Jitter buffer, decoder and half the round trip. */
  playout: number | null;
  /** Per frame. */
  decode: number | null;
  /** Share of video packets that never arrived, 0 to 1. */
  loss: number;
}

/** The fields used here; `lib.dom` lags behind browsers. */
interface Inbound {
  type: string;
  kind: string;
  codecId?: string;
  bytesReceived?: number;
  packetsReceived?: number;
  packetsLost?: number;
  framesReceived?: number;
  framesDecoded?: number;
  framesDropped?: number;
  freezeCount?: number;
  frameWidth?: number;
  frameHeight?: number;
  decoderImplementation?: string;
  powerEfficientDecoder?: boolean;
  jitterBufferDelay?: number;
  jitterBufferEmittedCount?: number;
  totalDecodeTime?: number;
}

/** The part of `RTCStatsReport` needed here. */
interface Report {
  values(): Iterable<unknown>;
  get(id: string): unknown;
}

interface Pair {
  type: string;
  nominated?: boolean;
  state?: string;
  currentRoundTripTime?: number;
  localCandidateId?: string;
}

export function sample(report: Report, at: number): Sample {
  const found: Sample = {
    at, bytes: 0, videoPackets: 0, videoLost: 0, framesReceived: 0, framesDecoded: 0, framesDropped: 0, freezes: 0,
    width: 0, height: 0, codec: null, audioCodec: null, decoder: null, hardware: null, bufferDelay: 0,
    bufferedFrames: 0, decodeTime: 0, roundTrip: null, protocol: null,
  };
  for (const entry of report.values()) {
    const stat = entry as Inbound & Pair;
    if (stat.type === 'inbound-rtp') {
      found.bytes += stat.bytesReceived ?? 0;
      const codec = codecOf(report, stat.codecId);
      if (stat.kind === 'audio') found.audioCodec = codec;
      if (stat.kind !== 'video') continue;
      found.codec = codec;
      found.videoPackets = stat.packetsReceived ?? 0;
      found.videoLost = Math.max(0, stat.packetsLost ?? 0);
      found.framesReceived = stat.framesReceived ?? 0;
      found.framesDecoded = stat.framesDecoded ?? 0;
      found.framesDropped = stat.framesDropped ?? 0;
      found.freezes = stat.freezeCount ?? 0;
      found.width = stat.frameWidth ?? 0;
      found.height = stat.frameHeight ?? 0;
      found.decoder = stat.decoderImplementation ?? null;
      found.hardware = stat.powerEfficientDecoder ?? null;
      found.bufferDelay = (stat.jitterBufferDelay ?? 0) * 1000;
      found.bufferedFrames = stat.jitterBufferEmittedCount ?? 0;
      found.decodeTime = (stat.totalDecodeTime ?? 0) * 1000;
    } else if (stat.type === 'candidate-pair' && (stat.nominated === true || stat.state === 'succeeded')) {
      if (stat.currentRoundTripTime !== undefined) found.roundTrip = stat.currentRoundTripTime * 1000;
      const local = stat.localCandidateId === undefined ? null : report.get(stat.localCandidateId);
      found.protocol = (local as { protocol?: string } | null | undefined)?.protocol ?? null;
    }
  }
  return found;
}

/** None when nothing can be said: no time passed, or the session is another one. */
export function figures(before: Sample, now: Sample): Figures | null {
  const seconds = (now.at - before.at) / 1000;
  if (seconds <= 0 || now.bytes < before.bytes || now.framesDecoded < before.framesDecoded) return null;
  const frames = now.framesDecoded - before.framesDecoded;
  const buffered = now.bufferedFrames - before.bufferedFrames;
  const lost = Math.max(0, now.videoLost - before.videoLost);
  const arrived = now.videoPackets - before.videoPackets;
  const decode = frames > 0 ? (now.decodeTime - before.decodeTime) / frames : null;
  return {
    fps: frames / seconds,
    bitrate: ((now.bytes - before.bytes) * 8) / seconds,
    playout: decode !== null && buffered > 0
      ? (now.bufferDelay - before.bufferDelay) / buffered + decode + (now.roundTrip ?? 0) / 2
      : null,
    decode,
    loss: lost + arrived > 0 ? lost / (lost + arrived) : 0,
  };
}

function codecOf(report: Report, id: string | undefined): string | null {
  const codec = id === undefined ? null : (report.get(id) as { mimeType?: string } | undefined);
  return codec?.mimeType?.split('/')[1] ?? null;
}
