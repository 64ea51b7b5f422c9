'use strict';
// The contract tests, file by file, in each browser: the same files that ../contract runs in Node.js.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { buildPage, MAX_BYTES } = require('../../scripts/build-page');
const { launch, sideBySide } = require('./browser');
const { serve } = require('./server');

const ONLY = process.env.ONLY?.split(',');
const files = fs
  .readdirSync(path.join(__dirname, '../contract'))
  .filter((file) => file.endsWith('.test.js') && (ONLY === undefined || ONLY.some((part) => file.includes(part))));

test('dist is small enough for a page', async () => {
  for (const { file, bytes } of await buildPage()) {
    console.log(`${file}: ${bytes} bytes min+gzip`);
    assert.ok(bytes <= MAX_BYTES, `${bytes} bytes of at most ${MAX_BYTES}`);
  }
});

sideBySide((name) => {
  test(name, async (t) => {
    const server = await serve();
    const browser = await launch(name);
    try {
      for (const file of files) {
        const page = await browser.page(`${server.url}/?script=__test__/contract/${file}`);
        const names = await page.evaluate(() => globalThis.contract.names());
        for (const [i, title] of names.entries()) {
          await t.test(`${file}: ${title}`, async () => {
            const error = await page.evaluate((i) => globalThis.contract.run(i), i);
            assert.equal(error, null);
          });
        }
        await page.close();
      }
    } finally {
      await browser.close();
      await server.close();
    }
  });
});
