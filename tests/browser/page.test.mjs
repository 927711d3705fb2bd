// The page as people meet it, in a real Chromium. tests/browser/run starts this.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { Cluster, until } from './cluster.mjs';

const WORK = process.env.BROWSER_WORK;
const require = createRequire(join(WORK, 'index.js'));
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
const PATIENCE_MS = 30_000;
const DESKTOP = { width: 1280, height: 900 };
const NARROW = { width: 380, height: 800 };

let browser;
let cluster;

before(async () => {
  [browser, cluster] = await Promise.all([
    chromium.launch({ executablePath: 'chromium', args: FLAGS }).catch(() =>
      chromium.launch({ executablePath: '/usr/bin/chromium', args: FLAGS })),
    Cluster.start(5),
  ]);
});

after(async () => {
  await browser?.close();
  await cluster?.stop();
});

/** A test, if it was asked for. */
function check(name, run) {
  const match = process.env.BROWSER_MATCH;
  test(name, { skip: Boolean(match) && !new RegExp(match).test(name) }, run);
}

/** Opens the page of a node; whatever it complains of while it is open fails the test. */
async function withPage(node, options, run) {
  const { path = '/', expected = [], ...context } = options;
  const opened = await browser.newContext({ viewport: DESKTOP, ...context });
  try {
    const page = await opened.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    const complaints = [];
    page.on('console', (said) => {
      if (said.type() === 'error' || said.type() === 'warning') complaints.push(said.text());
    });
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('dialog', (dialog) => {
      complaints.push(`a dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    await page.goto(cluster.url(node, path));
    if (context.javaScriptEnabled !== false) await page.locator('#live.on').waitFor();
    await run(page);
    const unexpected = complaints.filter((text) => !expected.some((pattern) => pattern.test(text)));
    assert.deepEqual(unexpected, []);
  } finally {
    await opened.close();
  }
}

/** The post with a text on one of the boards. */
const post = (page, text, board = 'strong') => page.locator(`[data-panel="${board}"] .post`).filter({ hasText: text });

async function write(page, text, board = 'strong') {
  const form = page.locator(`[data-panel="${board}"] form.entry`);
  await form.getByLabel('New post').fill(text);
  await form.getByRole('button', { name: 'Post' }).click();
}

describe('the diagram', () => {
  /** What was drawn last, in words: the picture keeps so many events and lets go of the oldest. */
  const last = (page) => page.locator('#diagram [data-events] li').last().textContent();

  check('a race is drawn live, and can be paused and stepped through', async () => {
    await withPage(1, {}, async (page) => {
      const [one, other] = cluster.ports;
      await cluster.shell(`BB_wins ${one} ${other} red blue`);
      const label = (text) => page.locator('#diagram text.label').filter({ hasText: text }).first();
      for (const name of ['Prepare', 'Promise', 'Accept', 'Accepted', 'Reject']) await label(name).waitFor();
      await page.locator('#diagram').screenshot({ path: join(WORK, 'race.png') });
      await page.getByRole('button', { name: 'Pause' }).click();
      const before = await last(page);
      await cluster.post(2, '/propose', { value: 'green', instance: 'while paused' });
      await until('what waits', async () => /[1-9]\d* events wait/.test(await page.locator('#diagram [data-waiting]').textContent()));
      assert.equal(await last(page), before);
      const step = page.getByRole('button', { name: 'Step' });
      await until('a step that draws', async () => {
        await step.click();
        return (await last(page)) !== before;
      });
      await page.getByRole('button', { name: 'Go on' }).click();
      await page.getByText('The same as text').click();
      await page.locator('#diagram li').filter({ hasText: 'green' }).first().waitFor();
      assert.ok((await page.locator('#diagram line.arrow').count()) > 10);
    });
  });

  check('lanes come and go with the members', async () => {
    await withPage(0, {}, async (page) => {
      const leaver = cluster.ports.at(-1);
      const lanes = (count) => until(`${count} lanes`, async () => (await page.locator('#diagram text.node').count()) === count);
      // The members may just be changing.
      const change = (command) => until(command, () => cluster.shell(command).catch(() => false));
      await lanes(5);
      await change(`members remove ${leaver}`);
      await lanes(4);
      await page.locator('[data-panel="cluster"] .count').getByText('4 of 4 up').waitFor();
      assert.equal(await page.locator(`[name="side-${leaver}"]`).count(), 0);
      await change(`members add ${leaver}`);
      await lanes(5);
      await page.locator('[data-panel="cluster"] .count').getByText('5 of 5 up').waitFor();
    });
  });
});

describe('the boards', () => {
  check('a post on one node is seen on another within a second', async () => {
    await withPage(0, {}, async (here) => withPage(3, {}, async (there) => {
      const times = [];
      for (let round = 0; round < 5; round += 1) {
        const text = `hello ${round} from the first`;
        const began = Date.now();
        await write(here, text);
        await post(there, text).waitFor();
        times.push(Date.now() - began);
      }
      // The best of some: this machine may be busy with other things.
      assert.ok(Math.min(...times) < 1000, `${times} ms`);
      await post(here, 'hello 4').getByText('everywhere').waitFor();
      assert.equal(await here.locator('#said').textContent(), 'Posted, with id 5.');
    }));
  });

  check('a post is modified and deleted', async () => {
    await withPage(1, {}, async (page) => {
      await write(page, 'to be changed');
      const mine = post(page, 'to be changed');
      await mine.getByText('Edit').click();
      await mine.getByRole('textbox').fill('it was\nchanged');
      await mine.getByRole('button', { name: 'Save' }).click();
      await post(page, 'it was\nchanged').waitFor();
      const changed = post(page, 'it was');
      await changed.getByText('Edit').click();
      await changed.getByRole('button', { name: 'Delete' }).click();
      await changed.waitFor({ state: 'detached' });
      assert.ok(!(await cluster.board(1)).some(({ text }) => text.startsWith('it was')));
    });
  });

  check('the eventual board takes posts, changes and deletions', async () => {
    await withPage(3, {}, async (here) => withPage(4, {}, async (there) => {
      await write(here, 'sooner or later', 'eventual');
      const mine = post(here, 'sooner or later', 'eventual');
      await mine.getByText('everywhere').waitFor();
      const theirs = post(there, 'sooner or later', 'eventual');
      await theirs.getByText('Edit').click();
      await theirs.getByRole('textbox').fill('later, or sooner');
      await theirs.getByRole('button', { name: 'Save' }).click();
      const changed = post(here, 'later, or sooner', 'eventual');
      await changed.waitFor();
      await changed.getByText('Edit').click();
      await changed.getByRole('button', { name: 'Delete' }).click();
      await post(there, 'later, or sooner', 'eventual').waitFor({ state: 'detached' });
    }));
  });

  check('what somebody writes is shown as text', async () => {
    const attacks = [
      '<script>alert(1)</script>',
      '<img src=x onerror=alert(2)>',
      '"><svg onload=alert(3)>',
      '</textarea><script>alert(4)</script>',
      '\u202e<b>reversed</b>',
    ];
    await withPage(2, {}, async (page) => {
      for (const board of ['strong', 'eventual']) {
        for (const attack of attacks) {
          await write(page, attack, board);
          const shown = post(page, attack, board);
          await shown.waitFor();
          assert.equal(await shown.locator('.text').textContent(), attack);
        }
      }
      // Also where the server drew the whole page.
      await page.reload();
      await page.locator('#live.on').waitFor();
      for (const attack of attacks) {
        assert.equal(await post(page, attack).locator('.text').textContent(), attack);
      }
      assert.equal(await page.locator('.posts :is(script, img, svg, b)').count(), 0);
    });
  });

  check('what is being typed stays while others post', async () => {
    await withPage(0, {}, async (page) => {
      const field = page.locator('[data-panel="strong"]').getByLabel('New post');
      await field.fill('half a sen');
      await cluster.post(4, '/board', { entry: 'news from elsewhere' });
      const news = post(page, 'news from elsewhere');
      await news.waitFor();
      assert.equal(await field.inputValue(), 'half a sen');
      assert.ok(await field.evaluate((input) => input === document.activeElement));
      await news.getByText('Edit').click();
      await news.getByRole('textbox').fill('half an ed');
      await cluster.post(3, '/board', { entry: 'more news' });
      await post(page, 'more news').waitFor();
      assert.equal(await page.locator('.post details[open] textarea').inputValue(), 'half an ed');
    });
  });

  check('without scripts the page reads and posts', async () => {
    await withPage(1, { javaScriptEnabled: false }, async (page) => {
      await write(page, 'from a page without scripts');
      await page.waitForURL(/#strong$/);
      const mine = post(page, 'from a page without scripts');
      await mine.waitFor();
      await mine.getByText('Edit').click();
      await mine.getByRole('button', { name: 'Delete' }).click();
      await page.waitForURL(/#strong$/);
      await page.reload();
      assert.equal(await mine.count(), 0);
    });
  });

  check('the keyboard is enough', async () => {
    await withPage(0, {}, async (page) => {
      await page.keyboard.press('Tab');
      assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the boards');
      const field = page.locator('[data-panel="strong"]').getByLabel('New post');
      for (let pressed = 0; pressed < 60; pressed += 1) {
        if (await field.evaluate((input) => input === document.activeElement)) break;
        await page.keyboard.press('Tab');
      }
      await page.keyboard.type('typed, not clicked');
      await page.keyboard.press('Enter');
      await post(page, 'typed, not clicked').waitFor();
    });
  });
});

describe('the live page', () => {
  check('where no stream is to be had it polls', async () => {
    const context = await browser.newContext({ viewport: DESKTOP });
    const page = await context.newPage();
    try {
      await page.route('**/live?*', (route) => (
        route.request().headers().accept.includes('event-stream')
          ? route.fulfill({ status: 503, body: 'Too many pages are open.' })
          : route.continue()));
      await page.goto(cluster.url(0));
      await page.getByText('live, once a second').waitFor();
      await cluster.post(2, '/board', { entry: 'seen by polling' });
      await post(page, 'seen by polling').waitFor();
    } finally {
      await context.close();
    }
  });

  check('a proposal shows in the acceptors of all nodes', async () => {
    await withPage(0, {}, async (page) => {
      await page.getByLabel('Value').fill('green');
      await page.getByLabel('Instance').last().fill('colour');
      await page.getByRole('button', { name: 'Propose here' }).click();
      await page.getByText("Value 'green' has been updated and committed.").waitFor();
      await page.getByText('so it is chosen').waitFor();
      const quorum = page.locator('[data-panel="acceptors"] td.quorum').filter({ hasText: 'green' });
      await until('all acceptors', async () => (await quorum.count()) >= 3);
    });
  });

  check('keys, files and locks are shown', async () => {
    await withPage(2, {}, async (page) => {
      await cluster.shell('put <colour> blue');
      await cluster.shell('create notes.txt');
      await cluster.shell('append notes.txt a line');
      await page.locator('[data-panel="keys"]').getByText('<colour>').waitFor();
      await page.locator('[data-panel="files"] tr').filter({ hasText: 'notes.txt' }).waitFor();
    });
  });

  check('nothing moves for whoever does not want that', async () => {
    await withPage(0, { reducedMotion: 'reduce' }, async (page) => {
      await write(page, 'without motion');
      await post(page, 'without motion').waitFor();
      const animations = await page.evaluate(() => document.getAnimations().length);
      assert.equal(animations, 0);
    });
  });
});

describe('faults by hand', () => {
  check('the network is cut from the page, the boards differ, and converge', async () => {
    const refused = [/status of 50[34]/];
    await withPage(0, { expected: refused }, async (here) => withPage(4, {}, async (there) => {
      const faults = there.locator('[data-panel="faults"]');
      for (const port of cluster.ports.slice(0, 2)) await faults.getByLabel(`${port}`, { exact: true }).check();
      await faults.getByRole('button', { name: 'Cut', exact: true }).click();
      await faults.getByText('12 links fail').waitFor();
      await here.getByText('5 of 5 up, this node hears 2, no majority').waitFor();
      await there.getByText('3 with the leader, none may fail').waitFor();
      await write(there, 'only with a majority');
      await post(there, 'only with a majority').waitFor();
      assert.equal(await post(here, 'only with a majority').count(), 0);
      await write(here, 'refused where there is none');
      await here.locator('#said.bad').waitFor();
      assert.equal(await post(here, 'refused where there is none').count(), 0);
      await write(here, 'said on the smaller side', 'eventual');
      await post(here, 'said on the smaller side', 'eventual').getByText('sent').waitFor();
      await write(there, 'said on the larger side', 'eventual');
      await post(there, 'said on the larger side', 'eventual').waitFor();
      await here.getByText('Boards differ').waitFor();
      assert.equal(await post(there, 'said on the smaller side', 'eventual').count(), 0);
      assert.equal(await post(here, 'said on the larger side', 'eventual').count(), 0);
      await here.screenshot({ path: join(WORK, 'cut.png') });
      await faults.getByRole('button', { name: 'Heal all' }).click();
      await faults.getByText('All links are whole').waitFor();
      await post(here, 'only with a majority').waitFor();
      await post(there, 'only with a majority').getByText('everywhere').waitFor();
      for (const page of [here, there]) {
        for (const side of ['smaller', 'larger']) {
          await post(page, `said on the ${side} side`, 'eventual').getByText('everywhere').waitFor();
        }
        await page.getByText('All 5 that answer show the same').waitFor();
      }
    }));
    await cluster.isReady();
  });

  check('one link is made slow, in one direction', async () => {
    await withPage(1, {}, async (page) => {
      const faults = page.locator('[data-panel="faults"]');
      await faults.getByLabel('From').selectOption(`${cluster.ports[2]}`);
      await faults.getByLabel('to', { exact: true }).selectOption(`${cluster.ports[3]}`);
      await faults.getByLabel('is', { exact: true }).selectOption('delay');
      await faults.getByRole('button', { name: 'Apply' }).click();
      await faults.getByRole('cell', { name: '200 ms late' }).waitFor();
      await faults.getByRole('button', { name: 'Heal all' }).click();
      await faults.getByText('All links are whole').waitFor();
    });
  });
});

describe('other sites', () => {
  check('a page of another site cannot post here', async () => {
    const evil = createServer((request, response) => {
      response.setHeader('Content-Type', 'text/html');
      response.end(`<form method="post" action="${cluster.url(0, '/board')}"><input name="entry" value="from elsewhere">
        </form><script>document.forms[0].submit()</script>`);
    });
    await new Promise((resolve) => { evil.listen(0, '127.0.0.1', resolve); });
    const context = await browser.newContext();
    try {
      const page = await context.newPage();
      await page.goto(`http://127.0.0.1:${evil.address().port}/`);
      await page.waitForURL(cluster.url(0, '/board'));
      assert.match(await page.content(), /pages of other sites/);
      assert.ok(!(await cluster.board(0)).some(({ text }) => text === 'from elsewhere'));
    } finally {
      await context.close();
      evil.close();
    }
  });
});

