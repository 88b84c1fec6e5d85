// Opens a room's page in headless Chromium and does what its input says, one JSON object a line for what it sees:
// {"tiles": {NAME: {…}}} whenever the page's tiles or their states change, and after each line of input what was asked
// for. Ends when its input ends.
//
//   node room.mjs URL [--limit SECONDS]
//
// measure          {"measured": {connections, open, tiles: {NAME: {track, frames, width, sound, muted}}}}
// frames NAME…     {"frames": {…}}, as measured, once 30 more frames were shown of each of these
// sound NAME       clicks its sound; {"sound": {NAME: {muted, rms}}} once something is heard
// key NAME KEY     gives it a key; {"key": NAME}
// full NAME        full screen and back; {"full": NAME}
// follow NAME      opens its own page by the link; {"followed": {url, state}} once that plays
// shot FILE WIDTHxHEIGHT light|dark    {"shot": FILE, "wide": how far the page is wider than the window}

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { parseArgs } from 'node:util';
import { openBrowser } from './chromium.mjs';

const { values: options, positionals: [url] } = parseArgs({
  allowPositionals: true,
  options: { limit: { type: 'string', default: '240' } },
});
const PATIENCE = 40_000;
const tell = (fact) => process.stdout.write(`${JSON.stringify(fact)}\n`);
const home = fs.mkdtempSync(path.join(os.tmpdir(), 'capcast-chromium-'));
const context = await openBrowser(home);
let ending = false;
async function end(fact) {
  if (ending) return;
  ending = true;
  if (fact !== null) tell(fact);
  await context.close().catch(() => undefined);
  fs.rmSync(home, { recursive: true, force: true });
  process.exit(fact === null ? 0 : 1);
}
AbortSignal.timeout(options.limit * 1000).addEventListener('abort', () => end({ error: `over after ${options.limit} s` }));

try {
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.on('pageerror', (error) => tell({ error: `the page threw: ${error.message}` }));
  page.on('console', (message) => {
    if (/Content Security Policy/i.test(message.text())) tell({ error: message.text() });
  });
  await page.exposeFunction('capcastTiles', (tiles) => tell({ tiles }));
  await page.addInitScript(observe);
  await page.goto(url);
  const tile = (name) => page.locator(`[data-stream="${name}"]`);
  const commands = {
    async measure() {
      return { measured: await page.evaluate(measure) };
    },
    async frames(...names) {
      const before = await page.evaluate(measure);
      const shown = (now) => names.every((name) => (now.tiles[name]?.frames ?? 0) >= (before.tiles[name]?.frames ?? 0) + 30);
      let now = before;
      for (const over = Date.now() + PATIENCE; !shown(now); now = await page.evaluate(measure)) {
        if (Date.now() > over) throw new Error(`frames do not flow: ${JSON.stringify({ before, now })}`);
        await page.evaluate(() => new Promise((painted) => { requestAnimationFrame(painted); }));
      }
      return { frames: now };
    },
    async sound(name) {
      await tile(name).locator('.sound').click();
      return { sound: { [name]: await page.evaluate(heard, name) } };
    },
    async key(name, key) {
      await tile(name).locator('input').fill(key);
      await tile(name).locator('form button').click();
      return { key: name };
    },
    async full(name) {
      await tile(name).locator('.full').click();
      await page.waitForFunction((wanted) => document.fullscreenElement?.dataset.stream === wanted, name);
      await page.evaluate(() => document.exitFullscreen());
      await page.waitForFunction(() => document.fullscreenElement === null);
      return { full: name };
    },
    async follow(name) {
      const href = await tile(name).locator('.name').getAttribute('href');
      const alone = await context.newPage();
      await alone.goto(new URL(href, url).href);
      await alone.waitForFunction(() => document.documentElement.dataset.state === 'playing', null, { timeout: PATIENCE });
      await alone.close();
      return { followed: href };
    },
    async shot(file, size, colorScheme) {
      const [width, height] = size.split('x').map(Number);
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      await page.evaluate(() => new Promise((painted) => { requestAnimationFrame(() => requestAnimationFrame(painted)); }));
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      await page.screenshot({ path: file });
      return { shot: file, wide };
    },
  };
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [command, ...words] = line.trim().split(' ');
    tell(await commands[command](...words));
  }
  await end(null);
} catch (error) {
  await end({ error: String(error) });
}

/** Runs in the page before its own script: keeps its connections, and reports its tiles. */
function observe() {
  window.peers = [];
  const Real = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Real {
    constructor(...rest) {
      super(...rest);
      window.peers.push(this);
    }
  };
  document.addEventListener('DOMContentLoaded', () => {
    let last = '';
    new MutationObserver(() => {
      const tiles = {};
      for (const tile of document.querySelectorAll('.tile')) {
        const { stream, state, gone } = tile.dataset;
        tiles[stream] = { state, gone: gone === 'true', words: tile.querySelector('.veil')?.innerText ?? '' };
      }
      // A countdown is no change.
      const now = JSON.stringify(tiles).replace(/in \d+ s/g, '');
      if (now !== last) window.capcastTiles(tiles);
      last = now;
    }).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
  });
}

/** Runs in the page: what each tile shows, and how many connections there were and are. */
function measure() {
  const tiles = {};
  for (const tile of document.querySelectorAll('.tile')) {
    const [video, voice] = [tile.querySelector('video'), tile.querySelector('audio')];
    tiles[tile.dataset.stream] = {
      track: video.srcObject?.getVideoTracks()[0]?.id ?? null,
      frames: video.getVideoPlaybackQuality().totalVideoFrames,
      width: video.videoWidth,
      sound: tile.dataset.sound,
      muted: voice.muted,
    };
  }
  const open = window.peers.filter(({ connectionState }) => connectionState !== 'closed').length;
  return { connections: window.peers.length, open, tiles };
}

/** Runs in the page: the loudest RMS of a tile's sound within some seconds. */
async function heard(name) {
  const voice = document.querySelector(`[data-stream="${name}"] audio`);
  const audio = new AudioContext();
  const analyser = audio.createAnalyser();
  audio.createMediaStreamSource(voice.srcObject).connect(analyser);
  await audio.resume();
  const samples = new Float32Array(analyser.fftSize);
  let rms = 0;
  for (const over = performance.now() + 10_000; performance.now() < over && rms < 0.05;) {
    await new Promise((painted) => { requestAnimationFrame(painted); });
    analyser.getFloatTimeDomainData(samples);
    rms = Math.max(rms, Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length));
  }
  await audio.close();
  return { muted: voice.muted, paused: voice.paused, rms };
}
