'use strict';
// The parts of `linkup doctor` that touch no network: STUN messages, URLs, and what findings mean.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { ATTRIBUTES, TYPES, addressIn, covered, errorCode, read, write } = require('../../bin/doctor/stun');
const { parse } = require('../../bin/doctor/servers');
const { judge } = require('../../bin/doctor/verdict');

/** The answers of RFC 5769, sections 2.2 and 2.3. */
const HEAD = '2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220';
const ANSWERS = {
  '192.0.2.1': `0101003c${HEAD}002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96`,
  '2001:db8:1234:5678:11:2233:4455:6677': `01010048${HEAD}002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c`,
};

test('the addresses in the answers of RFC 5769', () => {
  for (const [address, hex] of Object.entries(ANSWERS)) {
    const message = read(Buffer.from(hex, 'hex'));
    assert.equal(message.type, TYPES.BINDING | 0x100);
    assert.deepEqual(addressIn(message, ATTRIBUTES.MAPPED), { address, port: 32853 });
  }
});

test('what is no message of STUN is none, whatever it is', () => {
  const good = Buffer.from(ANSWERS['192.0.2.1'], 'hex');
  for (let length = 0; length < good.length; length++) assert.equal(read(good.subarray(0, length)), undefined);
  for (let at = 0; at < good.length; at++) {
    const bad = Buffer.from(good);
    bad[at] = 0xff;
    const message = read(bad);
    if (message) addressIn(message, ATTRIBUTES.MAPPED);
  }
});

test('an address comes back as it was written', () => {
  for (const address of ['192.0.2.1', '2001:db8::1', '::1', '2001:db8:1:2:3:4:5:6']) {
    const peer = { address, port: 3478 };
    const message = read(write(TYPES.PERMISSION, [[ATTRIBUTES.PEER, covered(peer)]]).packet);
    assert.deepEqual(addressIn(message, ATTRIBUTES.PEER), peer);
    assert.equal(errorCode(message), 0);
  }
});

test('URLs of servers', () => {
  const some = { secure: false, usable: true };
  for (const [url, expected] of [
    ['stun:a.example', { scheme: 'stun', host: 'a.example', port: 3478, transport: 'udp', ...some }],
    ['turn:192.0.2.1:80?transport=tcp', { scheme: 'turn', host: '192.0.2.1', port: 80, transport: 'tcp', ...some }],
    ['turn:[2001:db8::1]', { scheme: 'turn', host: '2001:db8::1', port: 3478, transport: 'udp', ...some }],
    ['turns:a', { scheme: 'turns', host: 'a', port: 5349, transport: 'tcp', secure: true, usable: true }],
  ]) {
    assert.deepEqual(parse(url), { url, ...expected });
  }
  for (const url of ['stuns:a', 'turns:a?transport=udp', 'stun:a:70000']) assert.equal(parse(url).usable, false);
  for (const url of ['http://a', 'stun:', 'turn:a b', 'turn:a?transport=sctp']) assert.equal(parse(url), undefined);
});

const broker = { url: 'ws://a.example', register: 1, answer: 1 };
const addresses = [{ address: '192.0.2.1', port: 3478 }];
const turn = (more) => ({ ...parse('turn:a.example'), addresses, ...more });
const works = { reach: { reached: true }, relay: { path: 'turn', connect: 1, message: 1 } };
const answers = [{ server: addresses[0], ms: 1, mapped: { address: '198.51.100.1', port: 1 } }];

/** The status of each line, by what it is about, and whether all is well. */
function judged(findings) {
  const { ok, checks } = judge({ broker, ...findings });
  for (const { status, advice } of checks) assert.ok(status === 'ok' || advice);
  return { ok, ...Object.fromEntries(checks.map(({ check, status }) => [check, status])) };
}

test('what is not known in time is neither good nor said to be bad', () => {
  assert.deepEqual(judge({ broker: { url: broker.url }, nat: {} }).ok, false);
  assert.deepEqual(judged({ servers: undefined, nat: {} }), { ok: false, broker: 'ok', turn: 'problem' });
  const unfinished = { 4: { kind: 'unfinished', answers: [] } };
  const expected = { broker: 'ok', udp: 'note' };
  assert.deepEqual(judged({ servers: [turn()], nat: unfinished }), { ok: false, ...expected, turn: 'problem' });
  assert.deepEqual(judged({ servers: [turn(works)], nat: unfinished }), { ok: true, ...expected, turn: 'ok' });
});

test('a relayed address that nobody reaches is worth a note', () => {
  const nat = { 4: { kind: 'unknown', answers, mapped: '198.51.100.1:1', relayed: '192.0.2.1:50000' } };
  const { checks } = judge({ broker, servers: [turn(works)], nat });
  assert.match(checks.find(({ status, check }) => status === 'note' && check === 'turn').found, /192\.0\.2\.1:50000/);
});

test('a symmetric NAT without TURN is a problem, unless peers meet over the broker', () => {
  const nat = { 4: { kind: 'symmetric', answers, mapped: '198.51.100.1:1' } };
  const stun = { ...parse('stun:a.example'), addresses };
  const expected = { broker: 'ok', udp: 'ok', stun: 'ok' };
  const bad = { ok: false, ...expected, nat: 'problem', turn: 'problem' };
  assert.deepEqual(judged({ servers: [stun], nat }), bad);
  assert.deepEqual(judged({ servers: [stun], nat, withoutPath: { error: new Error('no') } }), bad);
  const withoutPath = { path: 'broker', connect: 4000, message: 1 };
  const good = { ok: true, ...expected, nat: 'note', turn: 'note', relay: 'ok' };
  assert.deepEqual(judged({ servers: [stun], nat, withoutPath }), good);
  // Nor does a TURN server relay because there is another way.
  assert.equal(judged({ servers: [turn({ ...works, relay: withoutPath })], nat }).turn, 'problem');
});
