'use strict';
// What the tests of js/ share.

const assert = require('node:assert/strict');
const { linkup } = require('../../js/linkup');
const { pairEngine } = require('./pair-engine');

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

const rejects = (promise, code, more = {}) => assert.rejects(promise, { name: 'LinkupError', code, ...more });

module.exports = { uncaught, turns, memory, connected, rejects };
