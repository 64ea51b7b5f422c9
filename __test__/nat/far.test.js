'use strict';
// The same where the networks are far from each other, as on the internet: everything takes its time, also what tells
// that there is a direct path. It has to be taken all the same.

const assert = require('node:assert/strict');
const path = require('node:path');
const { after, before, test } = require('node:test');
const { BROKER, Lab, obstacle } = require('./lab');

const skip = obstacle({ delay: true });

/** Milliseconds each way between a router and the internet: another continent, and next door to the servers. */
const DELAY = { A: 100, B: 5 };

let lab;
before(async () => {
  if (!skip) lab = await Lab.open({ delay: DELAY });
});
after(() => lab?.close());

let count = 0;

for (const [one, other, expected] of [
  ['none', 'symmetric', 'direct'],
  ['portrestricted', 'portrestricted', 'direct'],
  ['fullcone', 'symmetric', 'direct'],
  ['symmetric', 'fullcone', 'direct'],
  ['tcp443', 'symmetric', 'turn'],
]) {
  for (const [from, to] of ['AB', 'BA']) {
    test(`${one} - ${other}, ${from} calls`, { skip, timeout: 40_000 }, async (t) => {
      lab.route('A', one);
      lab.route('B', other);
      const id = `called${++count}`;
      const [called, caller] = await Promise.all([lab.peer(to, id), lab.peer(from, `caller${count}`)]);
      const answer = await caller.ask(`connect ${id}`, 'answered');
      t.diagnostic(`${answer.path}, ${answer.ms} ms, ${answer.pair}`);
      await Promise.all([caller.kill(), called.kill()]);
      assert.equal(answer.path, expected);
    });
  }
}

test('a relay that is heard before it is named is known as one', { skip, timeout: 40_000 }, async () => {
  lab.route('A', 'none');
  lab.route('B', 'noudp');
  // So ICE hears from the relayed address before it is told of it (a peer-reflexive candidate, RFC 8445, 7.3.1.3).
  await lab.run('pub', [path.join(__dirname, 'late.js'), `ws://${BROKER}:443`, '444', '1000']).line('listening');
  const options = { brokerUrl: `ws://${BROKER}:444` };
  const [called, caller] = await Promise.all([lab.peer('A', 'called', options), lab.peer('B', 'caller', options)]);
  await caller.ask('connect called', 'answered');
  await Promise.all([caller.ask('relayed called', 'relayed'), called.ask('relayed caller', 'relayed')]);
  await Promise.all([caller.kill(), called.kill()]);
});
