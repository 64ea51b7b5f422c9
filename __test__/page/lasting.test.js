'use strict';
// What a page does beyond the contract tests: its default broker, its own option, and what happens when the other side
// vanishes or the page itself is put to sleep.

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, before, describe, test } = require('node:test');
const linkup = require('../../index.js');
const { installed, launch } = require('./browser');
const { serve } = require('./server');

const root = path.join(__dirname, '../..');
// Longer than timeouts.idle and than the broker's patience with a silent socket's ping.
const SLEEP = 20_000;

for (const name of installed()) {
  describe(name, { timeout: 300_000 }, () => {
    let server;
    let browser;
    before(async () => {
      server = await serve();
      browser = await launch(name);
    });
    after(async () => {
      await browser.close();
      await server.close();
    });

    test('a page that a broker serves uses that broker, without any option', async () => {
      const files = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-files-'));
      fs.copyFileSync(path.join(root, 'dist/linkup.js'), path.join(files, 'linkup.js'));
      fs.writeFileSync(path.join(files, 'index.html'), '<!doctype html><script src="linkup.js"></script>');
      const broker = await linkup.createBroker({ port: 0, host: 'localhost', files }).ready;
      const page = await browser.page(`${broker.url.replace('ws', 'http')}/`);
      await page.evaluate(async () => {
        globalThis.peer = linkup.createPeer('served');
        await new Promise((resolve) => peer.on('register', resolve));
      });
      const peer = linkup.createPeer('asker', { brokerUrl: broker.url });
      assert.equal(await peer.find('served'), true);
      await page.close();
      await peer.close();
      await broker.close();
      fs.rmSync(files, { recursive: true });
    });

    test('options.RTCPeerConnection takes the place of the global one', async () => {
      const page = await browser.page(`${server.url}/`);
      const made = await page.evaluate(async () => {
        const Real = globalThis.RTCPeerConnection;
        globalThis.RTCPeerConnection = undefined;
        let made = 0;
        class Given extends Real {
          constructor(config) {
            super(config);
            made += 1;
          }
        }
        const [a, b] = ['given-a', 'given-b'].map((id) =>
          linkup.createPeer(id, { brokerUrl, RTCPeerConnection: Given }),
        );
        await new Promise((resolve) => b.on('register', resolve));
        await a.send(b.id, 'hello');
        const c = linkup.createPeer('given-c', { brokerUrl });
        const { code } = await c.connect(b.id).catch((error) => error);
        await Promise.all([a.close(), b.close(), c.close()]);
        return { made, code };
      });
      assert.deepEqual(made, { made: 2, code: 'ERR_UNSUPPORTED' });
      await page.close();
    });

    test('a Node.js peer that is killed is gone within timeouts.idle', async () => {
      const script = `
        const peer = require('./index.js').createPeer('victim-${name}', { brokerUrl: '${server.broker.url}' });
        peer.on('register', () => console.log('registered'));`;
      const child = spawn(process.execPath, ['-e', script], { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
      await once(child.stdout, 'data');
      const page = await browser.page(`${server.url}/`);
      await page.evaluate(async (id) => {
        const peer = linkup.createPeer(`watcher-${id}`, { brokerUrl });
        const connection = await peer.connect(id);
        globalThis.ended = new Promise((resolve) => connection.on('close', resolve));
      }, `victim-${name}`);
      const start = performance.now();
      child.kill('SIGKILL');
      const { code } = await page.evaluate(() => ended);
      const took = performance.now() - start;
      console.log(`${name}: a killed peer is noticed after ${(took / 1000).toFixed(1)} s`);
      assert.equal(code, 'ERR_CONNECTION_LOST');
      // Firefox itself says nothing before it has missed an answer, which takes it up to 11 s.
      assert.ok(took < (name === 'firefox' ? 12_500 : 10_000), `${took} ms`);
      await page.close();
    });

    test('a page that is put to sleep keeps its connections, and has its id again at once', {
      skip: name !== 'chromium',
    }, async () => {
      const page = await browser.page(`${server.url}/`);
      await page.evaluate(async () => {
        globalThis.peer = linkup.createPeer('sleeper', { brokerUrl });
        globalThis.events = [];
        peer.on('offline', ({ reason }) => events.push(reason));
        peer.on('connection', (connection) => {
          connection.on('close', ({ code }) => events.push(`close ${code}`));
          connection.on('message', (message) => connection.send(message));
        });
        await new Promise((resolve) => peer.on('register', resolve));
      });
      const peer = linkup.createPeer('waker', { brokerUrl: server.broker.url });
      const connection = await peer.connect('sleeper');
      const session = await page.createCDPSession();
      await session.send('Page.setWebLifecycleState', { state: 'frozen' });
      const echo = once(connection, 'message');
      await connection.send('while asleep');
      await new Promise((resolve) => setTimeout(resolve, SLEEP));
      assert.equal(connection.state, 'open');
      await session.send('Page.setWebLifecycleState', { state: 'active' });
      assert.deepEqual(await echo, ['while asleep']);
      // Asleep it does not answer the broker's pings; awake it is back at once.
      const start = performance.now();
      while (!(await peer.find('sleeper'))) assert.ok(performance.now() - start < 2000, 'registered again');
      assert.ok((await page.evaluate(() => events)).every((event) => !event.startsWith('close')));
      assert.equal(connection.state, 'open');
      await peer.close();
      await page.close();
    });
  });
}
