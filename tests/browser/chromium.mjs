// Debian's Chromium, headless, and what can be measured in a page that plays.

import { chromium } from 'playwright-core';

const EXECUTABLE = process.env.CHROMIUM ?? '/usr/bin/chromium';

/** Frames that must be decoded before a picture counts as moving. */
const FRAMES = 30;
/** How long one measurement may take. */
const PATIENCE = 40_000;

export function openBrowser(home) {
  return chromium.launchPersistentContext(home, {
    executablePath: EXECUTABLE,
    headless: true,
    viewport: { width: 1280, height: 720 },
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--disable-features=WebRtcHideLocalIpsWithMdns',
      '--disable-backgrounding-occluded-windows', '--disable-renderer-backgrounding',
    ],
  });
}

/** Sends what the page says to /api/whep to that port of loopback instead of the page's own. */
export function through(page, port) {
  return page.route(/\/api\/whep/, (route) => {
    const place = new URL(route.request().url());
    place.port = port;
    return route.continue({ url: place.href });
  });
}

/**
 * Runs in a page before its own script: a browser that UDP does not reach. It hears of no candidate of the server's over
 * UDP, and tells none of its own, so that neither side tries.
 */
export function withoutUdp() {
  const { fetch } = window;
  window.fetch = (to, init = {}) => fetch(to, {
    ...init,
    ...(typeof init.body === 'string' ? { body: init.body.replace(/a=candidate:.*\r\n/g, '') } : {}),
  });
  const set = RTCPeerConnection.prototype.setRemoteDescription;
  RTCPeerConnection.prototype.setRemoteDescription = function overTcp({ type, sdp }) {
    return set.call(this, { type, sdp: sdp.replace(/a=candidate:\S+ \d+ udp .*\r\n/gi, '') });
  };
}

/** Turns the sound on as a viewer would, waits for frames to flow, and says what arrived. */
export async function measurePlaying(page) {
  const begin = await page.evaluate(inbound);
  await page.mouse.move(500, 300);
  if (await page.locator('html').getAttribute('data-sound') !== 'on') await page.mouse.click(500, 300);
  const wanted = (begin.video?.framesDecoded ?? 0) + FRAMES;
  let { video: flowing } = begin;
  for (const end = Date.now() + PATIENCE; (flowing?.framesDecoded ?? 0) < wanted;) {
    if (Date.now() > end) throw new Error(`frames do not flow: ${JSON.stringify(flowing)}, at first ${JSON.stringify(begin.video)}`);
    await page.evaluate(painted);
    ({ video: flowing } = await page.evaluate(inbound));
  }
  const sound = await page.evaluate(loudest);
  const picture = await page.evaluate(look);
  const level = await page.evaluate(told);
  const { video, audio, transport } = await page.evaluate(inbound);
  return {
    video: video.codec, audio: audio?.codec ?? null, width: video.frameWidth, height: video.frameHeight,
    shownWidth: picture.width, shownHeight: picture.height, luma: picture.luma, contrast: picture.contrast,
    framesBefore: begin.video?.framesDecoded ?? 0, frames: video.framesDecoded, keyframes: video.keyFramesDecoded,
    dropped: video.framesDropped, lost: video.packetsLost, plis: video.pliCount, fps: video.framesPerSecond ?? null,
    transport, rms: sound.rms, sounding: sound.sounding, level, brief: await page.textContent('#brief'),
  };
}

/** Runs in the page: the newest connection's inbound statistics by kind, and what carries them. */
async function inbound() {
  const found = {};
  const report = await window.peers.at(-1).getStats();
  for (const stat of report.values()) {
    if (stat.type === 'inbound-rtp') found[stat.kind] = { ...stat, codec: report.get(stat.codecId)?.mimeType ?? null };
    if (stat.type === 'transport') {
      found.transport = report.get(report.get(stat.selectedCandidatePairId)?.localCandidateId)?.protocol ?? null;
    }
  }
  return found;
}

/** Runs in the page: returns when it has been painted once more, whether or not a new frame came. */
function painted() {
  return new Promise((resolve) => { requestAnimationFrame(resolve); });
}

/** Runs in the page: the loudest RMS of the sound within two seconds, or the first that is heard after them, and whether the page's own element plays it. */
async function loudest() {
  const track = window.peers.at(-1).getReceivers().find((receiver) => receiver.track.kind === 'audio')?.track;
  if (track === undefined || track.muted) return { rms: 0, sounding: false };
  const audio = new AudioContext();
  const analyser = audio.createAnalyser();
  audio.createMediaStreamSource(new MediaStream([track])).connect(analyser);
  await audio.resume();
  const samples = new Float32Array(analyser.fftSize);
  let rms = 0;
  for (const began = performance.now(); performance.now() < began + (rms > 0 ? 2_000 : 10_000);) {
    await new Promise((resolve) => { requestAnimationFrame(resolve); });
    analyser.getFloatTimeDomainData(samples);
    rms = Math.max(rms, Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length));
    if (rms > 0.06) break;
  }
  await audio.close();
  const voice = document.getElementById('voice');
  return { rms, sounding: !voice.paused && !voice.muted && voice.volume > 0 };
}

/** Runs in the page: how loud the sound is by what its packets say (RFC 6464), 1 at most; null where they say nothing. */
function told() {
  const receiver = window.peers.at(-1).getReceivers().find(({ track }) => track.kind === 'audio');
  return receiver?.getSynchronizationSources()[0]?.audioLevel ?? null;
}

/** Runs in the page: the picture on the screen in numbers. A black, grey or green screen has no contrast. */
function look() {
  const video = document.getElementById('picture');
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
  return { width: video.videoWidth, height: video.videoHeight, luma: Math.round(luma), contrast: Math.round(contrast) };
}
