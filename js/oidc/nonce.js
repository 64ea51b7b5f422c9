'use strict';
// What binds an ID token to a peer: its claim `nonce` is the hash of the peer's key.

const { decode, encode } = require('jose/base64url');
const { check } = require('../check');

/** 32 bytes as base64url: of the last character only four bits mean something. */
const KEY = /^[\w-]{42}[AEIMQUYcgkosw048]$/;

/** The `nonce` with which the owner of a key logs in: the SHA-256 of its 32 bytes, as base64url. */
async function nonceOf(publicKey) {
  const valid = typeof publicKey === 'string' && KEY.test(publicKey);
  check(valid, 'publicKey', 'must be a key: 43 characters of base64url');
  const hash = await crypto.subtle.digest('SHA-256', decode(publicKey));
  return encode(new Uint8Array(hash));
}

module.exports = { nonceOf };
