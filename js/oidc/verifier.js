'use strict';
// Judges ID tokens by the rules of OpenID Connect Core 1.0, 3.1.3.7, and by one of our own: that the token is for the key
// of the peer that shows it.

const { decodeJwt, jwtVerify } = require('jose');
const { Issuer } = require('./issuer');
const { nonceOf } = require('./nonce');
const { quoted, refusal, refusalOf, wrongAudience } = require('./refusal');

const MAX_TOKEN = 16 * 1024;
/** Those whose keys the issuer alone has: with a shared secret everybody who can verify could sign. */
const ALGORITHMS = ['RS', 'PS', 'ES'].flatMap((family) => [256, 384, 512].map((bits) => family + bits));
ALGORITHMS.push('EdDSA', 'Ed25519');
const REQUIRED = ['sub', 'aud', 'exp', 'iat'];

class Verifier {
  #trust = new Map();
  #now;
  #clockTolerance;

  constructor({ trust, clockTolerance, fetch }, { now = Date.now, timeout } = {}) {
    this.#now = now;
    this.#clockTolerance = clockTolerance;
    for (const [url, clientIds] of trust) {
      this.#trust.set(url, { clientIds, issuer: new Issuer(url, { fetch, now, timeout }) });
    }
  }

  /** The claims of a token that belongs to that key; rejects ERR_IDENTITY_MISMATCH where it is not so. */
  async verify(token, publicKey) {
    const nonce = await nonceOf(publicKey);
    try {
      return await this.#claims(token, nonce);
    } catch (error) {
      throw refusalOf(error);
    }
  }

  async #claims(token, nonce) {
    if (typeof token !== 'string') throw refusal('it is malformed: not a string');
    if (token.length > MAX_TOKEN) throw refusal(`it is longer than ${MAX_TOKEN} bytes`);
    const { iss } = decodeJwt(token);
    const trusted = this.#trust.get(iss);
    if (!trusted) throw refusal(`its issuer ${quoted(iss)} is not trusted`);
    const { clientIds, issuer } = trusted;
    const now = this.#now();
    const { payload } = await jwtVerify(token, (header) => issuer.key(header), {
      algorithms: ALGORITHMS,
      issuer: issuer.url,
      audience: clientIds,
      requiredClaims: REQUIRED,
      clockTolerance: this.#clockTolerance,
      currentDate: new Date(now),
    });
    checkAudience(payload, clientIds);
    if (payload.iat > now / 1000 + this.#clockTolerance) throw refusal('it was issued in the future');
    if (payload.nonce !== nonce) throw refusal('wrong nonce: the token belongs to another key');
    if (typeof payload.sub !== 'string' || !payload.sub) throw refusal('it is malformed: the claim sub is not a name');
    return payload;
  }
}

/** Of several audiences each must be known, and one be named as the party that asked for the token. */
function checkAudience({ aud, azp }, clientIds) {
  const audiences = Array.isArray(aud) ? aud : [aud];
  if (!audiences.every((one) => clientIds.includes(one))) throw refusal(wrongAudience);
  if (azp === undefined ? audiences.length > 1 : !clientIds.includes(azp)) {
    throw refusal('wrong audience: azp, the party that asked for it, is another application');
  }
}

module.exports = { Verifier };
