// Watches a stream in headless Chromium through Capcast's own player page while its encoder is switched, and tells how
// the picture went on, one JSON object a line: {"watching": true} once frames flow; then, for each line that it reads,
// such as `video/VP9`, {"after": {…}} once frames of that codec have been shown, with what happened since the line
// before. Ends when its input ends.
//
// With `--through PORT`, what it says to /api/whep goes to that port of loopback instead of the page's own.
//
//   node switch.mjs URL [--limit SECONDS] [--frames N] [--through PORT]

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { parseArgs } from 'node:util';
import { openBrowser, through } from './chromium.mjs';

const { values: options, positionals: [url] } = parseArgs({
  allowPositionals: true,
  options: {
    limit: { type: 'string', default: '120' }, frames: { type: 'string', default: '20' }, through: { type: 'string' },
  },
});
/** Frames that must be shown before what was asked for counts as shown. */
const FRAMES = Number(options.frames);

const tell = (fact) => process.stdout.write(`${JSON.stringify(fact)}\n`);
const home = fs.mkdtempSync(path.join(os.tmpdir(), 'capcast-chromium-'));
const context = await openBrowser(home);
AbortSignal.timeout(options.limit * 1000).addEventListener('abort', () => {
  end(1, { error: `nothing more was asked within ${options.limit} s` });
});

async function end(code, fact) {
  if (fact !== undefined) tell(fact);
  await context.close().catch(() => undefined);
  fs.rmSync(home, { recursive: true, force: true });
  process.exit(code);
}

try {
  const page = await context.newPage();
  await page.addInitScript(keepPeers);
  if (options.through !== undefined) await through(page, options.through);
  await page.goto(url);
  await page.locator('html[data-state=playing]').waitFor({ state: 'attached', timeout: 60_000 });
  await page.evaluate(record);
  await page.evaluate(shown, { codec: null, frames: FRAMES });
  await page.evaluate(since);
  tell({ watching: true });
  for await (const codec of readline.createInterface({ input: process.stdin })) {
    await page.evaluate(shown, { codec, frames: FRAMES });
    tell({ after: await page.evaluate(since) });
  }
  await end(0);
} catch (error) {
  await end(1, { error: String(error) });
}

/** Runs in the page before its own script. */
function keepPeers() {
  window.peers = [];
  const Real = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Real {
    constructor(...rest) {
      super(...rest);
      window.peers.push(this);
    }
  };
}

/** Runs in the page: notes every frame that is shown. */
function record() {
  const video = document.getElementById('picture');
  window.shownFrames = [];
  const look = (_, frame) => {
    window.shownFrames.push({ at: frame.presentationTime, number: frame.presentedFrames, rtp: frame.rtpTimestamp });
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
}

/** Runs in the page: returns once so many more frames were shown, the last of them decoded from this codec. */
async function shown({ codec, frames }) {
  const present = async () => {
    const report = await window.peers.at(-1).getStats();
    for (const stat of report.values()) {
      if (stat.type === 'inbound-rtp' && stat.kind === 'video') return report.get(stat.codecId)?.mimeType;
    }
    return undefined;
  };
  while (codec !== null && await present() !== codec) await new Promise((resolve) => { requestAnimationFrame(resolve); });
  const wanted = window.shownFrames.length + frames;
  while (window.shownFrames.length < wanted) await new Promise((resolve) => { requestAnimationFrame(resolve); });
}

/** Runs in the page: what happened since this was last asked. */
async function since() {
  const before = window.before ?? { frames: 0 };
  const frames = window.shownFrames.slice(Math.max(before.frames - 1, 0));
  let [longest, backwards] = [0, 0];
  for (let at = 1; at < frames.length; at++) {
    const [last, next] = [frames[at - 1], frames[at]];
    // Where callbacks were missed, frames were shown in between.
    longest = Math.max(longest, (next.at - last.at) / Math.max(next.number - last.number, 1));
    if (((next.rtp - last.rtp) | 0) <= 0) backwards += 1;
  }
  const report = await window.peers.at(-1).getStats();
  const kinds = {};
  for (const stat of report.values()) if (stat.type === 'inbound-rtp') kinds[stat.kind] = stat;
  const { video, audio } = kinds;
  const now = {
    frames: window.shownFrames.length, plis: video.pliCount, freezes: video.freezeCount, dropped: video.framesDropped,
    lost: video.packetsLost, concealments: audio?.concealmentEvents ?? 0,
  };
  const grown = {};
  for (const [name, value] of Object.entries(now)) grown[name] = value - (before[name] ?? 0);
  window.before = now;
  return {
    ...grown, codec: report.get(video.codecId)?.mimeType, width: video.frameWidth, ssrc: video.ssrc, backwards,
    longestGapMs: Math.round(longest), connections: window.peers.length,
  };
}
