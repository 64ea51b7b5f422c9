'use strict';
// The signed signals of vectors/identity.json, which are checked in Rust and in browsers, too.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { KEY } = require('../../js/identity');
const { createIdentity, sign, verify } = require('../../js/page/identity');
const vectors = require('../../vectors/identity.json');

test(`${vectors.length} vectors`, async () => {
  const wrong = [];
  for (const { name, from, to, text, key, valid } of vectors) {
    if ((KEY.test(key) && (await verify(key, from, to, text))) !== valid) wrong.push(name);
  }
  assert.deepEqual(wrong, []);
});

test('half a character is not what would take its place', async () => {
  const keys = await createIdentity();
  const text = await sign(keys, '\ufffd', 'b', '{"x":"\ufffd"}');
  assert.equal(await verify(keys.publicKey, '\ufffd', 'b', text), true);
  assert.equal(await verify(keys.publicKey, '\ud800', 'b', text), false);
  assert.equal(await verify(keys.publicKey, '\ufffd', 'b', text.replace('\ufffd', '\udfff')), false);
});
