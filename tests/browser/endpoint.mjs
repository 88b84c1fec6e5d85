// A WHIP server whose WebRTC is headless Chromium's: what it answers and decodes has nothing of Capcast in it. Serves
// at `/api/whip`, and wherever `/publish` ends the path, until its input ends, and tells one JSON object a line: {"listening": PORT}, {"session": {"url", "bearer", "offer"}} for each
// session, {"played": {…}} once 30 pictures of it were decoded and its sound was heard, {"deleted": …} when it was ended.
//
//   node endpoint.mjs [--port PORT]

import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { openBrowser, measurePlaying } from './chromium.mjs';

const { values: options } = parseArgs({ options: { port: { type: 'string', default: '0' } } });
const tell = (fact) => process.stdout.write(`${JSON.stringify(fact)}\n`);
const home = fs.mkdtempSync(path.join(os.tmpdir(), 'capcast-chromium-'));
const context = await openBrowser(home);
/** The pages of sessions by their id. */
const sessions = new Map();
let made = 0;

const server = http.createServer((request, response) => {
  serve(request, response).catch((error) => {
    tell({ error: String(error) });
    response.writeHead(500).end();
  });
});
server.listen(Number(options.port), '127.0.0.1', () => tell({ listening: server.address().port }));
process.stdin.on('end', async () => {
  server.close();
  await context.close().catch(() => undefined);
  fs.rmSync(home, { recursive: true, force: true });
  process.exit(0);
}).resume();

async function serve(request, response) {
  const [, id] = /^\/api\/whip\/([0-9]+)$/.exec(request.url) ?? [];
  if (request.method === 'DELETE' && sessions.has(id)) {
    const page = sessions.get(id);
    sessions.delete(id);
    await page.close();
    response.writeHead(200).end();
    tell({ deleted: Number(id) });
    return;
  }
  const known = request.url === '/api/whip' || request.url.endsWith('/publish');
  if (request.method !== 'POST' || !known) {
    response.writeHead(known ? 405 : 404).end();
    return;
  }
  let offer = '';
  for await (const chunk of request.setEncoding('utf8')) offer += chunk;
  tell({ session: { url: request.url, bearer: request.headers.authorization ?? null, offer } });
  const page = await context.newPage();
  // With the elements that `measurePlaying` looks at.
  await page.setContent(`<html data-sound="off"><video id="picture" autoplay muted playsinline></video>
    <audio id="voice" autoplay muted></audio><p id="brief"></p></html>`);
  const answer = await page.evaluate(join, offer);
  made += 1;
  sessions.set(String(made), page);
  response.writeHead(201, { 'content-type': 'application/sdp', location: `/api/whip/${made}` }).end(answer);
  measurePlaying(page).then(
    (played) => tell({ played }),
    // A session that was ended meanwhile is no fault.
    (error) => page.isClosed() || tell({ error: String(error) }),
  );
}

/** Runs in the page: answers the offer with all candidates, and plays what comes. */
async function join(offer) {
  const peer = new RTCPeerConnection();
  window.peers = [peer];
  peer.ontrack = ({ track }) => {
    const element = document.getElementById(track.kind === 'video' ? 'picture' : 'voice');
    element.srcObject = new MediaStream([track]);
  };
  addEventListener('click', () => {
    document.getElementById('voice').muted = false;
    document.documentElement.dataset.sound = 'on';
  });
  await peer.setRemoteDescription({ type: 'offer', sdp: offer });
  await peer.setLocalDescription();
  await new Promise((resolve) => {
    const look = () => {
      if (peer.iceGatheringState === 'complete') resolve();
    };
    peer.onicegatheringstatechange = look;
    look();
  });
  return peer.localDescription.sdp;
}
