'use strict';
// Pages and Node.js over the broker, where there is no other way, in both directions of calling.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { after, before, describe, test } = require('node:test');
const linkup = require('../../index.js');
const { installed, launch } = require('./browser');
const { serve } = require('./server');

const SIZE = 150_000;

/** Nobody reaches anybody. */
const isolated = () => ({ sdpTransform: (sdp) => sdp.replace(/a=candidate.*\r\n/g, ''), iceCompleteTimeout: 100 });

describe('over the broker', { concurrency: true, timeout: 120_000 }, () => {
  let server;
  before(async () => {
    server = await serve({ relay: 64 * 1024 });
  });
  after(() => server.close());
  for (const name of installed()) {
    test(name, async (t) => {
      const browser = await launch(name);
      t.after(() => browser.close());
      const page = await browser.page(`${server.url}/`);
      const brokerUrl = server.broker.url;
      const peer = linkup.createPeer(`relay-of-${name}`, { brokerUrl, simplePeer: { ...isolated(), trickle: false } });
      t.after(() => peer.close());
      await once(peer, 'register');
      const connection = once(peer, 'connection');
      // In a page there are no modules: the function goes there as text.
      await page.evaluate(`globalThis.isolated = ${isolated}`);
      await page.evaluate(
        async (id, to, brokerUrl) => {
          globalThis.peer = linkup.createPeer(id, { brokerUrl, simplePeer: { ...isolated(), trickle: false } });
          globalThis.there = await peer.connect(to);
          globalThis.got = [];
          there.on('message', (message) => got.push(typeof message === 'string' ? message : message.length));
        },
        `page-of-${name}`,
        peer.id,
        brokerUrl,
      );
      const [here] = await connection;
      assert.deepEqual([here.path, await page.evaluate(() => there.path)], ['broker', 'broker']);
      const got = [];
      here.on('message', (message) => got.push(typeof message === 'string' ? message : message.length));
      await Promise.all([
        page.evaluate(async (size) => {
          there.send(new Uint8Array(size));
          for (let i = 0; i < 20; i++) there.send(`${i}`);
          await there.send('ä', { ack: true });
        }, SIZE),
        (async () => {
          here.send(Buffer.alloc(SIZE));
          for (let i = 0; i < 20; i++) here.send(`${i}`);
          await here.send('ä', { ack: true });
        })(),
      ]);
      const all = [SIZE, ...Array.from({ length: 20 }, (_, i) => `${i}`), 'ä'];
      assert.deepEqual(got, all);
      assert.deepEqual(await page.evaluate(() => got), all);
      const closed = page.evaluate(() => new Promise((resolve) => there.on('close', ({ code }) => resolve(code))));
      await here.close();
      assert.equal(await closed, null);
      const called = await peer.connect(`page-of-${name}`);
      assert.equal(called.path, 'broker');
      await called.send('again', { ack: true });
      await page.evaluate(() => peer.close());
    });
  }
});
