'use strict';
// Every kind of router with every other: two peers of Node.js connect, directly wherever that is possible, and through
// TURN everywhere else.

const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { BROKER, KINDS, Lab, TURN_URLS, credentials, obstacle } = require('./lab');

const skip = obstacle();

let lab;
before(async () => {
  if (skip) return;
  lab = await Lab.open();
});

const table = [];
after(async () => {
  await lab?.close();
  if (skip) return;
  const widths = [31, 7, 5, 7, 5, 0];
  for (const row of [['networks', 'path', 'ms', 'back', 'ms', 'candidates'], ...table]) {
    console.log(row.map((cell, column) => String(cell).padEnd(widths[column])).join(' '));
  }
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
async function connects(name, expected, options) {
  const [a, b] = [`a${++count}`, `b${count}`];
  const [one, other] = await Promise.all([lab.peer('A', a, options), lab.peer('B', b, options)]);
  const row = [name];
  table.push(row);
  const pairs = [];
  for (const [caller, called, id] of [
    [one, other, b],
    [other, one, a],
  ]) {
    const { path, measured, ms, pair } = await caller.ask(`connect ${id}`, 'answered');
    const heard = await called.said('heard');
    row.push(path, ms);
    pairs.push(pair);
    assert.deepEqual([path, measured, heard.path], [expected, expected, expected], pair);
    await caller.ask(`close ${id}`, 'closed');
    await called.said('ended');
  }
  row.push(pairs.join(', '));
  await Promise.all([one.kill(), other.kill()]);
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

for (const [index, url] of TURN_URLS.entries()) {
  test(`${url} is a way by itself`, { skip, timeout: 40_000 }, async () => {
    for (const side of ['A', 'B']) lab.route(side, 'symmetric');
    const iceServers = [{ urls: url, ...credentials() }];
    await connects(['TURN, UDP', 'TURN, TCP', 'TURN, TLS'][index], 'turn', { iceServers, iceTransportPolicy: 'relay' });
  });
}

test('where UDP passes, TURN over UDP is taken rather than TURN over TLS', { skip, timeout: 40_000 }, async () => {
  for (const side of ['A', 'B']) lab.route(side, 'symmetric');
  // By UDP there are relayed addresses of the one machine, by TLS of the other. Without STUN no relay is told of a router.
  const options = { iceServers: [{ urls: [TURN_URLS[0], TURN_URLS[2]], ...credentials() }] };
  const [one, other] = await Promise.all([lab.peer('A', 'one', options), lab.peer('B', 'other', options)]);
  const pairs = [];
  // It might be so by chance.
  for (let round = 0; round < 10; round++) {
    pairs.push((await one.ask('connect other', 'answered')).pair);
    await one.ask('close other', 'closed');
    await other.said('ended');
  }
  assert.deepEqual(new Set(pairs), new Set([`relay ${BROKER} - relay ${BROKER}`]), pairs.join('\n'));
  await Promise.all([one.kill(), other.kill()]);
});

test('without TURN there is no path where none is expected', { skip, timeout: 40_000 }, async () => {
  lab.route('A', 'portrestricted');
  lab.route('B', 'symmetric');
  const options = { iceServers: [{ urls: `stun:${BROKER}:3478` }] };
  const [caller, called] = await Promise.all([lab.peer('A', 'alone-a', options), lab.peer('B', 'alone-b', options)]);
  await assert.rejects(caller.ask('connect alone-b', 'answered'), /ERR_ICE_FAILED/);
  await Promise.all([caller.kill(), called.kill()]);
});
