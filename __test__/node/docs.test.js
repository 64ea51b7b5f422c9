'use strict';
// The code on pages of docs/ runs as it stands there, and prints what the comments with an arrow say.

const assert = require('node:assert/strict');
const { before, test } = require('node:test');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { buildTest } = require('../../scripts/build-test');
const { loopback, root } = require('./helpers');

const urlOf = (file) => pathToFileURL(path.join(root, file)).href;
const MODULES = { linkup: urlOf('index.mjs'), 'linkup/test': urlOf('dist/test.cjs') };
// The blocks of code of each page.
const PAGES = { 'docs/migration.md': 2, 'docs/testing.md': 2 };

before(buildTest);

for (const [page, count] of Object.entries(PAGES)) {
  const text = fs.readFileSync(path.join(root, page), 'utf8');
  const blocks = [...text.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code);

  test(`there is code in ${page}`, () => assert.equal(blocks.length, count));

  for (const [index, code] of blocks.entries()) {
    test(`block ${index + 1} of ${page}`, async (t) => {
      const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-docs-'));
      const net = loopback();
      t.after(() => {
        net.remove();
        fs.rmSync(folder, { recursive: true });
      });
      const file = path.join(folder, 'block.mjs');
      fs.writeFileSync(
        file,
        code.replace(/from '(linkup.*?)'/g, (_, name) => `from '${MODULES[name]}'`),
      );
      const { code: status, output } = await net.run([file]).exited;
      const printed = output.trim().split('\n').toSorted();
      const promised = [...code.matchAll(/\/\/ → (.*)$/gm)].map(([, line]) => line).toSorted();
      assert.deepEqual(printed, promised);
      assert.equal(status, 0);
    });
  }
}
