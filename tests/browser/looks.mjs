// Looks at the player, at a room and at the panel's login in every state that a viewer or an operator meets, with axe, and tells in
// JSON lines what was found.
//
//   node looks.mjs URL --token TOKEN [--shots FOLDER]
//
// After {"killed": "please"} the daemon is expected to be killed.

import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { openBrowser } from './chromium.mjs';

const { values: options, positionals: [url] } = parseArgs({
  allowPositionals: true,
  options: { shots: { type: 'string' }, token: { type: 'string' } },
});
const AXE = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const SIZES = { wide: { width: 1280, height: 720 }, phone: { width: 360, height: 740 } };

const tell = (fact) => process.stdout.write(`${JSON.stringify(fact)}\n`);
const home = fs.mkdtempSync(path.join(os.tmpdir(), 'capcast-chromium-'));
const context = await openBrowser(home);
let code = 0;
try {
  const open = async (where) => {
    const page = await context.newPage();
    page.setDefaultTimeout(40_000);
    page.on('pageerror', (error) => tell({ error: `${where}: ${error.message}` }));
    await page.goto(new URL(where, url).href);
    return page;
  };
  const look = async (page, name, schemes = ['dark']) => {
    for (const [size, viewport] of Object.entries(SIZES)) {
      for (const colorScheme of schemes) {
        await page.setViewportSize(viewport);
        await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
        // Controls that fade are looked at as they are when shown.
        await page.mouse.move(viewport.width / 2, 200 + Math.random() * 20);
        await page.evaluate(() => new Promise((painted) => { requestAnimationFrame(() => requestAnimationFrame(painted)); }));
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        await page.evaluate(AXE);
        const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
        const violations = found.violations.map(({ id, impact, nodes }) => ({ id, impact, nodes: nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`) }));
        const shot = `${name}-${size}${schemes.length > 1 ? `-${colorScheme}` : ''}`;
        if (options.shots !== undefined) await page.screenshot({ path: path.join(options.shots, `${shot}.png`) });
        tell({ look: shot, wide, violations });
      }
    }
  };
  const state = (page, name) => page.waitForFunction((wanted) => document.documentElement.dataset.state === wanted, name);

  const player = await open('/live');
  await state(player, 'playing');
  await look(player, 'player-live');
  await player.keyboard.press('s');
  await player.locator('#figures').waitFor();
  await player.locator('#f-delay').waitFor();
  await look(player, 'player-statistics');

  const absent = await open('/nothing');
  await state(absent, 'absent');
  await look(absent, 'player-absent');
  const waiting = await open('/obs');
  await state(waiting, 'waiting');
  await look(waiting, 'player-waiting');
  const room = await open('/room/live');
  await room.locator('.tile[data-state="playing"]').waitFor();
  await look(room, 'room', ['dark', 'light']);
  const empty = await open('/room/nobody');
  await empty.locator('.empty').waitFor();
  await look(empty, 'room-empty', ['dark', 'light']);
  await empty.close();

  // As one of another machine, which a proxy here speaks for.
  await context.setExtraHTTPHeaders({ 'X-Forwarded-For': '192.0.2.7' });
  const panel = await open('/panel');
  await panel.locator('#token').waitFor();
  const keyframe = panel.getByRole('button', { name: 'Keyframe' });
  await keyframe.waitFor();
  tell({ guest: { disabled: await keyframe.isDisabled(), log: await panel.locator('.log').count() } });
  await look(panel, 'login', ['dark', 'light']);
  await panel.locator('#token').fill('a guess');
  await panel.locator('#token').press('Enter');
  await panel.locator('.login .outcome', { hasText: 'not the control token' }).waitFor();
  await look(panel, 'login-refused', ['dark', 'light']);
  await panel.locator('#token').fill(options.token);
  await panel.locator('#token').press('Enter');
  await panel.locator('.login').waitFor({ state: 'detached' });
  await panel.locator('.log li').first().waitFor();
  tell({ member: { disabled: await keyframe.isDisabled() } });
  await panel.getByRole('button', { name: 'Log out' }).click();
  await panel.locator('#token').waitFor();
  tell({ left: await keyframe.isDisabled() });

  await context.setExtraHTTPHeaders({});
  const here = await open('/panel');
  const others = await here.evaluate(() => fetch('/api/addresses').then((answer) => answer.json()));
  await here.waitForFunction((first) => document.getElementById('watch-url')?.value.startsWith(first), others[0] ?? 'http');
  tell({ watch: await here.locator('#watch-url').inputValue(), others });

  tell({ killed: 'please' });
  await state(player, 'retrying');
  await look(player, 'player-lost');
  await room.locator('.tile[data-state="retrying"]').waitFor();
  await room.locator('.note', { hasText: 'does not answer' }).waitFor();
  await look(room, 'room-lost', ['dark', 'light']);
  await panel.locator('.word', { hasText: 'No connection' }).waitFor();
  await look(panel, 'panel-lost', ['dark', 'light']);
  tell({ done: true });
} catch (error) {
  tell({ error: String(error) });
  code = 1;
} finally {
  await context.close();
  fs.rmSync(home, { recursive: true, force: true });
}
process.exit(code);
