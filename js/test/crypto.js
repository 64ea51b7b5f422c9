'use strict';
// WebCrypto as the peers of one network have it: the real one, with its results in order, and chance and keys that are the same
// for the same seed.

const { createPrivateKey, webcrypto } = require('node:crypto');

const METHODS = ['sign', 'verify', 'digest', 'encrypt', 'decrypt', 'importKey', 'exportKey', 'deriveBits', 'deriveKey'];
const NAME = 'Ed25519';
/** How a private key begins in PKCS #8 (RFC 8410, section 7). */
const PKCS8 = [48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32];

/** A key pair as text, as createIdentity() of Node.js has it. */
function identityOf(world) {
  const bytes = Buffer.from([...PKCS8, ...world.bytes(32)]);
  const { x, d } = createPrivateKey({ key: bytes, format: 'der', type: 'pkcs8' }).export({ format: 'jwk' });
  return { publicKey: x, privateKey: d };
}

/** What a page has as `crypto`. */
function cryptoOf(world) {
  const { subtle } = webcrypto;
  const inOrder = (promise) => world.time.inOrder(promise);
  const own = Object.fromEntries(METHODS.map((name) => [name, (...args) => inOrder(subtle[name](...args))]));

  async function ed25519() {
    const { publicKey, privateKey } = identityOf(world);
    const jwk = { kty: 'OKP', crv: NAME, x: publicKey };
    return {
      publicKey: await subtle.importKey('jwk', jwk, NAME, true, ['verify']),
      privateKey: await subtle.importKey('jwk', { ...jwk, d: privateKey }, NAME, false, ['sign']),
    };
  }

  own.generateKey = (how, ...args) => inOrder(how === NAME ? ed25519() : subtle.generateKey(how, ...args));
  return {
    subtle: own,
    getRandomValues(array) {
      array.set(world.bytes(array.length));
      return array;
    },
  };
}

/** Whether the owner of a key has signed what a broker asks for. */
function provesIn(crypto) {
  const bytes = (text) => Buffer.from(text, 'base64url');
  return async (key, proof, challenge, id) => {
    const known = await crypto.subtle.importKey('raw', bytes(key), NAME, false, ['verify']);
    const said = Buffer.from(`linkup register 1\0${challenge}\0${id}`);
    return crypto.subtle.verify(NAME, known, bytes(proof), said);
  };
}

module.exports = { cryptoOf, identityOf, provesIn };
