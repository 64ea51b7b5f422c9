'use strict';
// Keys in Node.js: made by its own crypto, kept in a file.

const { createPrivateKey, createPublicKey, generateKeyPair, randomUUID } = require('node:crypto');
const { link, readFile, rm, writeFile } = require('node:fs/promises');
const { promisify } = require('node:util');
const { checkNames, checkText } = require('./check');
const { checkKey } = require('./identity');

const generate = promisify(generateKeyPair);

/** A new key pair, as text. */
async function createIdentity() {
  const { privateKey } = await generate('ed25519');
  const { x, d } = privateKey.export({ format: 'jwk' });
  return { publicKey: x, privateKey: d };
}

/** Whether the one is the public half of the other. */
function isPair({ publicKey, privateKey }) {
  if (typeof privateKey !== 'string') return false;
  const key = createPrivateKey({ key: { kty: 'OKP', crv: 'Ed25519', x: publicKey, d: privateKey }, format: 'jwk' });
  return createPublicKey(key).export({ format: 'jwk' }).x === publicKey;
}

/** The key pair in `file`, which is made where it is not there: for its owner's eyes only. */
async function loadIdentity(file) {
  checkText(file, 'file');
  for (;;) {
    try {
      return read(JSON.parse(await readFile(file, 'utf8')), file);
    } catch (error) {
      if (error.code !== 'ENOENT') throw error;
    }
    const identity = await createIdentity();
    if (await keep(identity, file)) return identity;
  }
}

/** False where another process was faster: its key counts. Nobody ever sees half of a file. */
async function keep(identity, file) {
  const draft = `${file}.${randomUUID()}`;
  await writeFile(draft, `${JSON.stringify(identity, null, 2)}\n`, { mode: 0o600, flag: 'wx' });
  try {
    await link(draft, file);
    return true;
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
    return false;
  } finally {
    await rm(draft);
  }
}

function read(identity, file) {
  checkNames(identity, ['publicKey', 'privateKey'], file);
  checkKey(identity.publicKey, `${file}: publicKey`);
  checkKey(identity.privateKey, `${file}: privateKey`);
  return identity;
}

module.exports = { createIdentity, isPair, loadIdentity };
