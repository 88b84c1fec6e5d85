// Watches a stream in Debian's Firefox, headless, through Capcast's own player page, and tells in one JSON line what it
// saw: {"played": {…}} or {"error": …}. Drives it by Marionette, the protocol that Firefox has for that: frames of
// `LENGTH:JSON` over TCP, a command is [0, id, name, parameters], its answer [1, id, error, result].
//
//   node firefox.mjs URL [--shot FILE] [--limit SECONDS]

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { parseArgs } from 'node:util';

const { values: options, positionals: [url] } = parseArgs({
  allowPositionals: true,
  options: { shot: { type: 'string' }, limit: { type: 'string', default: '80' } },
});

const EXECUTABLE = process.env.FIREFOX ?? '/usr/bin/firefox-esr';
/** A profile that asks nobody anything. */
const PREFERENCES = {
  'marionette.port': 0,
  'remote.log.level': 'Info',
  'app.normandy.enabled': false,
  'messaging-system.rsexperimentloader.enabled': false,
  'app.update.disabledForTesting': true,
  'browser.safebrowsing.malware.enabled': false,
  'browser.safebrowsing.phishing.enabled': false,
  'browser.shell.checkDefaultBrowser': false,
  'browser.startup.page': 0,
  'datareporting.policy.dataSubmissionEnabled': false,
  'extensions.getAddons.cache.enabled': false,
  'extensions.update.enabled': false,
  'media.gmp-manager.updateEnabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'network.dns.disablePrefetch': true,
  'network.prefetch-next': false,
  'services.settings.server': 'data:,',
  'toolkit.telemetry.server': 'data:,',
};

