'use strict';
// A connection that began over a TURN server, because nothing else led to the remote, and then could be a direct one: it
// goes over while messages flow, and nobody is told.

const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { Lab, obstacle } = require('./lab');

const skip = obstacle();

/** What each side is: Node.js, or a browser. The first one calls, and looks for the better way. */
const PAIRS = [
  [undefined, undefined],
  [undefined, 'firefox'],
  ['chromium', undefined],
  ['firefox', 'chromium'],
  [undefined, 'chromium'],
];

let lab;
before(async () => {
  if (skip) return;
  lab = await Lab.open();
  lab.route('A', 'portrestricted');
  lab.route('B', 'portrestricted');
});
after(() => lab?.close());

let count = 0;

for (const [one, other] of PAIRS) {
  const name = [one, other].map((browser) => browser ?? 'Node.js').join(' - ');
  test(`a TURN server is left for a direct way: ${name}`, { skip, timeout: 120_000 }, async (t) => {
    lab.part(true);
    const [a, b] = [`a${++count}`, `b${count}`];
    const peers = [await lab.peer('A', a, { browser: one }), await lab.peer('B', b, { browser: other })];
    const [alice, bob] = peers;
    assert.equal((await alice.ask(`connect ${b}`, 'answered', 30_000)).path, 'turn');
    await alice.ask(`flood ${b}`, 'flooding');
    await bob.said('flooded');
    lab.part(false);
    const start = Date.now();
    await Promise.all([alice.ask(`path ${b} direct`, 'path', 60_000), bob.ask(`path ${a} direct`, 'path', 60_000)]);
    t.diagnostic(`direct ${Date.now() - start} ms after that was possible`);
    const [{ count: sent }, { count: received }] = await Promise.all([
      alice.ask(`stop ${b}`, 'stopped', 30_000),
      bob.said('complete', 30_000),
    ]);
    assert.equal(received, sent);
    const told = peers.flatMap(({ child }) =>
      child.lines.filter((line) => /^(ended|disorder|refused|reconnecting|reconnected) /.test(line)),
    );
    assert.deepEqual(told, []);
    await Promise.all(peers.map((peer) => peer.kill()));
  });
}
