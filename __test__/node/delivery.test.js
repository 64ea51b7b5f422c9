// What was sent before a close arrives, a hundred times: 50 messages of 64 KiB, JSON and binary, from either side.
'use strict';

const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { linkup, startBroker, within } = require('./helpers');

let broker;
before(async () => {
  broker = await startBroker();
});
after(() => broker.close());

const once = (emitter, name) => new Promise((resolve) => emitter.once(name, resolve));

for (const [kind, make] of [
  ['JSON', (n) => `${n}`.padEnd(64 * 1024, 'x')],
  ['binary', (n) => Buffer.alloc(64 * 1024, n)],
]) {
  test(`50 x 64 KiB of ${kind}, then close(): 50 of 50, a hundred times, from either side`, async () => {
    const [a, b] = ['a', 'b'].map((id) => linkup.createPeer(`${kind}-${id}`, { brokerUrl: broker.url }));
    await Promise.all([once(a, 'register'), once(b, 'register')]);
    for (let round = 0; round < 100; round++) {
      const incoming = once(b, 'connection');
      const ours = await a.connect(b.id);
      const [from, to] = round % 2 ? [ours, await incoming] : [await incoming, ours];
      const got = [];
      to.on('message', (message) => got.push(message));
      const closed = once(to, 'close');
      for (let n = 0; n < 50; n++) from.send(make(n));
      await within(from.close(), 10_000, `close of round ${round}`);
      assert.deepEqual(await within(closed, 10_000, `the other's close of round ${round}`), { code: null, reason: '' });
      assert.equal(got.length, 50, `round ${round}`);
      got.forEach((message, n) => {
        assert.ok(kind === 'JSON' ? message === make(n) : Buffer.isBuffer(message) && message.equals(make(n)));
      });
    }
    await Promise.all([a.close(), b.close()]);
  });
}
