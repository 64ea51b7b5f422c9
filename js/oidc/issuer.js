'use strict';
// The keys of one issuer: found by discovery, kept for a while, and asked for again when a token names one that is not
// among them; never so often that strangers' tokens could make us a nuisance to the issuer.

const { createLocalJWKSet } = require('jose');
const { isObject } = require('../check');
const { fetchJson } = require('./json');
const { isLoopback, isSafe } = require('./options');
const { quoted, refusal } = require('./refusal');

/** Keys are kept so many ms. */
const KEYS_LAST = 10 * 60_000;
/** An unknown key id is a reason to ask again when the last answer is so many ms old. */
const COOLDOWN = 30_000;
/** An issuer that failed is not asked again for so many ms. */
const FAILURE_COOLDOWN = 5_000;
/** An issuer may take so many ms for an answer. */
const TIMEOUT = 5_000;

class Issuer {
  // {at, has, find} of the last answer; {at, error} of the last one that was none; the question that is under way.
  #keys;
  #failed;
  #asking;

  constructor(url, { fetch, now = Date.now, timeout = TIMEOUT }) {
    this.url = url;
    this.host = { fetch, now, timeout };
  }

  /** The key that a token's header names, for the algorithm that it names. */
  async key(header) {
    let keys = this.#isWithin(KEYS_LAST, this.#keys) ? this.#keys : await this.#ask();
    if (!keys.has(header) && !this.#isWithin(COOLDOWN, this.#keys) && !this.#isWithin(COOLDOWN, this.#failed)) {
      keys = await this.#ask();
    }
    try {
      return await keys.find(header);
    } catch (error) {
      throw this.#refusal(error, header, keys);
    }
  }

  #refusal(error, { alg, kid }, keys) {
    switch (error.code) {
      case 'ERR_JWKS_NO_MATCHING_KEY':
        if (keys.has({ kid }))
          return refusal(`its algorithm ${quoted(alg)} is not allowed: its key is for another`, error);
        return refusal(`unknown key id ${quoted(kid)}`, error);
      case 'ERR_JWKS_MULTIPLE_MATCHING_KEYS':
        return refusal('unknown key id: it names none, and its issuer has several keys', error);
      default:
        return error;
    }
  }

  /** A clock that was set back does not keep anything longer. */
  #isWithin(limit, { at } = {}) {
    const age = this.host.now() - at;
    return age >= 0 && age < limit;
  }

  /** The keys as the issuer has them now. Who asks meanwhile gets the same answer. */
  #ask() {
    if (this.#asking) return this.#asking;
    if (this.#isWithin(FAILURE_COOLDOWN, this.#failed)) return Promise.reject(this.#failed.error);
    this.#asking = this.#answer().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #answer() {
    try {
      const { keys } = await this.#discover();
      const names = new Set(keys.keys.map(({ kid }) => kid));
      this.#keys = { at: this.host.now(), has: ({ kid }) => names.has(kid), find: createLocalJWKSet(keys) };
      return this.#keys;
    } catch (error) {
      const why = error.cause?.message || error.message;
      const unreachable = refusal(`its issuer ${quoted(this.url)} is unreachable: ${why}`, error);
      this.#failed = { at: this.host.now(), error: unreachable };
      throw unreachable;
    }
  }

  /** OpenID Connect Discovery 1.0: where the keys are, from the one place that follows from the issuer's name. */
  async #discover() {
    const document = await fetchJson(`${this.url.replace(/\/$/, '')}/.well-known/openid-configuration`, this.host);
    if (document?.issuer !== this.url) throw new Error(`its discovery document is that of ${quoted(document?.issuer)}`);
    const { jwks_uri: uri } = document;
    const safe = typeof uri === 'string' && isSafe(uri, { loopback: isLoopback(this.url) });
    if (!safe) throw new Error(`its jwks_uri ${quoted(uri)} is not an https: URL`);
    const keys = await fetchJson(uri, this.host);
    if (!Array.isArray(keys?.keys) || !keys.keys.every(isObject))
      throw new Error('its jwks_uri has no JSON Web Key Set');
    return { keys };
  }
}

module.exports = { Issuer };
