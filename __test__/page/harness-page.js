'use strict';
// What the contract tests stand on in a page: the names of ../contract/harness.js. Brokers are made by the test's server,
// see server.js; linkup is dist/linkup.js, loaded before.

const assert = require('./assert');
const { using } = require('./using-page');

const { linkup } = globalThis;

// Nothing here takes longer, also on a busy machine; what must be faster is measured by its test.
const PATIENCE = 20_000;

const open = new Set();
const run = Math.random().toString(36).slice(2, 8);
const tests = [];
let count = 0;

/** The tests of this page, for the driver of the browser. */
globalThis.contract = {
  names: () => tests.map(({ name }) => name),
  async run(i) {
    try {
      await within(tests[i].body(), tests[i].name, 3 * PATIENCE);
      return null;
    } catch (error) {
      return `${error?.stack ?? error}`.startsWith(`${error}`) ? error.stack : `${error}\n${error?.stack}`;
    } finally {
      await Promise.allSettled([...open].map((peer) => within(peer.close(), 'close after the test')));
      open.clear();
    }
  },
};

async function ask(what) {
  const response = await fetch(`/broker/${what}`, { method: 'POST' });
  return response.json();
}

function test(name, body) {
  tests.push({ name, body: async () => body() });
}

function id(name = 'peer') {
  return `${name}-${run}-${++count}`;
}

function peer(name, options = {}) {
  return peerWithId(id(name), options);
}

function peerWithId(peerId, options = {}) {
  const given = options.brokerUrl ?? options.browserUrl;
  const made = linkup.createPeer(peerId, given === undefined ? { brokerUrl: brokerUrl(), ...options } : options);
  open.add(made);
  return made;
}

function brokerUrl() {
  return globalThis.brokerUrl;
}

async function registered(name, options) {
  const made = peer(name, options);
  await next(made, 'register');
  return made;
}

async function pair(optionsA, optionsB) {
  const [a, b] = await Promise.all([registered('a', optionsA), registered('b', optionsB)]);
  const incoming = next(b, 'connection');
  const ab = await within(a.connect(b.id), 'connect');
  return { a, b, ab, ba: await incoming };
}

function next(emitter, name) {
  return within(new Promise((resolve) => emitter.once(name, resolve)), `event ${name}`);
}

function within(promise, what, ms = PATIENCE) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function collect(emitter, name) {
  const list = [];
  let check = () => {};
  emitter.on(name, (value) => {
    list.push(value);
    check();
  });
  const until = (n) =>
    new Promise((resolve) => {
      check = () => list.length >= n && resolve(list);
      check();
    });
  return { list, until: (n) => within(until(n), `${n} events ${name}`) };
}

async function rejects(promise, code, properties = {}) {
  await assert.rejects(within(promise, code), (error) => {
    assert.ok(error instanceof linkup.LinkupError, `${error.stack} is a LinkupError`);
    assert.equal(error.code, code, error.stack);
    assert.ok(error.message.length > 0);
    for (const [name, value] of Object.entries(properties)) assert.deepEqual(error[name], value, name);
    return true;
  });
}

/** What linkup writes to the console while `work` runs, until there are `n`. */
async function warnings(n, work) {
  const list = [];
  let enough;
  const done = new Promise((resolve) => {
    enough = resolve;
  });
  const { warn } = console;
  console.warn = (text) => {
    const [, message, code] = /^linkup: (.*?)(?: \[(ERR_\w+)\])?$/s.exec(text);
    if (list.push({ message, code }) === n) enough();
  };
  try {
    await work();
    await within(done, `${n} warnings`);
  } finally {
    console.warn = warn;
  }
  return list;
}

async function ownBroker() {
  const { key, url } = await ask('new');
  return {
    url,
    stop: () => within(ask(`stop?${key}`), 'stop the broker'),
    start: () => within(ask(`start?${key}`), 'start the broker'),
  };
}

async function took(promise) {
  const start = performance.now();
  await promise;
  return performance.now() - start;
}

module.exports = {
  assert,
  linkup,
  brokerUrl,
  test,
  id,
  peer,
  peerWithId,
  registered,
  pair,
  next,
  within,
  collect,
  rejects,
  warnings,
  ownBroker,
  took,
  using,
};
