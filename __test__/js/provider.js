'use strict';
// A real OpenID provider on this machine, and a client that logs in as a browser does: it follows redirects and keeps
// cookies. Who the user is, the `login_hint` says; nobody is asked for a password or a consent.

const { createHash, randomBytes, randomUUID } = require('node:crypto');
const http = require('node:http');
const { once } = require('node:events');

const CLIENT_ID = 'linkup-test';

/** Does `work` without what the provider says about its not being fit for production, and about Node.js 20. */
async function quietly(work) {
  const { warn, info } = console;
  console.warn = console.info = () => {};
  try {
    return await work();
  } finally {
    Object.assign(console, { warn, info });
  }
}

async function newKey(alg) {
  const { exportJWK, generateKeyPair } = await import('jose');
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: randomUUID() };
}

/**
 * Starts a provider.
 *
 * @param {{alg?: string, redirectUri?: string}} [options] how it signs, and where a browser goes after a login
 * @returns {Promise<{
 *   issuer: string, clientId: string,
 *   login: (user: {account: string, email?: string, nonce?: string}) => Promise<string>,
 *   authorizationUrl: (user: object, more?: object) => string,
 *   rotate: () => Promise<void>, key: () => object,
 *   requests: string[], hold: (answer?: Function) => void, close: () => Promise<void>}>}
 *   `login` resolves with an ID token; `rotate` replaces the key pair; `key` is its JWK with the private half; `requests`
 *   are the paths that were asked for; `answer(request, response)` answers in the provider's place where it returns true
 */
async function startProvider({ alg = 'RS256', redirectUri = 'http://127.0.0.1/back' } = {}) {
  const { Provider } = await quietly(() => import('oidc-provider'));
  const emails = new Map();
  const requests = [];
  let provider;
  let handle;
  let key;
  let instead;

  const server = http.createServer(async (request, response) => {
    requests.push(request.url);
    if (instead?.(request, response)) return;
    if (!request.url.startsWith('/interaction/')) return handle(request, response);
    const { params } = await provider.interactionDetails(request, response);
    const result = { login: { accountId: params.login_hint } };
    await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const issuer = `http://127.0.0.1:${server.address().port}`;

  /** Consent that nobody has to give. */
  async function grant({ oidc }) {
    const { client, session, params } = oidc;
    const known = session.grantIdFor(client.clientId);
    if (known) return provider.Grant.find(known);
    const made = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
    made.addOIDCScope(params.scope);
    await made.save();
    return made;
  }

  const settings = () => ({
    clients: [
      {
        client_id: CLIENT_ID,
        redirect_uris: [redirectUri],
        response_types: ['code'],
        grant_types: ['authorization_code'],
        token_endpoint_auth_method: 'none',
        id_token_signed_response_alg: alg,
      },
    ],
    jwks: { keys: [key] },
    cookies: { keys: ['test'] },
    claims: { openid: ['sub'], email: ['email', 'email_verified'] },
    // So that the ID token says the e-mail address, as Google's does.
    conformIdTokenClaims: false,
    clientBasedCORS: () => true,
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_, { uid }) => `/interaction/${uid}` },
    loadExistingGrant: grant,
    enabledJWA: { idTokenSigningAlgValues: [alg] },
    ttl: { AccessToken: 3600, AuthorizationCode: 60, Grant: 3600, IdToken: 3600, Interaction: 60, Session: 3600 },
    findAccount: (_, accountId) => ({
      accountId,
      claims: () => ({ sub: accountId, email: emails.get(accountId), email_verified: true }),
    }),
  });

  async function rotate() {
    key = await newKey(alg);
    provider = await quietly(() => new Provider(issuer, settings()));
    handle = provider.callback();
  }

  /** Where a browser begins. */
  function authorizationUrl({ account, email, nonce }, more = {}) {
    emails.set(account, email);
    const query = new URLSearchParams({
      client_id: CLIENT_ID,
      response_type: 'code',
      redirect_uri: redirectUri,
      scope: 'openid email',
      login_hint: account,
      ...(nonce === undefined ? {} : { nonce }),
      ...more,
    });
    return `${issuer}/auth?${query}`;
  }

  /** The authorization code flow, with PKCE. */
  async function login(user) {
    const verifier = randomBytes(32).toString('base64url');
    const challenge = createHash('sha256').update(verifier).digest('base64url');
    const start = authorizationUrl(user, { code_challenge: challenge, code_challenge_method: 'S256' });
    const back = await follow(start, redirectUri);
    const code = back.searchParams.get('code');
    if (!code) throw new Error(`no code: ${back}`);
    const response = await fetch(`${issuer}/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'authorization_code',
        client_id: CLIENT_ID,
        redirect_uri: redirectUri,
        code_verifier: verifier,
        code,
      }),
    });
    const answer = await response.json();
    if (!answer.id_token) throw new Error(`no ID token: ${JSON.stringify(answer)}`);
    return answer.id_token;
  }

  await rotate();
  return {
    issuer,
    clientId: CLIENT_ID,
    requests,
    login,
    authorizationUrl,
    rotate,
    key: () => key,
    hold(answer) {
      instead = answer;
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** What a browser does with redirects and cookies, until it would leave for `end`. */
async function follow(start, end) {
  const cookies = new Map();
  let url = new URL(start);
  for (let hops = 0; hops < 10; hops++) {
    if (url.href.startsWith(end)) return url;
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(url, { redirect: 'manual', headers: { cookie } });
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      if (value) cookies.set(name, value);
      else cookies.delete(name);
    }
    const location = response.headers.get('location');
    if (!location) throw new Error(`HTTP status ${response.status} at ${url}: ${await response.text()}`);
    url = new URL(location, url);
  }
  throw new Error(`too many redirects, at last to ${url}`);
}

module.exports = { startProvider };
