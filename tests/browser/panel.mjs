// Uses the control panel as an operator does, and tells in JSON lines what the page showed.
//
//   node panel.mjs URL [--shots FOLDER] [--profile NAME] [--output NAME]
//
// After {"killed": "please"} the daemon is expected to be killed, and after {"lost": …} to come back.

import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { openBrowser } from './chromium.mjs';

const { values: options, positionals: [url] } = parseArgs({
  allowPositionals: true,
  options: {
    shots: { type: 'string' },
    profile: { type: 'string' },
    output: { type: 'string' },
  },
});
const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const PATIENCE = 40_000;

const tell = (fact) => process.stdout.write(`${JSON.stringify(fact)}\n`);
const home = fs.mkdtempSync(path.join(os.tmpdir(), 'capcast-chromium-'));
const context = await openBrowser(home);
let code = 0;
try {
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const problems = [];
  const requests = [];
  page.on('pageerror', (error) => problems.push(error.message));
  page.on('console', (message) => {
    if (/Content Security Policy/i.test(message.text())) problems.push(message.text());
  });
  page.on('request', (request) => requests.push(new URL(request.url())));
  const shot = async (name) => {
    if (options.shots !== undefined) await page.screenshot({ path: path.join(options.shots, `panel-${name}.png`), fullPage: true });
  };
  const words = (text) => page.locator('#words').filter({ hasText: text }).waitFor();

  await page.emulateMedia({ colorScheme: 'dark' });
  await page.goto(new URL('/panel', url).href);
  await page.locator('.preview[data-playing=true]').waitFor();
  await page.locator('#viewers', { hasText: '1' }).waitFor();
  await words('Mbit/s');
  await page.locator('.profile').first().waitFor();
  await page.locator('.log li').first().waitFor();
  const state = {
    word: await page.locator('.word').innerText(),
    words: await page.locator('#words').innerText(),
    meters: await page.locator('[role=meter]').evaluateAll((all) => all.map((meter) => Number(meter.ariaValueNow))),
    charts: await page.locator('.plot canvas').count(),
    url: await page.locator('#watch-url').inputValue(),
    profiles: await page.locator('.profile').count(),
    active: await page.locator('.profile[data-active=true] h3').innerText(),
    output: await page.locator('.output .life').first().innerText(),
  };
  await page.locator('summary', { hasText: 'QR code' }).click();
  await page.locator('.qr').waitFor();
  await page.locator('summary', { hasText: 'QR code' }).click();
  tell({ state });

  // All that follows comes by the connections that stand: nothing is asked again.
  requests.length = 0;
  const before = await page.locator('#words').innerText();
  const drawn = await page.locator('.soft', { hasText: ', up ' }).innerText();
  await page.waitForFunction((text) => ![...document.querySelectorAll('.bar .soft')].some(({ textContent }) => textContent === text), drawn);
  tell({ quiet: requests.map(({ pathname }) => pathname), before });

  // By keyboard alone: to the bitrate, two steps down.
  await page.locator('#bitrate').focus();
  const target = page.locator('#target');
  const was = await target.innerText();
  await page.keyboard.press('ArrowLeft');
  await page.waitForFunction((text) => document.getElementById('target').textContent !== text, was);
  await page.locator('.bitrate .outcome[data-well=true]').waitFor();
  tell({ bitrate: { was, is: await target.innerText(), said: await page.locator('.bitrate .outcome').innerText() } });

  const start = page.locator('.output button').first();
  await start.focus();
  await page.keyboard.press('Enter');
  await page.locator('.output .life', { hasText: 'stopped' }).waitFor();
  await page.locator('.output .outcome[data-well=true]').waitFor();
  const stopped = await page.locator('.output button').first().innerText();
  await page.keyboard.press('Enter');
  await page.locator('.output button', { hasText: 'Stop' }).waitFor();
  tell({ output: { stopped, again: await page.locator('.output button').first().innerText() } });

  await page.getByRole('button', { name: `Switch to ${options.profile}` }).press('Enter');
  await page.locator('.profile[data-active=true] h3', { hasText: options.profile }).waitFor();
  await page.locator('[aria-labelledby=profiles-title] .outcome[data-well=true]').waitFor();
  tell({ switched: await page.locator('[aria-labelledby=profiles-title] .outcome').innerText() });

  await page.getByRole('button', { name: 'Go off air' }).press('Enter');
  await page.locator('.word', { hasText: 'Off air' }).waitFor();
  await page.getByRole('button', { name: 'Go on air' }).press('Enter');
  await page.locator('.word', { hasText: 'On air' }).waitFor();
  await page.locator('.preview[data-playing=true]').waitFor();
  tell({ air: await page.locator('#words').innerText() });

  // Every control can be reached and shows where the focus is.
  await page.locator('body').evaluate(() => { document.activeElement.blur(); window.scrollTo(0, 0); });
  const controls = await page.locator('button:enabled, select, input:enabled, a[href], summary, .log').count();
  const stops = new Set();
  for (let stop = 0; stop < controls + 3; stop++) {
    await page.keyboard.press('Tab');
    stops.add(await page.evaluate(() => {
      const at = document.activeElement;
      if (at === document.body || !at.matches(':focus-visible')) return '';
      at.dataset.stop ??= String(document.querySelectorAll('[data-stop]').length);
      return at.dataset.stop;
    }));
  }
  stops.delete('');
  tell({ keyboard: { controls, reached: stops.size } });

  for (const [name, colorScheme, width, height] of [['dark', 'dark', 1280, 800], ['light', 'light', 1280, 800], ['phone', 'dark', 360, 740]]) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height });
    await page.evaluate(() => new Promise((painted) => { requestAnimationFrame(() => requestAnimationFrame(painted)); }));
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    await page.evaluate(fs.readFileSync(AXE, 'utf8'));
    const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
    const violations = found.violations.map(({ id, impact, nodes }) => ({ id, impact, nodes: nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`) }));
    tell({ look: name, wide, violations });
    await shot(name);
  }

  await page.setViewportSize({ width: 1280, height: 800 });
  tell({ killed: 'please' });
  await page.locator('.word', { hasText: 'No connection' }).waitFor();
  const disabled = await page.getByRole('button', { name: 'Keyframe' }).isDisabled();
  await shot('lost');
  tell({ lost: await page.locator('#words').innerText(), disabled });
  await page.locator('.word', { hasText: 'On air' }).waitFor();
  await page.locator('.preview[data-playing=true]').waitFor();
  await page.locator('.log li', { hasText: 'listening on' }).first().waitFor();
  tell({ back: await page.locator('#words').innerText() });

  // Whatever the daemon logs: many lines, and those wanted among them.
  const asked = 2_000;
  for (let count = 0; count < asked; count += 50) {
    await page.evaluate((many) => Promise.all(Array.from({ length: many }, () => fetch('/api/control/keyframe', { method: 'POST' }))), 50);
  }
  await page.waitForFunction((many) => Number(/(\d+) lines?/.exec(document.getElementById('found').textContent)?.[1]) >= many, asked);
  const found = page.locator('#found');
  const all = await found.innerText();
  await page.locator('#search').fill('by command KEYFRAME');
  await page.waitForFunction((many) => document.getElementById('found').textContent.includes(`of ${many} `), asked);
  const searched = await found.innerText();
  await page.locator('#search').fill('');
  await page.locator('#level').selectOption('warn');
  await page.waitForFunction((text) => document.getElementById('found').textContent !== text, searched);
  tell({ log: { all, searched, warnings: await found.innerText(), drawn: await page.locator('.log li').count() } });
  tell({ problems });
} catch (error) {
  tell({ error: String(error) });
  code = 1;
} finally {
  await context.close();
  fs.rmSync(home, { recursive: true, force: true });
}
process.exit(code);
