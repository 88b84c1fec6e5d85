// Watches a stream in headless Chromium through Capcast's own player page, and tells what it sees, one JSON object a
// line: {"state": …, "words": …} whenever the page's state changes, {"played": {…}} after each start of playing has
// been measured, {"shot": file} after the screenshot, {"error": …} when something went wrong. Ends by itself, or when
// its input ends.
//
//   node player.mjs URL [--plays N] [--resizes N] [--layers LIST] [--until STATE] [--only CODEC] [--tcp]
//                       [--through PORT] [--shot FILE] [--paused-shot FILE] [--limit SECONDS]
//
// --plays N     end after the Nth start of playing was measured (default 1)
// --resizes N   after that, wait N times for a picture of another size, and measure: {"resized": {…}}
// --layers LIST after that, choose these from the page's menu of layers, one after the other, each of another size than
//               the one before, and measure: {"layer": {…}}; separated by commas, as the menu has them
// --until STATE end when the page reaches this state instead
// --only CODEC  a browser that can receive no other video codec than this, such as VP8
// --tcp         a browser that UDP does not reach
// --through P   what it says to /api/whep goes to that port of loopback instead of the page's own
// --shot FILE   a screenshot at the end
// --paused-shot FILE   a screenshot once the picture has been paused
// --limit S     give up after this long (default 60)

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { openBrowser, measurePlaying, through, withoutUdp } from './chromium.mjs';

const { values: options, positionals: [url] } = parseArgs({
  allowPositionals: true,
  options: {
    plays: { type: 'string', default: '1' },
    resizes: { type: 'string', default: '0' },
    layers: { type: 'string', default: '' },
    until: { type: 'string' },
    only: { type: 'string' },
    tcp: { type: 'boolean', default: false },
    through: { type: 'string' },
    shot: { type: 'string' },
    'paused-shot': { type: 'string' },
    limit: { type: 'string', default: '60' },
  },
});

const tell = (fact) => process.stdout.write(`${JSON.stringify(fact)}\n`);
const home = fs.mkdtempSync(path.join(os.tmpdir(), 'capcast-chromium-'));
let context;
let code = 1;

AbortSignal.timeout(options.limit * 1000).addEventListener('abort', () => {
  end({ error: `nothing more happened within ${options.limit} s` });
});
// Whoever started this is gone, or wants no more.
process.stdin.on('end', () => end(null)).resume();

let ending = false;
async function end(fact) {
  if (ending) return;
  ending = true;
  if (fact !== null) tell(fact);
  await context?.close().catch(() => undefined);
  fs.rmSync(home, { recursive: true, force: true });
  process.exit(code);
}

try {
  context = await openBrowser(home);
  const page = await context.newPage();
  page.on('pageerror', (error) => tell({ error: `the page threw: ${error.message}` }));
  page.on('console', (message) => {
    const text = message.text();
    if (/Content Security Policy/i.test(text)) tell({ error: text });
  });

  let begun = 0;
  let plays = 0;
  let size = '';
  let settled;
  const done = new Promise((resolve) => { settled = resolve; });
  const seen = async (state, words) => {
    tell({ state, words });
    const shot = state === 'paused' ? options['paused-shot'] : undefined;
    if (shot !== undefined) {
      await page.screenshot({ path: shot });
      tell({ shot });
    }
    if (options.until !== undefined) {
      if (state === options.until) settled();
      return;
    }
    // A player that loses its picture and finds it again plays once more: that must not take the sizes from who counts them.
    if (state !== 'playing' || begun === Number(options.plays)) return;
    begun += 1;
    if (options.resizes !== '0' || options.layers !== '') size = await page.evaluate(resized, size);
    const connections = await page.evaluate(() => window.peers.length);
    tell({ played: { ...await measurePlaying(page), connections } });
    plays += 1;
    if (plays < Number(options.plays)) return;
    for (let count = 0; count < Number(options.resizes); count++) {
      size = await page.evaluate(resized, size);
      const connections = await page.evaluate(() => window.peers.length);
      tell({ resized: { ...await measurePlaying(page), connections } });
    }
    for (const label of options.layers.split(',').filter((name) => name !== '')) {
      const menu = page.locator('#layer');
      await page.mouse.move(600, 320);
      await menu.waitFor({ state: 'visible' });
      const offered = (await menu.locator('option').allInnerTexts()).map((text) => text.trim());
      const taken = page.waitForResponse((one) => one.request().method() === 'POST' && one.url().includes('/api/layer/'));
      await menu.selectOption({ label });
      const status = (await taken).status();
      size = await page.evaluate(resized, size);
      const connections = await page.evaluate(() => window.peers.length);
      tell({ layer: { ...await measurePlaying(page), label, offered, status, connections } });
    }
    settled();
  };
  await page.exposeFunction('capcastState', (state, words) => {
    seen(state, words).catch((error) => end({ error: String(error) }));
  });
  if (options.through !== undefined) await through(page, options.through);
  if (options.tcp) await page.addInitScript(withoutUdp);
  await page.addInitScript(observe, options.only ?? null);
  await page.goto(url);
  await done;
  if (options.shot !== undefined) {
    await page.screenshot({ path: options.shot });
    tell({ shot: options.shot });
  }
  code = 0;
  await end(null);
} catch (error) {
  await end({ error: String(error) });
}

/** Runs in the page: gives the picture's size once it has another one than this. */
function resized(before) {
  const video = document.getElementById('picture');
  return new Promise((resolve) => {
    const look = () => {
      const size = `${video.videoWidth}x${video.videoHeight}`;
      if (video.videoWidth === 0 || size === before) return;
      video.removeEventListener('resize', look);
      resolve(size);
    };
    video.addEventListener('resize', look);
    look();
  });
}

/** Runs in the page before its own script: keeps its peer connections, and reports its states. */
function observe(only) {
  window.peers = [];
  const Real = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Real {
    constructor(...rest) {
      super(...rest);
      window.peers.push(this);
    }

    addTransceiver(kind, ...rest) {
      const transceiver = super.addTransceiver(kind, ...rest);
      if (only !== null && kind === 'video') {
        transceiver.setCodecPreferences(
          RTCRtpReceiver.getCapabilities('video').codecs.filter(({ mimeType }) => mimeType === `video/${only}`),
        );
      }
      return transceiver;
    }
  };
  document.addEventListener('DOMContentLoaded', () => {
    let last = '';
    const report = () => {
      const { state } = document.documentElement.dataset;
      const words = document.getElementById('spoken').textContent;
      const both = `${state}|${words}`;
      // A state and its words change one after the other, in the same task.
      if (both !== last) window.capcastState(state, words);
      last = both;
    };
    new MutationObserver(report).observe(document.documentElement, { attributeFilter: ['data-state'] });
    new MutationObserver(report).observe(document.getElementById('spoken'), { childList: true });
    report();
  });
}
