'use strict';
// The examples for pages: the specification's page, the module with Vite, the React hook in a React app.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, before, describe, test } = require('node:test');
const { createBroker, createPeer } = require('../../index.js');
const { buildPage } = require('../../scripts/build-page');
const { installed, launch } = require('./browser');

const root = path.join(__dirname, '../..');

before(buildPage);

for (const name of installed()) {
  describe(name, { timeout: 300_000 }, () => {
    let browser;
    before(async () => {
      browser = await launch(name);
    });
    after(() => browser.close());

    test('the specification’s page', async () => {
      const broker = await createBroker({ port: 0, host: 'localhost', files: root }).ready;
      const peer2 = createPeer('peer2', { brokerUrl: broker.url });
      await once(peer2, 'register');
      const heard = once(peer2, 'message');
      const page = await browser.page(`${broker.url.replace('ws:', 'http:')}/examples/page/`);
      assert.deepEqual(await heard, [{ from: 'peer1', message: 'hi peer2!' }]);
      await page.close();
      await peer2.close();
      await broker.close();
    });

    test('the React hook: two components talk, one goes, StrictMode mounts twice', async (t) => {
      const files = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-react-'));
      await bundleReact(path.join(files, 'app.js'));
      fs.writeFileSync(path.join(files, 'index.html'), '<!doctype html><link rel="icon" href="data:,"><body>');
      const broker = await createBroker({ port: 0, host: 'localhost', files }).ready;
      const peer = createPeer('watcher', { brokerUrl: broker.url });
      // Also where this fails: they would keep the file running until its time is over.
      t.after(async () => {
        await peer.close();
        await broker.close();
        fs.rmSync(files, { recursive: true });
      });
      await once(peer, 'register');
      const page = await browser.page(broker.url.replace('ws:', 'http:'));
      const errors = [];
      page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
      await page.evaluate(() => {
        globalThis.sockets = 0;
        globalThis.WebSocket = class extends WebSocket {
          constructor(url) {
            super(url);
            sockets += 1;
          }
        };
      });
      await page.addScriptTag({ url: 'app.js' });

      const show = (...args) => page.evaluate((args) => globalThis.show(...args), args);
      const sees = (where, text) =>
        page.waitForFunction((where, text) => document.querySelector(where)?.textContent === text, {}, where, text);
      const say = async (from, to) => {
        await page.type(`#${from} input`, to);
        await page.click(`#${from} button`);
      };

      for (const [strict, mounts] of [
        [false, 2],
        [true, 4],
      ]) {
        const before = await page.evaluate(() => sockets);
        await show(strict, 'one', 'two');
        await Promise.all([sees('#one output', 'registered'), sees('#two output', 'registered')]);
        assert.equal((await page.evaluate(() => sockets)) - before, mounts);
        await say('one', 'two');
        await sees('#two pre', 'one: from one\n');
        await say('two', 'one');
        await sees('#one pre', 'two: from two\n');

        const connection = await peer.connect('two');
        const closed = once(connection, 'close');
        // Until then it is not open there, and a peer that closes does not end in order what was never open.
        await connection.send('here');
        await sees('#two pre', 'one: from one\nwatcher: here\n');
        await show(strict, 'one');
        assert.deepEqual(await closed, [{ code: null, reason: '' }]);
        // Asked again while it unregisters.
        while (await peer.find('two'));
        assert.equal(await peer.find('one'), true);

        // It comes back before it has gone: neither an error nor an old message.
        await show(strict);
        await show(strict, 'one');
        await sees('#one output', 'registered');
        await sees('#one pre', '');
        await peer.send('one', 'welcome back');
        await sees('#one pre', 'watcher: welcome back\n');
        await show(strict);
      }
      assert.deepEqual(errors, []);
      await page.close();
    });
  });
}

/** An app with React's checks for developers, that StrictMode belongs to. */
async function bundleReact(outfile) {
  const { build } = require('esbuild');
  await build({
    entryPoints: [path.join(__dirname, 'react-app.js')],
    outfile,
    bundle: true,
    define: { 'process.env.NODE_ENV': '"development"' },
  });
}

test('the module with Vite', async () => {
  const { build } = await import('vite');
  const made = await build({ root: path.join(root, 'examples/vite'), logLevel: 'error', build: { write: false } });
  const { code } = [made].flat()[0].output.find(({ type }) => type === 'chunk');
  assert.match(code, /RTCPeerConnection/);
  assert.doesNotMatch(code, /binding\.js/);
});
