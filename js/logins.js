'use strict';
// The logins of one peer: its own ID token, renewed before it expires, and what is known of the remotes that have proved
// who they are. Knows tokens as texts with an end; linkup/oidc, whose `oidc` this is, reads what they say.

const { check, checkText } = require('./check');

/** Remotes whose login is judged and whose connection is not open yet: more than there can be at once. */
const MOST = 16384;
/** A token is renewed so many ms before its end, and at least after so many. */
const EARLY = 60000;
const SOONEST = 10000;
const LATEST = 2 ** 31 - 1;

class Logins {
  // By the engine's handle of a connection that is not open yet.
  #claims = new Map();
  #timer;
  #ended = false;

  constructor({ oidc }) {
    this.oidc = oidc;
  }

  /** Who a remote is that proved to have `key` and says that `login` is its; rejects where that is not so. */
  async judge(handle, key, login) {
    if (login && key && this.oidc) {
      const claims = await this.oidc.verify(login, key);
      this.#claims.set(handle, { key, claims });
      if (this.#claims.size > MOST) this.#claims.delete(this.#claims.keys().next().value);
    }
    return this.#of(handle, key);
  }

  /** The same, when the connection is open. */
  identity(handle, key) {
    const identity = this.#of(handle, key);
    this.#claims.delete(handle);
    return identity && Object.freeze(identity);
  }

  /** The application's own token; `renew` is called before it expires, where the application can make another one. */
  async token(renew) {
    const { token } = this.oidc ?? {};
    if (typeof token !== 'function') return token;
    const text = await token();
    checkText(text, 'token()');
    const left = endOf(text) - Date.now() - EARLY;
    if (this.#ended || !(left < LATEST)) return text;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(renew, Math.max(left, SOONEST));
    this.#timer.unref?.();
    return text;
  }

  stop() {
    this.#ended = true;
    clearTimeout(this.#timer);
  }

  #of(handle, key) {
    if (!key) return null;
    // A call may be made once more, and somebody else answer it.
    const known = this.#claims.get(handle);
    if (known?.key !== key) return { publicKey: key };
    const { claims } = known;
    const identity = { publicKey: key, claims };
    const { iss: issuer, sub: subject, email, email_verified: verified } = claims ?? {};
    // Some issuers take anything for an address, and say so.
    const said = { issuer, subject, email: verified === false ? undefined : email };
    for (const [name, value] of Object.entries(said)) if (value !== undefined) identity[name] = value;
    return identity;
  }
}

/** When a token expires, in ms since 1970. */
function endOf(token) {
  const [, claims = ''] = token.split('.');
  try {
    return JSON.parse(atob(claims.replace(/-/g, '+').replace(/_/g, '/'))).exp * 1000;
  } catch {
    check(false, 'token()', 'must return an ID token');
  }
}

module.exports = { Logins };
