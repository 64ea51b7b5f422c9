'use strict';
// linkup/oidc in a page: the user logs in at a real provider of another origin, comes back with a code, and the page
// verifies the ID token by keys that it fetches itself.

const assert = require('node:assert/strict');
const { createHash, randomBytes } = require('node:crypto');
const { after, before, describe, test } = require('node:test');
const { buildOidc } = require('../../scripts/build-oidc');
const { startProvider } = require('../js/provider');
const { launch, sideBySide } = require('./browser');
const { serve } = require('./server');

const KEY = Buffer.alloc(32, 7).toString('base64url');

/** In the page: the ID token for a code. */
async function exchange({ issuer, clientId, redirectUri, verifier }) {
  const code = new URL(location.href).searchParams.get('code');
  const body = new URLSearchParams({
    grant_type: 'authorization_code',
    client_id: clientId,
    redirect_uri: redirectUri,
    code_verifier: verifier,
    code,
  });
  const answer = await (await fetch(`${issuer}/token`, { method: 'POST', body })).json();
  return answer.id_token;
}

/** In the page: what a bundle says of a token. */
async function judge({ issuer, clientId, token, key, other, module }) {
  const { nonceOf, oidc } = module ? await import('/dist/oidc.mjs') : linkupOidc;
  const { LinkupError } = module ? await import('/dist/linkup.mjs') : linkup;
  const { verify } = oidc({ issuer, clientId });
  const refusal = await verify(token, other).catch((error) => error);
  const claims = await verify(token, key);
  return {
    claims,
    nonce: await nonceOf(key),
    refusal: refusal.message,
    code: refusal.code,
    ours: refusal instanceof LinkupError,
  };
}

let server;
let provider;
before(async () => {
  await buildOidc();
  server = await serve();
  provider = await startProvider({ redirectUri: `${server.url}/` });
});
after(async () => {
  await provider?.close();
  await server?.close();
});

sideBySide((name) => {
  describe(name, () => {
    let browser;
    before(async () => {
      browser = await launch(name);
    });
    after(() => browser?.close());

    test('a login, and what the page makes of its ID token', async () => {
      const { issuer, clientId } = provider;
      const { nonceOf } = require('linkup/oidc');
      const nonce = await nonceOf(KEY);
      const verifier = randomBytes(32).toString('base64url');
      const url = provider.authorizationUrl(
        { account: 'alice', email: 'alice@example.org', nonce },
        {
          code_challenge: createHash('sha256').update(verifier).digest('base64url'),
          code_challenge_method: 'S256',
        },
      );
      const page = await browser.page(url);
      assert.ok(page.url().startsWith(`${server.url}/?`), page.url());
      const token = await page.evaluate(exchange, { issuer, clientId, redirectUri: `${server.url}/`, verifier });
      await page.addScriptTag({ url: '/dist/oidc.js' });
      for (const module of [true, false]) {
        const other = Buffer.alloc(32, 8).toString('base64url');
        const said = await page.evaluate(judge, { issuer, clientId, token, key: KEY, other, module });
        assert.equal(said.claims.email, 'alice@example.org');
        assert.equal(said.claims.nonce, nonce);
        assert.equal(said.nonce, nonce);
        assert.equal(said.refusal, 'the ID token is refused: wrong nonce: the token belongs to another key');
        assert.equal(said.code, 'ERR_IDENTITY_MISMATCH');
        assert.ok(said.ours);
      }
    });
  });
});
