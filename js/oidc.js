'use strict';
// What `linkup/oidc` gives: logins by OpenID Connect, as the option `identity.oidc` of createPeer takes them. A bundle of
// its own (scripts/build-oidc.js): who has no logins does not load it.

const { nonceOf } = require('./oidc/nonce');
const { readOptions } = require('./oidc/options');
const { Verifier } = require('./oidc/verifier');

/**
 * This peer's ID token, and the judge of those of others: `{token, verify}`.
 *
 * @param {object} options see oidc.d.ts
 * @param {{now?: () => number, timeout?: number}} [host] for tests: the clock, and how many ms an issuer may take
 */
function oidc(options, host) {
  const { token, ...settings } = readOptions(options);
  const verifier = new Verifier(settings, host);
  return { token, verify: (idToken, publicKey) => verifier.verify(idToken, publicKey) };
}

module.exports = { nonceOf, oidc };
