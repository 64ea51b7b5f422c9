'use strict';
// What the contract tests stand on in Node.js, wherever the peers are: `harnessOf` makes it. Knows linkup's API only.

const assert = require('node:assert/strict');
const { test: nodeTest } = require('node:test');
const { using } = require('./using');

// Nothing here takes longer, also on a busy machine; what must be faster is measured by its test.
const PATIENCE = 20_000;

/**
 * The names that the tests use.
 *
 * @param {object} where `linkup`; `brokerUrl()`; `startBroker(port?)`, a promise of `{url, port, close}`; `run(body)`, for a
 *   test's function; and the timers of the peers' clock
 */
function harnessOf({ linkup, brokerUrl, startBroker, run, setTimeout, clearTimeout, performance }) {
  const open = new Set();
  const ownBrokers = new Set();
  let count = 0;

  /** A test; its peers and its own brokers are closed after it. */
  function test(name, body) {
    nodeTest(name, { timeout: 3 * PATIENCE }, () =>
      run(async () => {
        try {
          await body();
        } finally {
          await Promise.allSettled([...open].map((peer) => within(peer.close(), 'close after the test')));
          open.clear();
          await Promise.allSettled([...ownBrokers].map(({ stop }) => stop()));
          ownBrokers.clear();
        }
      }),
    );
  }

  /** An id that no other test has. */
  function id(name = 'peer') {
    return `${name}-${++count}`;
  }

  /** A peer with an id of its own. */
  function peer(name, options = {}) {
    return peerWithId(id(name), options);
  }

  /** A peer with a given id. */
  function peerWithId(peerId, options = {}) {
    const given = options.brokerUrl ?? options.browserUrl;
    const made = linkup.createPeer(peerId, given === undefined ? { brokerUrl: brokerUrl(), ...options } : options);
    open.add(made);
    return made;
  }

  /** A peer that is registered. */
  async function registered(name, options) {
    const made = peer(name, options);
    await next(made, 'register');
    return made;
  }

  /** Two registered peers and both ends of the connection that `a` made. */
  async function pair(optionsA, optionsB) {
    const [a, b] = await Promise.all([registered('a', optionsA), registered('b', optionsB)]);
    const incoming = next(b, 'connection');
    const ab = await within(a.connect(b.id), 'connect');
    return { a, b, ab, ba: await incoming };
  }

  /** The argument of the next event `name`. */
  function next(emitter, name) {
    return within(new Promise((resolve) => emitter.once(name, resolve)), `event ${name}`);
  }

  /** Fails instead of hanging. */
  function within(promise, what, ms = PATIENCE) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`${what}: nothing within ${ms} ms`)), ms);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
  }

  /** A list of what `emitter` emits as `name`; `until(n)` waits for n of them. */
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

  /** The promise must reject with a LinkupError of that code and those properties. */
  async function rejects(promise, code, properties = {}) {
    await assert.rejects(within(promise, code), (error) => {
      assert.ok(error instanceof linkup.LinkupError, `${error.stack} is a LinkupError`);
      assert.equal(error.code, code, error.stack);
      assert.ok(error.message.length > 0);
      for (const [name, value] of Object.entries(properties)) assert.deepEqual(error[name], value, name);
      return true;
    });
  }

  /** The warnings of this process while `work` runs, until there are `n`. */
  async function warnings(n, work) {
    const { list, until } = collect(process, 'warning');
    await work();
    await until(n);
    return list.filter((warning) => warning.name === 'LinkupWarning').map(({ message, code }) => ({ message, code }));
  }

  /** A broker of the test's own, which can stop and come back on the same port. */
  async function ownBroker() {
    let own = await startBroker();
    const { url, port } = own;
    const handle = {
      url,
      stop: () => within(own.close(), 'stop the broker'),
      start: async () => {
        own = await startBroker(port);
      },
    };
    ownBrokers.add(handle);
    return handle;
  }

  /** How many ms something took. */
  async function took(promise) {
    const start = performance.now();
    await promise;
    return performance.now() - start;
  }

  return {
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
}

module.exports = { harnessOf };