const tell = (fact) => process.stdout.write(`${JSON.stringify(fact)}\n`);
const home = fs.mkdtempSync(path.join(os.tmpdir(), 'capcast-firefox-'));
fs.writeFileSync(path.join(home, 'user.js'), Object.entries(PREFERENCES)
  .map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`).join(''));
const firefox = spawn(EXECUTABLE, ['--headless', '--marionette', '--no-remote', '--profile', home], {
  stdio: ['ignore', 'pipe', 'pipe'],
  env: { ...process.env, HOME: home, MOZ_DISABLE_AUTO_SAFE_MODE: '1', MOZ_CRASHREPORTER_DISABLE: '1' },
});
const said = [];
let ending = false;

AbortSignal.timeout(options.limit * 1000).addEventListener('abort', () => {
  end({ error: `not enough was seen within ${options.limit} s; Firefox says: ${said.slice(-5).join(' | ')}` });
});
// Whoever started this is gone, or wants no more.
process.stdin.on('end', () => end(null)).resume();
firefox.on('error', (error) => end({ error: `${EXECUTABLE}: ${error.message}` }));
firefox.on('exit', (code) => end({ error: `Firefox ended by itself (${code}): ${said.slice(-5).join(' | ')}` }));

function end(fact) {
  if (ending) return;
  ending = true;
  if (fact !== null) tell(fact);
  const gone = () => {
    fs.rmSync(home, { recursive: true, force: true, maxRetries: 20 });
    process.exit(fact === null || 'error' in fact ? 1 : 0);
  };
  if (firefox.pid === undefined || firefox.exitCode !== null || firefox.signalCode !== null) return gone();
  firefox.once('exit', gone);
  firefox.kill('SIGKILL');
}

/** The port that it says it listens on. */
function listening() {
  return new Promise((resolve) => {
    for (const stream of [firefox.stdout, firefox.stderr]) {
      readline.createInterface({ input: stream }).on('line', (line) => {
        said.push(line);
        const found = /Marionette\s+INFO\s+Listening on port (\d+)/.exec(line);
        if (found !== null) resolve(Number(found[1]));
      });
    }
  });
}

/** A connection: a function that sends a command and gives its result. */
function connect(port) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1');
    const waiting = new Map();
    let last = 0;
    let rest = Buffer.alloc(0);
    const command = (name, parameters = {}) => new Promise((done, failed) => {
      last += 1;
      waiting.set(last, { done, failed });
      const text = JSON.stringify([0, last, name, parameters]);
      socket.write(`${Buffer.byteLength(text)}:${text}`);
    });
    const take = (message) => {
      if (!Array.isArray(message)) return resolve(command); // its greeting
      const [, id, error, result] = message;
      const { done, failed } = waiting.get(id);
      waiting.delete(id);
      if (error === null) done(result);
      else failed(new Error(`${error.error}: ${error.message}`));
    };
    socket.on('error', reject);
    socket.on('data', (chunk) => {
      rest = Buffer.concat([rest, chunk]);
      for (let colon; (colon = rest.indexOf(':')) > 0;) {
        const stop = colon + 1 + Number(rest.subarray(0, colon));
        if (rest.length < stop) return;
        take(JSON.parse(rest.subarray(colon + 1, stop)));
        rest = rest.subarray(stop);
      }
    });
  });
}

try {
  const command = await connect(await listening());
  const run = async (script) => (await command('WebDriver:ExecuteAsyncScript', { script, args: [] })).value;
  const { capabilities } = await command('WebDriver:NewSession');
  await command('WebDriver:SetTimeouts', { script: options.limit * 1000 });
  await command('WebDriver:Navigate', { url });
  // Functions go over as text, as a browser test's always do.
  await run(`(${reaches})('playing').then(arguments[0])`);
  const press = (value) => command('WebDriver:PerformActions', {
    actions: [{ type: 'key', id: 'keys', actions: [{ type: 'keyDown', value }, { type: 'keyUp', value }] }],
  });
  const { value: sound } = await command('WebDriver:ExecuteScript', { script: 'return document.documentElement.dataset.sound', args: [] });
  if (sound !== 'on') await press('m');
  await press('s');
  const result = async (script) => {
    const given = await run(`(${script}).then(arguments[0], (error) => arguments[0]({ failed: String(error) }))`);
    if (given.failed !== undefined) throw new Error(given.failed);
    return given;
  };
  const played = await result(`(${measure})()`);
  const heard = await result(`(${listen})()`);
  if (options.shot !== undefined) {
    const { value } = await command('WebDriver:TakeScreenshot', { full: false });
    fs.writeFileSync(options.shot, Buffer.from(value, 'base64'));
  }
  end({ played: { version: capabilities.browserVersion, ...played, heard } });
} catch (error) {
  end({ error: String(error) });
}

/** Runs in the page: returns once the player says that it is in this state. */
function reaches(state) {
  return new Promise((resolve) => {
    const look = () => {
      if (document.documentElement.dataset.state === state) resolve(null);
    };
    new MutationObserver(look).observe(document.documentElement, { attributeFilter: ['data-state'] });
    look();
  });
}

/** Runs in the page: what is seen once 60 more pictures were shown, and what the player's statistics say. */
async function measure() {
  const video = document.getElementById('picture');
  const voice = document.getElementById('voice');
  const painted = () => new Promise((resolve) => { requestAnimationFrame(resolve); });
  // Firefox counts no frames of a live stream in getVideoPlaybackQuality().
  const shown = () => new Promise((resolve) => { video.requestVideoFrameCallback((_, { rtpTimestamp }) => resolve(rtpTimestamp)); });
  const times = new Set();
  while (times.size < 60) times.add(await shown());
  const canvas = document.createElement('canvas');
  canvas.width = 160;
  canvas.height = 90;
  const context = canvas.getContext('2d');
  context.drawImage(video, 0, 0, 160, 90);
  const { data } = context.getImageData(0, 0, 160, 90);
  const lumas = [];
  for (let at = 0; at < data.length; at += 4) lumas.push(0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2]);
  const luma = lumas.reduce((sum, one) => sum + one, 0) / lumas.length;
  const contrast = Math.sqrt(lumas.reduce((sum, one) => sum + (one - luma) ** 2, 0) / lumas.length);
  return {
    width: video.videoWidth, height: video.videoHeight, frames: times.size, contrast: Math.round(contrast),
    sounding: !voice.paused && !voice.muted && voice.volume > 0, figures: document.querySelector('#figures dl').innerText,
  };
}

/** Runs in the page: Firefox's own numbers of a second session, for it says how loud the sound is there alone. */
async function listen() {
  const peer = new RTCPeerConnection();
  const elements = [];
  peer.ontrack = ({ track }) => {
    const element = document.createElement(track.kind);
    element.srcObject = new MediaStream([track]);
    elements.push(element);
    return element.play();
  };
  for (const kind of ['video', 'audio']) peer.addTransceiver(kind, { direction: 'recvonly' });
  await peer.setLocalDescription();
  const headers = { 'content-type': 'application/sdp' };
  const created = await fetch('/api/whep', { method: 'POST', headers, body: peer.localDescription.sdp });
  await peer.setRemoteDescription({ type: 'answer', sdp: await created.text() });
  for (;;) {
    await new Promise((resolve) => { requestAnimationFrame(resolve); });
    const found = {};
    const report = await peer.getStats();
    for (const stat of report.values()) {
      if (stat.type === 'inbound-rtp') found[stat.kind] = { ...stat, codec: report.get(stat.codecId)?.mimeType };
    }
    const { video, audio } = found;
    if (!(video?.framesDecoded >= 30 && audio?.totalSamplesDuration >= 1)) continue;
    const ended = await fetch(created.headers.get('location'), { method: 'DELETE' });
    peer.close();
    return {
      video: video.codec, audio: audio.codec, level: audio.audioLevel, lost: video.packetsLost + audio.packetsLost,
      frames: video.framesDecoded, keyframes: video.keyFramesDecoded, ended: ended.status,
    };
  }
}
