'use strict';
// Every kind of router with every other: two peers of Node.js connect, directly wherever that is possible, and through
// TURN everywhere else.

const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { KINDS, Lab, obstacle } = require('./lab');

const skip = obstacle();

let lab;
before(async () => {
  if (skip) return;
  lab = new Lab();
  await lab.serve();
});

const table = [];
after(() => {
  lab?.close();
  if (skip) return;
  console.log(['networks', 'path', 'ms', 'and back', 'ms', 'pair of candidates'].join('\t'));
  for (const row of table) console.log(row.join('\t'));
});

/** Which way there is from one kind of router to another. */
function path(one, other) {
  const kinds = [one, other];
  const has = (kind) => kinds.includes(kind);
  if (has('noudp') || has('tcp443')) return 'turn';
  if (has('v6only')) return one === other ? 'direct' : 'turn';
  // The port of the one is not known before its packet comes, and that the other lets in only from a known port.
  if (has('symmetric') && (one === other || has('portrestricted'))) return 'turn';
  return 'direct';
}

let count = 0;

/** Two peers connect, say something to each other and close; then the other way round. */
async function connects(name, expected) {
  const start = performance.now();
  const [a, b] = [`a${++count}`, `b${count}`];
  const peers = { a: await lab.peer('A', a), b: await lab.peer('B', b) };
  const row = [name];
  table.push(row);
  const pairs = [];
  for (const [caller, called, id] of [
    [peers.a, peers.b, b],
    [peers.b, peers.a, a],
  ]) {
    const { path, measured, ms, pair } = await caller.ask(`connect ${id}`, 'answered');
    const heard = await called.said('heard');
    row.push(path, ms);
    pairs.push(pair);
    assert.deepEqual([path, measured, heard.path], [expected, expected, expected], pair);
    await caller.ask(`close ${id}`, 'closed');
    await called.said('ended');
  }
  row.push(pairs.join(', '), Math.round(performance.now() - start));
  await Promise.all([peers.a.kill(), peers.b.kill()]);
}

const kinds = Object.keys(KINDS);
for (const [index, one] of kinds.entries()) {
  for (const other of kinds.slice(index)) {
    const name = `${one} - ${other}`;
    test(name, { skip, timeout: 40_000 }, async () => {
      lab.route('A', one);
      lab.route('B', other);
      await connects(name, path(one, other));
    });
  }
}

test('both behind one symmetric router', { skip, timeout: 40_000 }, async () => {
  lab.routeBoth('symmetric');
  await connects('symmetric, both', 'direct');
});