describe('for everybody', () => {
  for (const colorScheme of ['light', 'dark']) {
    for (const [size, viewport] of [['desktop', DESKTOP], ['narrow', NARROW]]) {
      check(`accessible and whole: ${size}, ${colorScheme}`, async () => {
        await withPage(0, { viewport, colorScheme }, async (page) => {
          await page.locator('.post details summary').first().click();
          await page.evaluate(axe);
          const { violations } = await page.evaluate(() => globalThis.axe.run());
          const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
          assert.deepEqual(found, []);
          const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          assert.ok(wide <= 0, `the page is ${wide} px wider than its window`);
          await page.locator('.post details summary').first().click();
          await page.screenshot({ path: join(WORK, `page-${size}-${colorScheme}.png`), fullPage: true });
        });
      });
    }
  }

  check('the page of methods is accessible', async () => {
    const context = await browser.newContext({ viewport: DESKTOP });
    try {
      const page = await context.newPage();
      await page.goto(cluster.url(0, '/RPC2'));
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => globalThis.axe.run());
      assert.deepEqual(violations.map(({ id }) => id), []);
    } finally {
      await context.close();
    }
  });
});

describe('operations', () => {
  check('a real parser reads the metrics', async () => {
    const text = await (await fetch(cluster.url(0, '/metrics'))).text();
    const program = `
import sys
from prometheus_client.parser import text_string_to_metric_families
families = {family.name: family for family in text_string_to_metric_families(sys.stdin.read())}
assert families["synod_server_has_leader"].samples[0].value == 1
assert families["synod_server_proposals_committed"].type == "counter"
fsync = families["synod_disk_wal_fsync_duration_seconds"]
assert fsync.type == "histogram"
buckets = [sample.value for sample in fsync.samples if sample.name.endswith("_bucket")]
assert buckets == sorted(buckets) and len(buckets) > 10
count = [sample.value for sample in fsync.samples if sample.name.endswith("_count")]
assert count == [buckets[-1]] and count[0] > 0
assert len(families["synod_network_peer_sent_bytes"].samples) == 4
print(len(families))
`;
    const families = Number(execFileSync('/usr/bin/python3', ['-c', program], { input: text, encoding: 'utf8' }));
    assert.ok(families > 20, `${families} families`);
  });
});
