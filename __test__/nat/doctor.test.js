'use strict';
// `linkup doctor` behind each kind of router: it says which one it is, what works, and ends with the right code.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, before, test } = require('node:test');
const { within } = require('../node/helpers');
const { BROKER, Lab, OTHER, TURN_URLS, obstacle } = require('./lab');

const skip = obstacle();

let lab;
before(async () => {
  if (!skip) lab = await Lab.open();
});
after(() => lab?.close());

/** Runs the doctor on side A: its code, what it prints, and of that what a line says about `check`. */
async function examined(kind, options) {
  lab.route('A', kind);
  const { code, output } = await lab.doctor('A', options).exited;
  const { ok, checks } = JSON.parse(output);
  assert.equal(ok, code === 0, output);
  return { code, output, of: (name) => checks.filter(({ check }) => check === name) };
}

/** Another broker, on port 444, without TURN. */
async function brokerWith(...flags) {
  const broker = lab.run('pub', ['bin/linkup.js', 'broker', '--port', '444', '--no-turn', ...flags]);
  await broker.line('listening on');
  return broker;
}

const works = ['ok', 'ok', 'ok'];

/** The kind of NAT and its filtering; whether UDP leaves; the three URLs of TURN: UDP, TCP, TLS on port 443. */
for (const [kind, nat, filtering, udp, turn] of [
  ['none', 'none', 'by address at most', 'ok', works],
  ['fullcone', 'cone', 'by address at most', 'ok', works],
  ['portrestricted', 'cone', 'by port', 'ok', works],
  ['symmetric', 'symmetric', undefined, 'ok', works],
  ['noudp', undefined, undefined, 'note', ['note', 'ok', 'ok']],
  ['tcp443', undefined, undefined, 'note', ['note', 'note', 'ok']],
]) {
  test(`behind a router of the kind ${kind}`, { skip, timeout: 40_000 }, async () => {
    const { code, output, of } = await examined(kind);
    assert.equal(code, 0, output);
    const [found] = of('nat');
    assert.deepEqual([found?.nat, found?.filtering], [nat, filtering], output);
    assert.equal(of('udp')[0].status, udp, output);
    const relays = of('turn');
    assert.deepEqual(
      relays.map(({ url }) => url),
      TURN_URLS,
    );
    assert.deepEqual(
      relays.map(({ status }) => status),
      turn,
      output,
    );
  });
}

test('with nothing but IPv6', { skip, timeout: 40_000 }, async () => {
  const { code, output, of } = await examined('v6only');
  assert.equal(code, 0, output);
  assert.deepEqual([of('nat')[0].nat, of('nat')[0].family, of('nat')[0].filtering], ['none', 6, 'by port'], output);
});

test('without TURN it goes over the broker, and the advice is TURN', { skip, timeout: 60_000 }, async () => {
  const urls = [BROKER, OTHER].flatMap((address) => ['--ice-url', `stun:${address}:3478`]);
  const broker = await brokerWith(...urls);
  for (const [kind, nat, statusOfNat, udp] of [
    ['symmetric', 'symmetric', 'note', 'ok'],
    ['noudp', undefined, undefined, 'note'],
    ['portrestricted', 'cone', 'ok', 'ok'],
  ]) {
    const { code, output, of } = await examined(kind, { port: 444 });
    assert.equal(code, 0, output);
    // Two servers tell as much as one that relays, but not who may answer.
    assert.deepEqual([of('nat')[0]?.nat, of('nat')[0]?.status, of('udp')[0].status], [nat, statusOfNat, udp], output);
    const [turn] = of('turn');
    assert.deepEqual([turn.status, turn.found], ['note', 'The broker names no TURN server.']);
    assert.match(turn.advice, /--ice-url/);
    assert.equal(of('relay')[0].status, 'ok', output);
  }
  await broker.kill();
});

test('a name server that does not answer holds nothing up', { skip, timeout: 40_000 }, async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-doctor-'));
  const resolver = path.join(folder, 'resolv.conf');
  // Private addresses lead nowhere. To wait for it would take minutes.
  fs.writeFileSync(resolver, 'nameserver 10.9.9.9\noptions timeout:30 attempts:5\n');
  const broker = await brokerWith('--ice-url', 'stun:stun.example');
  const { code, output, of } = await within(examined('portrestricted', { port: 444, resolver }), 25_000, 'the end');
  assert.equal(code, 1);
  assert.match(of('stun')[0].found, /stun\.example .*has no address/, output);
  await broker.kill();
  fs.rmSync(folder, { recursive: true });
});
