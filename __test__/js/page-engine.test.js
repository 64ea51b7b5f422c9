'use strict';
// What the engine of a page says about messages: they are with the application when it has them, and not before.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { deliver } = require('../../js/delivery');
const { engine } = require('../../js/engine-page');
const EVENTS = require('../../js/events');
const { until } = require('./page-wire');

/** A broker that never answers. */
class WebSocket {
  close() {}
  send() {}
}

/** One that does not keep Node.js running. */
class MessageChannel {
  port1 = {};
  port2 = { postMessage: () => setImmediate(() => this.port1.onmessage()) };
}

test('a message counts as handed over when the application has it, not when it is in a batch', async (t) => {
  const options = { id: 'a', brokers: ['ws://nobody'], iceServers: [], timeouts: { register: 1000 }, limits: {} };
  const its = { WebSocket: globalThis.WebSocket, MessageChannel: globalThis.MessageChannel };
  Object.assign(globalThis, { WebSocket, MessageChannel });
  t.after(() => Object.assign(globalThis, its));
  const heard = [];
  const handed = [];
  const early = [];
  const link = { transport: { handed: (cost) => handed.push(cost) } };
  const mailbox = deliver(engine, (_kind, to, message) => {
    if (to !== link) return;
    // What was said so far can only be about what came before.
    early.push(handed.length > heard.length);
    heard.push(message);
    return true;
  });
  const peer = engine.createPeer(mailbox, options);
  t.after(() => peer.closePeer());
  for (let n = 0; n < 1000; n++) peer.put(n % 2 ? EVENTS.TEXT : EVENTS.BINARY, link, n, n + 1);
  await until(() => handed.length === 1000, 'the last message');
  assert.deepEqual(heard, [...Array(1000).keys()]);
  assert.ok(!early.includes(true), 'said before it was true');
  assert.deepEqual(
    handed,
    [...Array(1000).keys()].map((n) => n + 1),
  );
});
