// Uses the player as a viewer does, by mouse and keyboard, and tells in one JSON line what the page did.
//
//   node controls.mjs URL

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { openBrowser } from './chromium.mjs';

const [url] = process.argv.slice(2);
const home = fs.mkdtempSync(path.join(os.tmpdir(), 'capcast-chromium-'));
const context = await openBrowser(home);
let code = 0;
try {
  const page = await context.newPage();
  const problems = [];
  page.on('pageerror', (error) => problems.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') problems.push(message.text());
  });
  const elsewhere = [];
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== new URL(url).origin) elsewhere.push(request.url());
  });
  const root = (name) => page.locator('html').getAttribute(`data-${name}`);
  const reaches = (selector) => page.locator(selector).waitFor({ state: 'attached', timeout: 20_000 });
  const seen = { problems, elsewhere };

  await page.goto(url);
  await reaches('html[data-state=playing][data-voice]');
  seen.soundAtFirst = await root('sound');
  seen.invited = await page.locator('#unmute').isVisible();
  await page.mouse.click(640, 300);
  await reaches('html[data-sound=on]');
  await page.keyboard.press('m');
  await reaches('html[data-sound=off]');
  seen.mutedShown = await page.locator('#volume').inputValue();
  await page.keyboard.press('m');
  await reaches('html[data-sound=on]');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  seen.volume = await page.evaluate(() => document.getElementById('voice').volume);

  await page.keyboard.press('s');
  await page.locator('#f-delay').filter({ hasText: 'ms' }).waitFor({ timeout: 20_000 });
  seen.figures = await page.locator('#figures dl').innerText();
  await page.keyboard.press('s');
  seen.figuresGone = await page.locator('#figures').isHidden();

  await reaches('html[data-chrome=hidden]');
  await page.mouse.move(200, 200);
  await reaches('html[data-chrome=shown]');

  await page.keyboard.press('f');
  await reaches('html[data-full]');
  await page.mouse.dblclick(640, 300);
  await reaches('html:not([data-full])');

  seen.tabs = [];
  for (let stop = 0; stop < 5; stop++) {
    await page.keyboard.press('Tab');
    seen.tabs.push(await page.evaluate(() => document.activeElement.matches(':focus-visible') && document.activeElement.id));
  }

  await page.setViewportSize({ width: 360, height: 640 });
  await page.mouse.move(180, 200);
  seen.overflow = await page.evaluate(() => [...document.querySelectorAll('.bar *, .top *')].filter((element) => {
    const { left, right, width } = element.getBoundingClientRect();
    return width > 0 && (left < 0 || right > innerWidth);
  }).map((element) => element.id || element.tagName));
  console.log(JSON.stringify({ seen }));
  // Going away must end the session at the server, not leave it to time out.
  await page.goto('about:blank');
  let viewersLeft;
  for (const end = Date.now() + 10_000; viewersLeft !== 0 && Date.now() < end;) {
    const status = await (await fetch(new URL('/api/status', url))).json();
    viewersLeft = status.streams[0].viewers;
  }
  console.log(JSON.stringify({ viewersLeft }));
} catch (error) {
  console.log(JSON.stringify({ error: String(error) }));
  code = 1;
} finally {
  await context.close();
  fs.rmSync(home, { recursive: true, force: true });
}
process.exit(code);
