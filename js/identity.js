'use strict';
// Who a peer is, and who the others shall be: the option `identity`, and what is known of remote peers' keys. Knows the
// texts of keys; what is done with them is the engine's business.

const { check, checkNames, checkType, isObject } = require('./check');
const { LinkupError } = require('./errors');

/**
 * 32 bytes as base64url: of the last character only four bits mean something. Not how the points of small order begin:
 * with such a key anybody can sign.
 */
const KEY = /^(?!A[AQ]A{6}|7._{6}|xxdqcD1|JuiVj8K)[\w-]{42}[AEIMQUYcgkosw048]$/;

/** Throws a TypeError unless `key` is the text of a key. */
function checkKey(key, name) {
  check(typeof key === 'string' && KEY.test(key), name, 'must be a key: 43 characters of base64url');
}

/** The key that an id is; undefined for other ids. */
function keyOfId(id) {
  const key = id.startsWith('key:') ? id.slice(4) : '';
  return KEY.test(key) ? key : undefined;
}

/**
 * Reads the option `identity` of the peer `id`: what the engine takes, who judges logins, and the keys of others that are
 * remembered.
 */
function readIdentity(identity = {}, id, host) {
  const name = 'options.identity';
  checkNames(identity, ['publicKey', 'privateKey', 'oidc', 'known'], name);
  const { publicKey, privateKey, known } = identity;
  checkType(known, 'object', `${name}.known`);
  check(!known || [known.get, known.set].every((f) => typeof f === 'function'), `${name}.known`, 'must be like a Map');
  if (publicKey ?? privateKey) {
    checkKey(publicKey, `${name}.publicKey`);
    if (!isObject(privateKey)) checkKey(privateKey, `${name}.privateKey`);
    check(host.isPair(identity), name, 'is not a pair: it comes from createIdentity()');
  }
  const own = keyOfId(id);
  check(own === undefined || own === publicKey, 'id', 'is a key, whose options.identity is missing');
  const oidc = identity.oidc && readOidc(identity.oidc, host);
  return { engine: { publicKey, privateKey, verifies: oidc !== undefined }, oidc, known };
}

/** `{token, verify}`, which linkup/oidc makes. */
function readOidc(oidc, host) {
  const made = isObject(oidc) && typeof oidc.verify !== 'function' ? host.oidc?.(oidc) : oidc;
  check(typeof made?.verify === 'function', 'options.identity.oidc', 'must come from oidc() of linkup/oidc');
  return made;
}

/** Somebody else answers to that id. */
function stranger(peerId, why = 'has another key than the one that is known') {
  return new LinkupError('ERR_IDENTITY_MISMATCH', `${JSON.stringify(peerId)} ${why}`, { peerId });
}

module.exports = { KEY, checkKey, keyOfId, readIdentity, stranger };
