// Measures from the raw picture to the screen: reads the stamp that Capcast burns into its test picture (see
// src/engine/stamp.rs) back from the player page in headless Chromium, frame by frame as shown.
//
//   node glass.mjs URL [--seconds N] [--warm-up N]
//
// Prints one JSON object; delays in milliseconds.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { openBrowser } from '../tests/browser/chromium.mjs';

const { values: options, positionals: [url] } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '20' },
    // The jitter buffer and the encoder's rate control settle first.
    'warm-up': { type: 'string', default: '3' },
  },
});

const home = fs.mkdtempSync(path.join(os.tmpdir(), 'capcast-glass-'));
const context = await openBrowser(home);
let code = 0;
try {
  const page = await context.newPage();
  await page.addInitScript(() => {
    window.peers = [];
    const Real = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends Real {
      constructor(...rest) {
        super(...rest);
        window.peers.push(this);
      }
    };
  });
  await page.goto(url);
  await page.locator('html[data-state=playing]').waitFor({ state: 'attached', timeout: 30_000 });
  await page.waitForTimeout(Number(options['warm-up']) * 1000);
  const { shown, stats } = await page.evaluate(readStamps, Number(options.seconds) * 1000);
  console.log(JSON.stringify({ ...stats, ...summary(shown) }));
} catch (error) {
  console.log(JSON.stringify({ error: String(error) }));
  code = 1;
} finally {
  await context.close();
  fs.rmSync(home, { recursive: true, force: true });
}
process.exit(code);

function summary(shown) {
  // A stamp that could not be read gives nonsense in one of the two rows.
  const first = shown[0]?.number ?? 0;
  const readable = shown.filter(({ delay, number }) => delay >= 0 && delay < 10_000 && number - first < 1e5 && number >= first);
  const delays = readable.map(({ delay }) => delay).sort((a, b) => a - b);
  const at = (share) => delays[Math.min(delays.length - 1, Math.floor(delays.length * share))];
  const numbers = new Set(readable.map(({ number }) => number));
  const span = numbers.size === 0 ? 0 : Math.max(...numbers) - Math.min(...numbers) + 1;
  return {
    frames: delays.length, unreadable: shown.length - readable.length, not_shown: span - numbers.size,
    p50_ms: at(0.5), p95_ms: at(0.95), min_ms: delays[0], max_ms: delays.at(-1),
  };
}

/** Runs in the page. */
async function readStamps(milliseconds) {
  const video = document.getElementById('picture');
  const canvas = document.createElement('canvas');
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const shown = [];
  const end = performance.now() + milliseconds;
  await new Promise((resolve) => {
    const frame = () => {
      const block = video.videoWidth / 80;
      canvas.width = Math.ceil(block * 32);
      canvas.height = Math.ceil(block * 2);
      context.drawImage(video, 0, 0, canvas.width, canvas.height, 0, 0, canvas.width, canvas.height);
      const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
      const now = performance.timeOrigin + performance.now();
      const row = (index) => {
        let value = 0;
        for (let bit = 0; bit < 32; bit++) {
          const x = Math.floor((bit + 0.5) * block);
          const y = Math.floor((index + 0.5) * block);
          value = value * 2 + (data[(y * canvas.width + x) * 4 + 1] > 127 ? 1 : 0);
        }
        return value;
      };
      // The picture has room for 32 bits of the clock.
      let delay = (now - row(0)) % 2 ** 32;
      if (delay > 2 ** 31) delay -= 2 ** 32;
      shown.push({ delay: Math.round(delay * 10) / 10, number: row(1) });
      if (performance.now() < end) video.requestVideoFrameCallback(frame);
      else resolve();
    };
    video.requestVideoFrameCallback(frame);
  });
  const report = await window.peers.at(-1).getStats();
  const inbound = [...report.values()].find((stat) => stat.type === 'inbound-rtp' && stat.kind === 'video');
  return {
    shown,
    stats: {
      codec: report.get(inbound.codecId)?.mimeType, size: `${inbound.frameWidth}x${inbound.frameHeight}`,
      decoded: inbound.framesDecoded, dropped: inbound.framesDropped, lost: inbound.packetsLost,
      freezes: inbound.freezeCount, estimate: document.getElementById('brief').textContent,
    },
  };
}
