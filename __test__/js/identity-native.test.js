'use strict';
// Keys in Node.js: made, and kept in a file.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, before, test } = require('node:test');
const { createIdentity, isPair, loadIdentity } = require('../../js/identity-native');

let folder;
before(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-identity-'));
});
after(() => fs.rmSync(folder, { recursive: true }));

test('two identities are two', async () => {
  const [one, other] = [await createIdentity(), await createIdentity()];
  assert.ok(isPair(one) && isPair(other));
  assert.notEqual(one.publicKey, other.publicKey);
  assert.equal(isPair({ ...one, publicKey: other.publicKey }), false);
});

test('a file keeps it, for its owner only', async () => {
  const file = path.join(folder, 'kept.key');
  const made = await loadIdentity(file);
  assert.ok(isPair(made));
  assert.deepEqual(await loadIdentity(file), made);
  if (process.platform !== 'win32') assert.equal(fs.statSync(file).mode & 0o777, 0o600);
});

test('whoever loads at the same time gets the same', async () => {
  const file = path.join(folder, 'shared.key');
  const all = await Promise.all(Array.from({ length: 20 }, () => loadIdentity(file)));
  assert.equal(new Set(all.map(({ publicKey }) => publicKey)).size, 1);
  assert.deepEqual(
    fs.readdirSync(folder).filter((name) => name.startsWith('shared')),
    ['shared.key'],
  );
});

test('what is in the file is an identity, or it says so', async () => {
  const file = path.join(folder, 'wrong.key');
  const { publicKey, privateKey } = await createIdentity();
  for (const [text, name] of [
    ['', 'SyntaxError'],
    ['[]', 'TypeError'],
    ['{}', 'TypeError'],
    [JSON.stringify({ publicKey }), 'TypeError'],
    [JSON.stringify({ publicKey, privateKey: `${privateKey}x` }), 'TypeError'],
    [JSON.stringify({ publicKey, privateKey, more: 1 }), 'TypeError'],
  ]) {
    fs.writeFileSync(file, text);
    await assert.rejects(loadIdentity(file), { name, message: name === 'TypeError' ? /wrong\.key/ : /./ }, text);
    assert.equal(fs.readFileSync(file, 'utf8'), text, 'it is left as it is');
  }
  await assert.rejects(loadIdentity(path.join(folder, 'none', 'there.key')), { code: 'ENOENT' });
  await assert.rejects(loadIdentity(undefined), { name: 'TypeError' });
});
