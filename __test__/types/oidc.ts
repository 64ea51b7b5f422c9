// What must compile with linkup/oidc, and what must not.

import { type IdTokenClaims, nonceOf, type Oidc, oidc } from 'linkup/oidc';

const judge: Oidc = oidc({ issuer: 'google', clientId: 'c', token: async () => 't', clockTolerance: 5, fetch });
oidc({ issuer: 'https://id.example.org', clientId: ['a', 'b'], token: 't' });
oidc({ trust: [{ issuer: 'facebook', clientId: 'c' }] });

const claims: Promise<IdTokenClaims> = judge.verify('token', 'key');
claims.then(({ sub, email, other }) => [sub.length, email?.length, other]);
nonceOf('key').then((nonce) => nonce.length);

// @ts-expect-error an issuer is needed
oidc({ clientId: 'c' });
// @ts-expect-error a client id is needed
oidc({ issuer: 'google' });
// @ts-expect-error one issuer or several
oidc({ issuer: 'google', clientId: 'c', trust: [] });
// @ts-expect-error an unknown option
oidc({ issuer: 'google', clientId: 'c', nonce: 'n' });
// @ts-expect-error a token is text
oidc({ issuer: 'google', clientId: 'c', token: 1 });
// @ts-expect-error a key is needed
judge.verify('token');
// @ts-expect-error claims are read-only
claims.then((all) => (all.sub = 'bob'));
