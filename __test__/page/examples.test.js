'use strict';
// The examples for pages: the specification's page, the module with Vite, the React hook in a React app and in one for React
// Native, files that are dropped, a text with Yjs, the game; the last three together with their halves for Node.js.

const assert = require('node:assert/strict');
const { createHash, randomBytes } = require('node:crypto');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, before, describe, test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');
const vm = require('node:vm');
const { createBroker, createPeer } = require('../../index.js');
const { buildPage } = require('../../scripts/build-page');
const { commandOf, node, within } = require('../node/helpers');
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
        while (await peer.find('two')) await sleep(10);
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

    /** A broker that serves `files`, and what the test needs: programs, and pages with a window of their own each. */
    async function stage(t, files = root) {
      const broker = await createBroker({ port: 0, host: 'localhost', files }).ready;
      const opened = [];
      // Also where this fails.
      t.after(async () => {
        for (const close of opened.reverse()) await close();
        await broker.close();
      });
      return {
        broker,
        peer(id) {
          const peer = createPeer(id, { brokerUrl: broker.url });
          opened.push(() => peer.close());
          return peer;
        },
        run(args) {
          const child = node(args, { env: { LINKUP_BROKER_URL: broker.url } });
          opened.push(() => child.kill());
          return child;
        },
        async page(address) {
          const context = await browser.browser.createBrowserContext();
          opened.push(() => context.close());
          const page = await context.newPage({ type: 'window' });
          page.setDefaultTimeout(30_000);
          await page.goto(`${broker.url.replace('ws:', 'http:')}/${address}`);
          return page;
        },
      };
    }

    const sees = (page, where, pattern) =>
      page.waitForFunction(
        (where, pattern) => new RegExp(pattern).test(document.querySelector(where)?.textContent),
        {},
        where,
        pattern.source,
      );

    test('files that are dropped on the page arrive in a process, and the other way round', async (t) => {
      const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-drop-'));
      t.after(() => fs.rmSync(folder, { recursive: true }));
      const { run, page } = await stage(t);
      const [receive] = commandOf('examples/file-drop/receive.js');
      const bob = run([receive, 'bob', path.join(folder, 'inbox')]);
      await bob.line('bob is waiting');
      const alice = await page('examples/file-drop/?me=alice&to=bob');
      await sees(alice, '#state', /^registered$/);

      // Chosen with the dialog, and dropped: there is no mouse that could bring it.
      const content = randomBytes(2_000_000);
      const file = path.join(folder, 'photo.jpg');
      fs.writeFileSync(file, content);
      await (await alice.$('#files')).uploadFile(file);
      await sees(alice, '#transfers', /photo\.jpg: delivered to bob/);
      await alice.evaluate(async () => {
        const files = new DataTransfer();
        files.items.add(document.querySelector('#files').files[0] ?? new File(['dropped'], 'dropped.txt'));
        const drop = new DragEvent('drop', { dataTransfer: files, bubbles: true, cancelable: true });
        document.querySelector('#drop').dispatchEvent(drop);
      });
      await sees(alice, '#transfers', /dropped\.txt: delivered to bob/);
      const hash = (bytes) => createHash('sha256').update(bytes).digest('hex');
      assert.equal(hash(fs.readFileSync(path.join(folder, 'inbox/photo.jpg'))), hash(content));
      assert.equal(fs.readFileSync(path.join(folder, 'inbox/dropped.txt'), 'utf8'), 'dropped');

      const [send] = commandOf('examples/file-drop/send.js');
      const { code, output } = await run([send, 'carol', 'alice', file]).exited;
      assert.equal(code, 0, output);
      await sees(alice, '#transfers', /photo\.jpg: from carol/);
      const received = await alice.evaluate(async () => {
        const { href, download } = document.querySelector('#transfers a');
        const bytes = await (await fetch(href)).arrayBuffer();
        const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
        return [download, Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('')];
      });
      assert.deepEqual(received, ['photo.jpg', hash(content)]);
    });

    test('a text that two pages and a process write', async (t) => {
      const files = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-yjs-'));
      t.after(() => fs.rmSync(files, { recursive: true }));
      const { build } = await import('vite');
      await build({ root: path.join(root, 'examples/yjs'), logLevel: 'error', build: { outDir: files } });
      const { broker, run, page } = await stage(t, files);
      const [file] = commandOf('examples/yjs/text.mjs');
      const carol = run([file, 'carol', 'alice', 'bob']);
      const [alice, bob] = await Promise.all(
        [
          ['alice', 'bob'],
          ['bob', 'alice'],
        ].map(([me, other]) => page(`?me=${me}&with=${other},carol&broker=${broker.url}`)),
      );
      for (const each of [alice, bob]) await sees(each, '#here', /^alice, bob, carol$/);
      const reads = (each, text) =>
        each.waitForFunction((text) => document.querySelector('#text').value === text, {}, text);

      await alice.type('#text', 'one 😀 three');
      await Promise.all([alice, bob].map((each) => reads(each, 'one 😀 three')));
      // The caret of the one stays where it is in the text, whatever the other does before it.
      await bob.evaluate(() => {
        const field = document.querySelector('#text');
        field.focus();
        field.setSelectionRange(4, 4);
      });
      for (const text of ['number one 😀 three', 'number one 😁 three']) {
        await alice.evaluate((text) => {
          const field = document.querySelector('#text');
          field.value = text;
          field.dispatchEvent(new Event('input'));
        }, text);
        await Promise.all([alice, bob].map((each) => reads(each, text)));
      }
      await bob.keyboard.type('two');
      carol.process.stdin.write('!\n');
      await Promise.all([alice, bob].map((each) => reads(each, 'number one two😁 three!\n')));
      await carol.line('number one two😁 three!');

      await bob.close();
      await sees(alice, '#here', /^alice, carol$/);
      carol.process.stdin.end();
      await sees(alice, '#here', /^alice$/);
    });

    test('a game that two pages play', async (t) => {
      const { peer, run, page } = await stage(t);
      const host = run(commandOf('examples/game/host.mjs'));
      await host.line('the game runs');
      const [one, two] = [await page('examples/game/'), await page('examples/game/')];
      await sees(one, '#state', /you are 1 of 2, at 320, 180$/);
      await one.keyboard.down('ArrowRight');
      await sees(one, '#state', /at 640, 180$/);
      await one.keyboard.up('ArrowRight');

      // How far behind the newest state is what a page shows: a player in this process, which has nothing else to do, knows that.
      const { readSnapshot, writeInput } = await import('../../examples/game/world.mjs');
      let newest;
      const connection = await peer('watcher').connect('game');
      const enough = new Promise((resolve) => {
        connection.on('message', (message) => {
          if (!(message instanceof Uint8Array)) return;
          newest = readSnapshot(message);
          // Until it closes.
          connection.send(writeInput(0, newest.tick)).catch(() => {});
          if (newest.players.get(1)?.x === 640) resolve();
        });
      });
      await within(enough, 10_000, 'the other page at the edge');
      const shown = (page) => page.$eval('#state', (state) => Number(/^tick (\d+)/.exec(state.textContent)[1]));
      for (const each of [one, two]) {
        const before = newest.tick;
        const tick = await shown(each);
        assert.ok(tick > before - 30, `it shows tick ${tick}, after ${before}`);
      }
      await one.close();
      await sees(two, '#state', /you are 2 of 2/);
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

test('the app for React Native is bundled as Metro does it, without the addon, and renders', async () => {
  const { build } = require('esbuild');
  const { createElement } = require('react');
  const { renderToString } = require('react-dom/server');
  const tag = (name) => (props) => createElement(name, null, props.title ?? props.value ?? props.children);
  // What React Native's own are is not here: its components as tags.
  const native = {
    Button: tag('button'),
    TextInput: tag('b'),
    Text: tag('p'),
    ScrollView: tag('i'),
    SafeAreaView: tag('div'),
  };
  const modules = {
    react: require('react'),
    'react-native': native,
    'react-native-webrtc': { RTCPeerConnection: class {} },
    'react/jsx-runtime': require('react/jsx-runtime'),
    'react-native-get-random-values': {},
  };
  const { outputFiles } = await build({
    entryPoints: [path.join(root, 'examples/react-native/App.js')],
    bundle: true,
    write: false,
    format: 'cjs',
    loader: { '.js': 'jsx' },
    jsx: 'automatic',
    // As Metro has them, and no others.
    platform: 'neutral',
    conditions: ['react-native'],
    mainFields: ['react-native', 'browser', 'main'],
    external: Object.keys(modules),
  });
  const [{ text }] = outputFiles;
  assert.doesNotMatch(text, /binding\.js/);
  const module = { exports: {} };
  const needed = new Set();
  const load = (name) => needed.add(name) && modules[name];
  const app = vm.runInContext(`(module, require) => {${text}\n}`, vm.createContext({ queueMicrotask }));
  app(module, load);
  assert.deepEqual([...needed].toSorted(), Object.keys(modules).toSorted());
  const html = renderToString(createElement(module.exports.default));
  assert.match(html, /You are phone: .*connecting/);
});
