'use strict';
// What connections across routers go through: a remote that vanishes, and a network that carries nothing for a while.

const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { Lab, obstacle } = require('./lab');

const skip = obstacle();

/** Milliseconds: within the default of `timeouts.idle` a remote that vanishes is noticed; how long nothing passes. */
const [IDLE, BLACKHOLE] = [10_000, 3000];

/** Routers of both sides, and the path that there is. The last goes over TCP, which has its own idea of silence. */
const NETWORKS = [
  ['portrestricted', 'portrestricted', 'direct'],
  ['symmetric', 'symmetric', 'turn'],
  ['noudp', 'portrestricted', 'turn'],
];

let lab;
before(async () => {
  if (skip) return;
  lab = await Lab.open();
});
after(() => lab?.close());

let count = 0;

/** A peer behind router A, `called` behind router B, connected by that path. */
async function connected(called, path) {
  const a = await lab.peer('A', `a${++count}`);
  const peers = [];
  for (let index = 0; index < called; index++) {
    const id = `b${++count}`;
    const peer = await lab.peer('B', id);
    assert.equal((await a.ask(`connect ${id}`, 'answered')).path, path);
    peers.push({ id, peer });
  }
  return [a, ...peers];
}

for (const [one, other, path] of NETWORKS) {
  const name = `${one} - ${other}`;

  test(`a remote that is killed is noticed: ${name}`, { skip, timeout: 60_000 }, async (t) => {
    lab.route('A', one);
    lab.route('B', other);
    const [a, idle, busy] = await connected(2, path);
    await a.ask(`flood ${busy.id}`, 'flooding');
    await busy.peer.said('flooded');
    const start = Date.now();
    for (const { peer } of [idle, busy]) peer.kill();
    const ends = [await a.said('ended', 2 * IDLE), await a.said('ended', 2 * IDLE)];
    for (const { peer, code, at } of ends) {
      const ms = at - start;
      t.diagnostic(`${peer === idle.id ? 'idle' : 'busy'}: ${ms} ms`);
      assert.equal(code, 'ERR_CONNECTION_LOST');
      assert.ok(ms <= IDLE, `noticed after ${ms} ms`);
    }
    await a.kill();
  });

  test(`messages outlast ${BLACKHOLE} ms without a network: ${name}`, { skip, timeout: 60_000 }, async (t) => {
    lab.route('A', one);
    lab.route('B', other);
    const [a, b] = await connected(1, path);
    await a.ask(`flood ${b.id}`, 'flooding');
    await b.peer.said('flooded');
    lab.blackhole('A', true);
    // Not a wait for something: it is how long there is no network.
    await new Promise((resolve) => setTimeout(resolve, BLACKHOLE));
    lab.blackhole('A', false);
    const start = Date.now();
    const [{ count: sent }, { count: received }] = await Promise.all([
      a.ask(`stop ${b.id}`, 'stopped'),
      b.peer.said('complete'),
    ]);
    t.diagnostic(`${sent} messages, the last ${Date.now() - start} ms after the network was back`);
    assert.equal(received, sent);
    const unwanted = [a, b.peer].flatMap(({ child }) =>
      child.lines.filter((line) => /^(ended|disorder|refused) /.test(line)),
    );
    assert.deepEqual(unwanted, []);
    await Promise.all([a.kill(), b.peer.kill()]);
  });
}
