// A short soak: peers in four processes connect, send, close, abort and are killed by chance. `npm run soak` has the hour.
'use strict';

const assert = require('node:assert/strict');
const path = require('node:path');
const { test } = require('node:test');
const { node, root, within } = require('./helpers');

const SOAK = path.join(root, 'bench/soak.js');
const linux = process.platform === 'linux';

// Too short to see anything grow: that takes ten minutes.
test('a quarter of a minute of everything by chance', { skip: !linux && 'reads /proc' }, async () => {
  const child = node([SOAK, '--minutes', '0.25']);
  const { code, output } = await within(child.exited, 240_000, () => `the soak\n${child.output}`);
  console.log(output);
  assert.equal(code, 0, output);
  const count = (what) => Number(new RegExp(`([\\d,]+) ${what}`).exec(output)?.[1].replaceAll(',', ''));
  // It did something, with somebody killed.
  assert.ok(count('messages') > 1000 && count('connections') > 100 && count('kills') > 0, output);
  assert.match(output, /all well/);
});

test('what it does not know is refused', async () => {
  for (const args of [['--minutes', 'x'], ['--processes', '1'], ['--nonsense']]) {
    const { code, output } = await within(node([SOAK, ...args]).exited, 20_000, 'the refusal');
    assert.equal(code, 2, output);
    assert.ok(output.includes(args[0]), output);
  }
});
