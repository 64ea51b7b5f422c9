'use strict';
// What a Node.js peer says of the messages that it takes, and what becomes of those that Firefox lets through all the same.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { after, before, describe, test } = require('node:test');
const linkup = require('../../index.js');
const { installed, launch } = require('./browser');
const { serve } = require('./server');

for (const name of installed().filter((name) => name === 'firefox')) {
  describe(name, { timeout: 120_000 }, () => {
    let server;
    let browser;
    let plain;
    before(async () => {
      server = await serve();
      browser = await launch('firefox');
      plain = await browser.page(`${server.url}/?script=__test__/page/simple-page.js`);
    });
    after(async () => {
      await browser.close();
      await server.close();
    });

    const call = (id) =>
      plain.evaluate(async (id) => {
        globalThis.simple = await (await plainClient(brokerUrl, `plain-${id}`)).call(id);
        return simple.heardSdp.match(/a=max-message-size:.*/g);
      }, id);

    test('Node.js with a smaller limit announces that, as a page does', async () => {
      const peer = linkup.createPeer('small', { brokerUrl: server.broker.url, limits: { messageBytes: 1001 } });
      await once(peer, 'register');
      assert.deepEqual(await call('small'), ['a=max-message-size:1001']);
      await peer.close();
    });

    test('a text that is larger than announced is delivered or ends the connection, but does not vanish', async () => {
      const peer = linkup.createPeer('large', { brokerUrl: server.broker.url });
      await once(peer, 'register');
      const incoming = once(peer, 'connection');
      await call('large');
      const [connection] = await incoming;
      // Whichever comes first.
      const outcome = new Promise((resolve) => {
        connection.once('message', (message) => resolve(['message', message.length]));
        connection.once('close', ({ code }) => resolve(['close', code]));
      });
      // Firefox counts UTF-16 units where it checks the limit: 262,145 bytes pass.
      await plain.evaluate(() => {
        simple.send(JSON.stringify(`${'é'.repeat((262_144 - 2) / 2)}x`));
        simple.send(JSON.stringify('after'));
      });
      const [what, about] = await outcome;
      assert.ok(what === 'close' || about === 131_072, `${what} ${about}: the first message has vanished`);
      await peer.close();
    });
  });
}
