'use strict';
// What binds an ID token to a peer: its claim `nonce` is the hash of the peer's key.

const { decode, encode } = require('jose/base64url');
const { checkKey } = require('../identity');

/** The `nonce` with which the owner of a key logs in: the SHA-256 of its 32 bytes, as base64url. */
async function nonceOf(publicKey) {
  checkKey(publicKey, 'publicKey');
  const hash = await crypto.subtle.digest('SHA-256', decode(publicKey));
  return encode(new Uint8Array(hash));
}

module.exports = { nonceOf };
