'use strict';
// What the tests of js/ share.

const assert = require('node:assert/strict');
const { linkup } = require('../../js/linkup');
const { KIND, pairEngine } = require('./pair-engine');

/** Runs `work` and returns the exceptions that nobody caught in the meantime. */
async function uncaught(work) {
  const errors = [];
  // The test runner listens, too, and would call the test failed.
  const others = process.rawListeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  const collect = (error) => errors.push(error);
  process.on('uncaughtException', collect);
  try {
    await work();
    await turns(3);
  } finally {
    process.off('uncaughtException', collect);
    for (const listener of others) process.on('uncaughtException', listener);
  }
  return errors;
}

/** Lets everything that is due happen, several times over. */
async function turns(count = 10) {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** linkup over an engine in memory. */
function memory(options) {
  const pair = pairEngine(options);
  const { hub, api } = linkup(pair.engine);
  return { ...pair, ...api, hub };
}

/** Two connected peers and both ends of the connection. */
async function connected(options = {}) {
  const world = memory(options.engine);
  const a = world.createPeer('a', options.a);
  const b = world.createPeer('b', options.b);
  const other = new Promise((resolve) => b.once('connection', resolve));
  const ab = await a.connect('b');
  return { ...world, a, b, ab, ba: await other };
}

/**
 * A peer with an open connection to b that the test's events drive; `handle` is the connection's. Of streams: `hear` is
 * a frame from the remote, `frames` are those for it.
 */
async function driven({ engine, a, caller = true } = {}) {
  const world = memory({ auto: false, ...engine });
  const { put, called } = world;
  const peer = world.createPeer('a', a);
  const connecting = peer.connect('b');
  const handle = called('connect')[0][2];
  put(KIND.OPEN, handle, JSON.stringify({ peer: 1, remote: 'b', incoming: false, linkup: true, caller }));
  const connection = await connecting;
  const hear = async (kind, id, body = '') => {
    put(KIND.FRAME, handle, frameOf(kind, id, body));
    await turns(3);
  };
  const frames = () => called('frame').map(([, [, kind, id, body]]) => [kind, id, Buffer.from(body ?? '')]);
  return { ...world, peer, handle, connection, hear, frames };
}

/** A frame of a stream as it travels. */
function frameOf(kind, id, body) {
  const frame = Buffer.concat([Buffer.from([kind, 0, 0, 0, 0]), Buffer.from(body)]);
  frame.writeUInt32BE(id, 1);
  return frame;
}

/** The body of a CREDIT. */
function credit(bytes) {
  const body = Buffer.alloc(8);
  body.writeBigUInt64BE(BigInt(bytes));
  return body;
}

/** The argument of the next event `name`. */
const next = (emitter, name) => new Promise((resolve) => emitter.once(name, resolve));

const rejects = (promise, code, more = {}) => assert.rejects(promise, { name: 'LinkupError', code, ...more });

module.exports = { uncaught, turns, memory, connected, driven, credit, next, rejects };
