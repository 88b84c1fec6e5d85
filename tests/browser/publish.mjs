// Headless Chromium publishes a moving picture and a tone by WHIP, from a page of another origin than the server's, until
// its input ends. Tells one JSON object a line: {"answered": {…}}, {"sending": {…}} once 30 pictures were sent of every
// layer that it means to send, {"restarted": {…}} once ICE was restarted because its input said `restart` and media goes
// the new way, {"deleted": STATUS} at the end.
//
//   node publish.mjs ENDPOINT --bearer KEY [--codec VP8] [--size 640x360] [--hue DEGREES] [--simulcast] [--trickle] [--tcp]
//
// --hue DEGREES  the picture's colour
// --simulcast    two layers, h and l, of full and half size; Chromium sends no third of so small a picture
// --tcp          a browser that UDP does not reach
// --trickle      ask before any candidate is known, and send candidates by PATCH

import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { openBrowser, withoutUdp } from './chromium.mjs';

const { values: options, positionals: [endpoint] } = parseArgs({
  allowPositionals: true,
  options: {
    bearer: { type: 'string' },
    codec: { type: 'string', default: 'VP8' },
    size: { type: 'string', default: '640x360' },
    hue: { type: 'string', default: '120' },
    simulcast: { type: 'boolean', default: false },
    trickle: { type: 'boolean', default: false },
    tcp: { type: 'boolean', default: false },
  },
});
const tell = (fact) => process.stdout.write(`${JSON.stringify(fact)}\n`);
const home = fs.mkdtempSync(path.join(os.tmpdir(), 'capcast-chromium-'));
const context = await openBrowser(home);
const site = http.createServer((_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<html></html>'));
await new Promise((resolve) => { site.listen(0, '127.0.0.1', resolve); });
const page = await context.newPage();
let code = 0;

let ending = false;
async function end(fact) {
  if (ending) return;
  ending = true;
  tell(fact);
  site.close();
  await context.close().catch(() => undefined);
  fs.rmSync(home, { recursive: true, force: true });
  process.exit(code);
}
process.stdin.on('end', async () => {
  end({ deleted: await page.evaluate(() => window.leave()).catch((error) => String(error)) });
});
process.stdin.on('data', async (said) => {
  if (String(said).trim() !== 'restart') return;
  tell(await page.evaluate(() => window.restart()).then((restarted) => ({ restarted }), (error) => ({ error: String(error) })));
});

try {
  if (options.tcp) await page.addInitScript(withoutUdp);
  await page.goto(`http://127.0.0.1:${site.address().port}/`);
  await page.mouse.click(10, 10);
  const [width, height] = options.size.split('x').map(Number);
  tell({ answered: await page.evaluate(publish, { ...options, endpoint, width, height }) });
  tell({ sending: await page.evaluate(sending, options.simulcast ? 2 : 1) });
} catch (error) {
  code = 1;
  await end({ error: String(error) });
}

/** Runs in the page: publishes, and leaves `window.leave`, which ends it and gives the DELETE's status. */
async function publish({ endpoint, bearer, codec, width, height, hue, simulcast, trickle }) {
  const canvas = document.createElement('canvas');
  Object.assign(canvas, { width, height });
  const context = canvas.getContext('2d');
  let turn = 0;
  setInterval(() => {
    turn += 1;
    context.fillStyle = `hsl(${hue} 80% 30%)`;
    context.fillRect(0, 0, width, height);
    context.fillStyle = `hsl(${hue} 80% 80%)`;
    context.fillRect(0, 0, width, height / 3);
    context.fillRect((turn * 7) % width, 0, width / 4, height);
  }, 33);
  const audio = new AudioContext();
  await audio.resume();
  const oscillator = new OscillatorNode(audio, { frequency: 440 });
  const destination = audio.createMediaStreamDestination();
  oscillator.connect(new GainNode(audio, { gain: 0.3 })).connect(destination);
  oscillator.start();

  const peer = new RTCPeerConnection();
  window.peer = peer;
  const sendEncodings = simulcast ? [
    { rid: 'h', maxBitrate: 900_000 }, { rid: 'l', scaleResolutionDownBy: 2, maxBitrate: 300_000 },
  ] : [{ maxBitrate: 900_000 }];
  const stream = new MediaStream([...canvas.captureStream(30).getTracks(), ...destination.stream.getTracks()]);
  const [picture] = stream.getVideoTracks();
  const transceiver = peer.addTransceiver(picture, { direction: 'sendonly', streams: [stream], sendEncodings });
  const wanted = RTCRtpSender.getCapabilities('video').codecs.filter(({ mimeType }) => mimeType === `video/${codec}`);
  if (wanted.length === 0) throw new Error(`this browser cannot send ${codec}`);
  transceiver.setCodecPreferences(wanted);
  // Of a size that does not depend on what else the machine does.
  await transceiver.sender.setParameters({ ...transceiver.sender.getParameters(), degradationPreference: 'maintain-resolution' });
  peer.addTransceiver(stream.getAudioTracks()[0], { direction: 'sendonly', streams: [stream] });

  const late = [];
  const gathered = new Promise((resolve) => {
    peer.onicecandidate = ({ candidate }) => {
      if (candidate === null) resolve();
      else if (candidate.candidate !== '') late.push(candidate);
    };
  });
  await peer.setLocalDescription();
  if (!trickle) await gathered;
  const offer = trickle ? peer.localDescription.sdp.replace(/a=candidate:.*\r\n/g, '') : peer.localDescription.sdp;
  const authorization = `Bearer ${bearer}`;
  const began = performance.now();
  const created = await fetch(endpoint, {
    method: 'POST', headers: { authorization, 'content-type': 'application/sdp' }, body: offer,
  });
  const took = performance.now() - began;
  const answer = await created.text();
  if (created.status !== 201) throw new Error(`POST was answered ${created.status}: ${answer}`);
  const resource = new URL(created.headers.get('location'), endpoint);
  const etag = created.headers.get('etag');
  window.leave = async () => {
    const { status } = await fetch(resource, { method: 'DELETE', headers: { authorization } });
    peer.close();
    return status;
  };
  await peer.setRemoteDescription({ type: 'answer', sdp: answer });
  // RFC 9725 §4.3.2: new credentials and candidates under `If-Match: *`; the answer brings the server's.
  window.restart = async () => {
    const ways = async () => {
      const stats = [...(await peer.getStats()).values()];
      const { selectedCandidatePairId: pair } = stats.find(({ type }) => type === 'transport');
      const { packetsSent, responsesReceived } = stats.find(({ id }) => id === pair) ?? {};
      return { pair, packetsSent, responsesReceived };
    };
    const before = await ways();
    const anew = new Promise((resolve) => {
      peer.onicecandidate = ({ candidate }) => { if (candidate === null) resolve(); };
    });
    await peer.setLocalDescription(await peer.createOffer({ iceRestart: true }));
    await anew;
    const sdp = peer.localDescription.sdp;
    const [ufrag] = /a=ice-ufrag:.*\r\n/.exec(sdp);
    const [pwd] = /a=ice-pwd:.*\r\n/.exec(sdp);
    const [mid] = /a=mid:.*\r\n/.exec(sdp);
    const first = sdp.split('m=')[1];
    const candidates = first.match(/a=candidate:.*\r\n/g).join('');
    const patched = await fetch(resource, {
      method: 'PATCH',
      headers: { authorization, 'content-type': 'application/trickle-ice-sdpfrag', 'if-match': '*' },
      body: `${ufrag}${pwd}m=${first.split('\r\n')[0]}\r\n${mid}${candidates}a=end-of-candidates\r\n`,
    });
    const fragment = await patched.text();
    if (patched.status !== 200) throw new Error(`PATCH was answered ${patched.status}: ${fragment}`);
    const renewed = answer
      .replace(/a=candidate:.*\r\n/g, '')
      .replace(/a=ice-ufrag:.*\r\n/g, /a=ice-ufrag:.*\r\n/.exec(fragment)[0])
      .replace(/a=ice-pwd:.*\r\n/g, /a=ice-pwd:.*\r\n/.exec(fragment)[0]
        + fragment.match(/a=candidate:.*\r\n/g).join(''));
    await peer.setRemoteDescription({ type: 'answer', sdp: renewed });
    for (;;) {
      await new Promise((resolve) => { requestAnimationFrame(resolve); });
      const after = await ways();
      if (after.pair !== before.pair && after.responsesReceived >= 1 && after.packetsSent >= 100) {
        return { etag: patched.headers.get('etag'), before, after, connection: peer.connectionState };
      }
    }
  };
  let patched = null;
  if (trickle) {
    await gathered;
    const { usernameFragment, sdpMid } = late[0];
    const password = /a=ice-pwd:(.*)\r\n/.exec(peer.localDescription.sdp)[1];
    const body = [
      `a=ice-ufrag:${usernameFragment}`, `a=ice-pwd:${password}`, 'm=audio 9 UDP/TLS/RTP/SAVPF 0', `a=mid:${sdpMid}`,
      ...late.filter((one) => one.sdpMid === sdpMid).map(({ candidate }) => `a=${candidate}`), 'a=end-of-candidates', '',
    ].join('\r\n');
    const headers = { authorization, 'content-type': 'application/trickle-ice-sdpfrag', 'if-match': etag };
    patched = (await fetch(resource, { method: 'PATCH', headers, body })).status;
  }
  return { status: created.status, etag, took, patched, offer, answer };
}

/** Runs in the page: what is sent, once 30 pictures of each of so many layers were. */
async function sending(layers) {
  for (;;) {
    await new Promise((resolve) => { requestAnimationFrame(resolve); });
    const report = await window.peer.getStats();
    const sent = [...report.values()].filter((stat) => stat.type === 'outbound-rtp' && stat.kind === 'video');
    if (sent.filter(({ framesSent }) => framesSent >= 30).length < layers) continue;
    return sent.map(({ rid, frameWidth, framesSent, codecId }) => (
      { rid: rid ?? null, width: frameWidth, frames: framesSent, codec: report.get(codecId)?.mimeType }
    ));
  }
}
