// The types of linkup/oidc. Written by hand; __test__/types uses them.

// A page that loads dist/oidc.js by a script tag has all of this as the global `linkupOidc`.
export as namespace linkupOidc;

/** Who may say who somebody is, and for which applications. */
export interface TrustedIssuer {
  /**
   * The issuer, exactly as its ID tokens have it in their claim `iss`: an `https:` URL, or an `http:` URL of this machine.
   * 'google' is `https://accounts.google.com`, 'facebook' is `https://www.facebook.com`.
   */
  issuer: 'google' | 'facebook' | (string & {});
  /**
   * The client ids of the application at that issuer. A token for others is refused, also where it is for others besides;
   * and so is one whose claim `azp` is another.
   */
  clientId: string | string[];
}

/** What there is to say whomever one trusts. */
export interface OidcSettings {
  /**
   * The own ID token, or a function that returns one, or a promise of one. Its claim `nonce` is `await nonceOf(publicKey)`
   * of the own key: log in with that. Who only wants to know who others are needs none.
   */
  token?: string | (() => string | Promise<string>);
  /** By how many seconds clocks may differ. Default: 60. */
  clockTolerance?: number;
  /**
   * How the issuer is asked for its keys. Default: the global `fetch`. For a page whose issuer does not let pages read
   * `/.well-known/openid-configuration` and its keys (CORS): one that asks a server of yours.
   */
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
}

/** Options of `oidc()`: one issuer, or several as `trust`. A wrong or unknown one is a TypeError that names it. */
export type OidcOptions = OidcSettings &
  ((TrustedIssuer & { trust?: undefined }) | { trust: TrustedIssuer[]; issuer?: undefined; clientId?: undefined });

/** The claims of an ID token (OpenID Connect Core 1.0, section 2). */
export interface IdTokenClaims {
  /** The issuer. */
  readonly iss: string;
  /** The user, as the issuer knows it: a name that is one for ever. An e-mail address is not. */
  readonly sub: string;
  /** The client ids that the token is for. */
  readonly aud: string | string[];
  /** When it expires, in seconds since 1970. */
  readonly exp: number;
  /** When it was issued, in seconds since 1970. */
  readonly iat: number;
  /** The hash of the peer's key. */
  readonly nonce: string;
  /** The client id of the party that asked for it. */
  readonly azp?: string;
  /** The user's e-mail address, with the scope `email`. */
  readonly email?: string;
  /** Whether the issuer has checked that the address is the user's. */
  readonly email_verified?: boolean;
  /** The user's name, with the scope `profile`. */
  readonly name?: string;
  /** The URL of a picture of the user, with the scope `profile`. */
  readonly picture?: string;
  /** Whatever else the issuer says. */
  readonly [claim: string]: unknown;
}

/** What createPeer takes as its option `identity.oidc`. */
export interface Oidc {
  /** The own ID token, as given. */
  readonly token?: string | (() => string | Promise<string>);
  /**
   * The claims of the ID token of a peer that has proved to have that key (base64url of 32 bytes). Rejects
   * ERR_IDENTITY_MISMATCH where the token is malformed or too long, expired or not valid yet, for another application or key,
   * of another issuer, not signed by it, or where the issuer cannot be asked for its keys; the message says which.
   */
  verify(token: string, publicKey: string): Promise<IdTokenClaims>;
}

/**
 * The option `identity.oidc` of createPeer: proves to other peers who the user is by an OpenID Connect login, and has
 * theirs verified. The issuer's keys are fetched when they are first needed and kept for ten minutes.
 *
 * @throws TypeError for a wrong option, with its name
 */
export function oidc(options: OidcOptions): Oidc;

/**
 * The `nonce` to log in with, so that the ID token belongs to the peer with that key: the SHA-256 of its 32 bytes, as
 * base64url. In a page only with https or on localhost.
 */
export function nonceOf(publicKey: string): Promise<string>;
