import { expect, test } from 'vitest';
import { figures, sample } from '../src/player/figures';

const report = (bytes: number, frames: number, lost: number) =>
  new Map<string, unknown>([
    ['v', {
      type: 'inbound-rtp', kind: 'video', codecId: 'c', bytesReceived: bytes, packetsReceived: frames * 4,
      packetsLost: lost, framesReceived: frames, framesDecoded: frames, frameWidth: 1280, frameHeight: 720,
      jitterBufferDelay: frames * 0.004, jitterBufferEmittedCount: frames, totalDecodeTime: frames * 0.003,
    }],
    ['a', { type: 'inbound-rtp', kind: 'audio', codecId: 'o', bytesReceived: bytes / 10 }],
    ['p', { type: 'candidate-pair', nominated: true, currentRoundTripTime: 0.01, localCandidateId: 'l' }],
    ['c', { type: 'codec', mimeType: 'video/VP9' }],
    ['o', { type: 'codec', mimeType: 'audio/opus' }],
    ['l', { type: 'local-candidate', protocol: 'udp' }],
  ]);

test('two samples make figures', () => {
  const before = sample(report(100_000, 30, 0), 1000);
  const now = sample(report(350_000, 90, 60), 3000);
  expect(now).toMatchObject({
    width: 1280, height: 720, codec: 'VP9', audioCodec: 'opus', protocol: 'udp', framesDecoded: 90,
  });
  const found = figures(before, now);
  expect(found?.fps).toBe(30);
  expect(found?.bitrate).toBe(1_100_000);
  expect(found?.decode).toBeCloseTo(3);
  expect(found?.playout).toBeCloseTo(4 + 3 + 5);
  expect(found?.loss).toBeCloseTo(0.2);
});

test('a new session or no passing of time makes none', () => {
  const before = sample(report(100_000, 30, 0), 1000);
  expect(figures(before, sample(report(1000, 2, 0), 2000))).toBeNull();
  expect(figures(before, sample(report(200_000, 60, 0), 1000))).toBeNull();
});
