'use strict';
// What a Node.js peer says of the messages that it takes.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { after, before, describe, test } = require('node:test');
const linkup = require('../../index.js');
const { installed, launch } = require('./browser');
const { serve } = require('./server');

for (const name of installed()) {
  describe(name, { timeout: 120_000 }, () => {
    let server;
    let browser;
    let plain;
    before(async () => {
      server = await serve();
      browser = await launch(name);
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
  });
}
