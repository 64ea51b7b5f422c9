'use strict';
// The code in docs/migration.md runs as it stands there, and prints what the comments with an arrow say.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { loopback, root } = require('./helpers');

const text = fs.readFileSync(path.join(root, 'docs/migration.md'), 'utf8');
const blocks = [...text.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code);
const entry = pathToFileURL(path.join(root, 'index.mjs')).href;

test('there is code on the page', () => assert.equal(blocks.length, 2));

for (const [index, code] of blocks.entries()) {
  test(`block ${index + 1} of docs/migration.md`, async (t) => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-docs-'));
    const net = loopback();
    t.after(() => {
      net.remove();
      fs.rmSync(folder, { recursive: true });
    });
    const file = path.join(folder, 'block.mjs');
    fs.writeFileSync(file, code.replace("from 'linkup'", `from '${entry}'`));
    const { code: status, output } = await net.run([file]).exited;
    const printed = output.trim().split('\n').toSorted();
    const promised = [...code.matchAll(/\/\/ → (.*)$/gm)].map(([, line]) => line).toSorted();
    assert.deepEqual(printed, promised);
    assert.equal(status, 0);
  });
}
