'use strict';
// The same where the networks are far from each other, as on the internet: everything takes its time, also what tells
// that there is a direct path. It has to be taken all the same.

const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { Lab, obstacle } = require('./lab');

const skip = obstacle({ delay: true });

/** Milliseconds each way between a router and the internet: another continent, and next door to the servers. */
const DELAY = { A: 100, B: 5 };

let lab;
before(async () => {
  if (!skip) lab = await Lab.open({ delay: DELAY });
});
after(() => lab?.close());

let count = 0;

for (const [one, other, path] of [
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
      const called = await lab.peer(to, id);
      const caller = await lab.peer(from, `caller${count}`);
      const answer = await caller.ask(`connect ${id}`, 'answered');
      t.diagnostic(`${answer.path}, ${answer.ms} ms, ${answer.pair}`);
      await Promise.all([caller.kill(), called.kill()]);
      assert.equal(answer.path, path);
    });
  }
}
