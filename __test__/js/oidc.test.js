'use strict';
// linkup/oidc against a real OpenID provider on this machine. What a provider would never issue is signed here with its key.

const assert = require('node:assert/strict');
const { createHash, generateKeyPairSync } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { after, before, beforeEach, describe, test } = require('node:test');
const vm = require('node:vm');
const { LinkupError } = require('../../js/errors');
const { buildOidc } = require('../../scripts/build-oidc');
const { startProvider } = require('./provider');

const newKey = () => generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' }).x;
const KEY = newKey();
const ALICE = { account: 'alice', email: 'alice@example.org' };
const seconds = () => Math.floor(Date.now() / 1000);

let jose;
let oidc;
let nonceOf;
let provider;
before(async () => {
  await buildOidc();
  ({ nonceOf, oidc } = require('linkup/oidc'));
  jose = await import('jose');
  provider = await startProvider();
});
after(() => provider.close());
beforeEach(() => {
  provider.requests.length = 0;
  provider.hold(undefined);
});

const trusting = (one = provider) => ({ issuer: one.issuer, clientId: one.clientId });
const fetched = () => provider.requests.filter((url) => url === '/jwks').length;

/** `verify` for the provider's tokens, with a clock that stands until it is set: `at`, in ms from now. */
function judge(options, host) {
  const clock = { at: 0 };
  const start = Date.now();
  const { verify } = oidc({ ...trusting(), ...options }, { now: () => start + clock.at, ...host });
  return { clock, verify };
}

/** A token as the provider issues them, with other claims; signed with its key unless with another. */
async function forge(changes = {}, header = {}, key = provider.key()) {
  const claims = {
    iss: provider.issuer,
    sub: 'alice',
    aud: provider.clientId,
    iat: seconds(),
    exp: seconds() + 3600,
    nonce: await nonceOf(KEY),
    ...changes,
  };
  // What JSON leaves out.
  const payload = new TextEncoder().encode(JSON.stringify(claims));
  const { alg, kid } = provider.key();
  const protectedHeader = { alg, kid, ...header };
  const secret = key instanceof Uint8Array ? key : await jose.importJWK(key, protectedHeader.alg);
  return new jose.CompactSign(payload).setProtectedHeader(protectedHeader).sign(secret);
}

const encoded = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** Refused, for exactly that reason. */
async function refused(promise, reason) {
  const start = 'the ID token is refused: ';
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof LinkupError, String(error.stack));
    assert.equal(error.code, 'ERR_IDENTITY_MISMATCH');
    assert.ok(error.message.startsWith(start), error.message);
    if (reason instanceof RegExp) assert.match(error.message.slice(start.length), reason);
    else assert.equal(error.message.slice(start.length), reason);
    return true;
  });
}

describe('logins', () => {
  for (const alg of ['RS256', 'RS512', 'PS256', 'ES256', 'ES384', 'EdDSA', 'Ed25519']) {
    test(`of a real provider that signs with ${alg}`, async () => {
      const other = await startProvider({ alg });
      try {
        const token = await other.login({ ...ALICE, nonce: await nonceOf(KEY) });
        assert.equal(jose.decodeProtectedHeader(token).alg, alg);
        const claims = await oidc(trusting(other)).verify(token, KEY);
        const { iss, sub, aud, email, email_verified } = claims;
        assert.deepEqual(
          { iss, sub, aud, email, email_verified },
          { iss: other.issuer, sub: 'alice', aud: other.clientId, email: ALICE.email, email_verified: true },
        );
        assert.equal(claims.nonce, await nonceOf(KEY));
      } finally {
        await other.close();
      }
    });
  }

  test('of several issuers, each for its own client ids', async () => {
    const other = await startProvider({ alg: 'ES256' });
    try {
      const { verify } = oidc({ trust: [trusting(), { issuer: other.issuer, clientId: ['x', other.clientId] }] });
      const nonce = await nonceOf(KEY);
      for (const one of [provider, other]) {
        const claims = await verify(await one.login({ ...ALICE, nonce }), KEY);
        assert.equal(claims.iss, one.issuer);
      }
      await refused(verify(await forge({ aud: 'x' }), KEY), 'wrong audience: it is for another application');
      await refused(verify(await forge({ iss: other.issuer }), KEY), /^unknown key id /);
    } finally {
      await other.close();
    }
  });

  test('of another key', async () => {
    const { verify } = judge();
    const token = await provider.login({ ...ALICE, nonce: await nonceOf(newKey()) });
    await refused(verify(token, KEY), 'wrong nonce: the token belongs to another key');
  });

  test('that had no nonce', async () => {
    const { verify } = judge();
    await refused(verify(await provider.login(ALICE), KEY), 'wrong nonce: the token belongs to another key');
  });

  test('the own token goes through as it is', () => {
    const token = async () => 't';
    assert.equal(oidc({ ...trusting(), token }).token, token);
    assert.equal(oidc({ ...trusting(), token: 't' }).token, 't');
    assert.equal(oidc(trusting()).token, undefined);
  });
});

describe('the nonce', () => {
  test('is the hash of the key', async () => {
    const hash = createHash('sha256').update(Buffer.from(KEY, 'base64url')).digest('base64url');
    assert.equal(await nonceOf(KEY), hash);
  });

  test('is that of a key', async () => {
    const { verify } = judge();
    const wrong = [undefined, 1, '', KEY.slice(1), `${KEY}A`, `${KEY}=`, `${KEY.slice(0, 42)}B`, `+${KEY.slice(1)}`];
    for (const key of wrong) {
      await assert.rejects(nonceOf(key), { name: 'TypeError', message: /^publicKey: must be a key/ });
      await assert.rejects(verify('x', key), { name: 'TypeError', message: /^publicKey: must be a key/ });
    }
  });
});

describe('claims', () => {
  for (const [what, changes, reason, options] of [
    ['for another application', { aud: 'other' }, 'wrong audience: it is for another application'],
    ['for none', { aud: undefined }, 'it is malformed: no claim aud'],
    ['for no text', { aud: 1 }, 'wrong audience: it is for another application'],
    ['for nobody', { aud: [] }, 'wrong audience: it is for another application'],
    [
      'for another application, too',
      { aud: ['linkup-test', 'other'], azp: 'linkup-test' },
      'wrong audience: it is for another application',
    ],
    [
      'for two of ours, asked for by nobody',
      { aud: ['linkup-test', 'b'] },
      'wrong audience: azp, the party that asked for it, is another application',
      { clientId: ['linkup-test', 'b'] },
    ],
    [
      'asked for by another application',
      { azp: 'other' },
      'wrong audience: azp, the party that asked for it, is another application',
    ],
    ['expired', { exp: seconds() - 3600 }, 'it has expired'],
    ['that never expires', { exp: undefined }, 'it is malformed: no claim exp'],
    ['that expires in words', { exp: 'never' }, 'it is malformed: the claim exp is not a number'],
    ['not valid yet', { nbf: seconds() + 3600 }, 'it is not valid yet'],
    ['of the future', { iat: seconds() + 3600 }, 'it was issued in the future'],
    ['of no time', { iat: undefined }, 'it is malformed: no claim iat'],
    ['of no issuer', { iss: undefined }, 'its issuer "undefined" is not trusted'],
    ['of an unknown issuer', { iss: 'https://evil.example' }, 'its issuer "https://evil.example" is not trusted'],
    ['of an issuer that is no text', { iss: [] }, 'its issuer "" is not trusted'],
    ['of nobody', { sub: undefined }, 'it is malformed: no claim sub'],
    ['of an empty subject', { sub: '' }, 'it is malformed: the claim sub is not a name'],
    ['of a subject that is no text', { sub: 1 }, 'it is malformed: the claim sub is not a name'],
    ['with another nonce', { nonce: 'x' }, 'wrong nonce: the token belongs to another key'],
    ['with a list of nonces', { nonce: ['x'] }, 'wrong nonce: the token belongs to another key'],
  ]) {
    test(`a token ${what} is refused`, async () => {
      const { verify } = judge(options);
      await refused(verify(await forge(changes), KEY), reason);
    });
  }

  test('several audiences that are all ours, asked for by one of them', async () => {
    const { verify } = judge({ clientId: ['linkup-test', 'b', 'c'] });
    const { azp } = await verify(await forge({ aud: ['linkup-test', 'b'], azp: 'c' }), KEY);
    assert.equal(azp, 'c');
    await verify(await forge({ aud: ['b'] }), KEY);
  });

  test('an issuer is compared letter by letter', async () => {
    const { verify } = judge();
    await refused(verify(await forge({ iss: `${provider.issuer}/` }), KEY), /^its issuer ".*" is not trusted$/);
  });

  test('clocks may differ by the tolerance and no more', async () => {
    for (const clockTolerance of [undefined, 0, 5]) {
      const { clock, verify } = judge({ clockTolerance });
      const tolerance = (clockTolerance ?? 60) * 1000;
      const now = seconds();
      const token = await forge({ iat: now + 100, nbf: now + 100, exp: now + 200 });
      for (const claim of ['iat', 'nbf']) {
        const only = await forge({ iat: now, exp: now + 200, [claim]: now + 100 });
        clock.at = 100_000 - tolerance - 2000;
        await refused(verify(only, KEY), claim === 'iat' ? 'it was issued in the future' : 'it is not valid yet');
      }
      clock.at = 100_000 - tolerance + 2000;
      await verify(token, KEY);
      clock.at = 200_000 + tolerance - 2000;
      await verify(token, KEY);
      clock.at = 200_000 + tolerance + 2000;
      await refused(verify(token, KEY), 'it has expired');
    }
  });
});

describe('signatures', () => {
  test('none', async () => {
    const { verify } = judge();
    const [, claims] = (await forge()).split('.');
    for (const alg of ['none', 'None', 'NONE', '', undefined, null, 1, {}]) {
      for (const signature of ['', 'AAAA']) {
        const token = `${encoded({ alg, kid: provider.key().kid })}.${claims}.${signature}`;
        const isText = typeof alg === 'string' && alg;
        await refused(verify(token, KEY), isText ? 'its algorithm is not allowed' : /^it is malformed: /);
      }
    }
    assert.equal(provider.requests.length, 0, 'not worth a question');
  });

  test('with what everybody knows', async () => {
    const { verify } = judge();
    const { n, e } = provider.key();
    const pem = await jose.exportSPKI(await jose.importJWK({ kty: 'RSA', n, e }, 'RS256'));
    for (const alg of ['HS256', 'HS384', 'HS512']) {
      for (const secret of [pem, JSON.stringify({ kty: 'RSA', n, e }), provider.clientId.repeat(8)]) {
        const token = await forge({}, { alg }, new TextEncoder().encode(secret));
        await refused(verify(token, KEY), 'its algorithm is not allowed');
      }
    }
    assert.equal(provider.requests.length, 0);
  });

  test('by an algorithm that the key is not for', async () => {
    const { verify } = judge();
    const { alg, ...free } = provider.key();
    assert.equal(alg, 'RS256');
    for (const other of ['PS256', 'RS512']) {
      const reason = `its algorithm "${other}" is not allowed: its key is for another`;
      await refused(verify(await forge({}, { alg: other }, free), KEY), reason);
    }
    const ec = (await jose.generateKeyPair('ES256', { extractable: true })).privateKey;
    const token = await forge({}, { alg: 'ES256' }, await jose.exportJWK(ec));
    await refused(verify(token, KEY), 'its algorithm "ES256" is not allowed: its key is for another');
    assert.equal(fetched(), 1, 'a known key id is no reason to ask again');
  });

  test('of somebody else', async () => {
    const { verify } = judge();
    const { privateKey, publicKey } = await jose.generateKeyPair('RS256', { extractable: true });
    const own = await jose.exportJWK(privateKey);
    const jwk = await jose.exportJWK(publicKey);
    await refused(verify(await forge({}, {}, own), KEY), 'bad signature');
    // What a header says about its key is the word of who made it.
    await refused(
      verify(await forge({}, { jwk, jku: 'https://evil.example/jwks', x5c: ['x'] }, own), KEY),
      'bad signature',
    );
    await refused(verify(await forge({}, { jwk, kid: undefined }, own), KEY), 'bad signature');
  });

  test('of another token', async () => {
    const { verify } = judge();
    const [header, claims, signature] = (await forge()).split('.');
    const changed = { ...JSON.parse(Buffer.from(claims, 'base64url')), sub: 'bob' };
    await refused(verify(`${header}.${encoded(changed)}.${signature}`, KEY), 'bad signature');
    await refused(verify(`${header}.${claims}.`, KEY), 'bad signature');
    await refused(verify(`${header}.${claims}.${signature.slice(4)}`, KEY), 'bad signature');
  });

  test('by the only key, which then needs no name', async () => {
    const { verify } = judge();
    await verify(await forge({}, { kid: undefined }), KEY);
  });

  test('by one of several keys that the token does not name', async () => {
    const keys = ['a', 'b'].map((kid) => ({ ...publicHalf(), kid }));
    provider.hold(instead('/jwks', JSON.stringify({ keys })));
    const { verify } = judge();
    const token = await forge({}, { kid: undefined });
    await refused(verify(token, KEY), 'unknown key id: it names none, and its issuer has several keys');
    await verify(await forge({}, { kid: 'b' }), KEY);
  });

  test('by a key that is for encryption, or says more than it should', async () => {
    const { verify } = judge();
    for (const [changes, reason] of [
      [{ use: 'enc' }, /^its algorithm "RS256" is not allowed/],
      [{ key_ops: ['encrypt'] }, /^its algorithm "RS256" is not allowed/],
      [provider.key(), /^its issuer's key cannot be used here: /],
      [{ n: 'AQAB' }, /^its issuer's key cannot be used here: /],
    ]) {
      provider.hold(instead('/jwks', JSON.stringify({ keys: [{ ...publicHalf(), ...changes }] })));
      await refused(judge().verify(await forge(), KEY), reason);
    }
    provider.hold(undefined);
    await verify(await forge(), KEY);
  });
});

describe('garbage', () => {
  for (const token of [undefined, null, 1, {}, ['a.b.c'], Symbol('x')]) {
    test(`that is no text: ${String(token)}`, async () => {
      await refused(judge().verify(token, KEY), 'it is malformed: not a string');
    });
  }

  for (const token of [
    '',
    'x',
    '..',
    'a.b',
    'a.b.c',
    'a.b.c.d.e',
    '😀.😀.😀',
    '\0',
    'e30.e30.e30',
    'e30.W10.',
    'e30.bnVsbA.',
  ]) {
    test(`as text: ${JSON.stringify(token)}`, async () => {
      await refused(judge().verify(token, KEY), /^it is malformed: |^its issuer "undefined" is not trusted$/);
    });
  }

  test('that is long', async () => {
    const { verify } = judge();
    const long = await forge({ long: 'x'.repeat(16 * 1024) });
    await refused(verify(long, KEY), 'it is longer than 16384 bytes');
    await refused(verify('.'.repeat(50_000_000), KEY), 'it is longer than 16384 bytes');
    const fits = await forge({ long: 'x'.repeat(11_000) });
    assert.ok(fits.length > 15_000 && fits.length <= 16_384);
    await verify(fits, KEY);
  });

  test('in the header', async () => {
    const { verify } = judge();
    const [header, claims, signature] = (await forge()).split('.');
    const known = JSON.parse(Buffer.from(header, 'base64url'));
    for (const change of [{ crit: ['x'], x: 1 }, { crit: 1 }, { crit: [] }]) {
      await refused(verify(`${encoded({ ...known, ...change })}.${claims}.${signature}`, KEY), /^it is malformed: /);
    }
    for (const kid of [1, {}, null, ['x']]) {
      await refused(
        verify(`${encoded({ ...known, kid })}.${claims}.${signature}`, KEY),
        /^unknown key id |^it is malformed/,
      );
    }
  });

  test('of a stranger does not fill the message', async () => {
    await refused(
      judge().verify(await forge({ iss: `"\n${'x'.repeat(5000)}` }), KEY),
      /^its issuer "\\"\\nx{198}" is not trusted$/,
    );
  });

  test('made of good tokens by chance is never taken, and never another error', { timeout: 120_000 }, async () => {
    const { verify } = judge();
    const random = generator(20);
    const good = await forge();
    const claims = await verify(good, KEY);
    let taken = 0;
    for (let i = 0; i < 4000; i++) {
      const token = mutated(good, random);
      await verify(token, KEY).then(
        // Bits that base64url has too many mean nothing.
        (same) => {
          taken += 1;
          assert.deepEqual(same, claims);
        },
        (error) => assert.equal(`${error.name} ${error.code}`, 'LinkupError ERR_IDENTITY_MISMATCH', error.stack),
      );
    }
    assert.ok(taken < 100, `${taken}`);
    assert.equal(fetched(), 1);
  });

  test('that the issuer has signed is taken only with all that must be in it', { timeout: 120_000 }, async () => {
    const { verify } = judge();
    const random = generator(7);
    const nonce = await nonceOf(KEY);
    const names = ['iss', 'sub', 'aud', 'iat', 'exp', 'nbf', 'nonce', 'azp', '__proto__', 'constructor', 'toString'];
    const values = [null, true, 0, -1, 1e99, '', 'x', [], {}, [[]], ['linkup-test'], { length: 1 }, 'linkup-test'];
    for (let i = 0; i < 300; i++) {
      const changes = JSON.parse('{}');
      for (let n = 0; n <= random() % 2; n++) {
        Object.defineProperty(changes, pick(names, random), {
          value: pick(values, random),
          enumerable: true,
          configurable: true,
          writable: true,
        });
      }
      const token = await forge(changes);
      await verify(token, KEY).then(
        (claims) => {
          assert.equal(claims.nonce, nonce);
          assert.deepEqual([claims.aud].flat(), ['linkup-test']);
          assert.equal(claims.iss, provider.issuer);
          assert.ok(typeof claims.sub === 'string' && claims.exp > seconds() && claims.iat <= seconds() + 60);
        },
        (error) => assert.equal(`${error.name} ${error.code}`, 'LinkupError ERR_IDENTITY_MISMATCH', error.stack),
      );
    }
  });
});

describe('keys', () => {
  test('are asked for once, and again after ten minutes', async () => {
    const { clock, verify } = judge();
    const token = await forge();
    await Promise.all(Array.from({ length: 20 }, () => verify(token, KEY)));
    clock.at = 599_000;
    await verify(token, KEY);
    assert.deepEqual(provider.requests, ['/.well-known/openid-configuration', '/jwks']);
    clock.at = 601_000;
    await Promise.all(Array.from({ length: 20 }, () => verify(token, KEY)));
    assert.equal(fetched(), 2);
  });

  test('are not kept longer by a clock that was set back', async () => {
    const { clock, verify } = judge();
    const token = await forge();
    await verify(token, KEY);
    clock.at = -30_000;
    await verify(token, KEY);
    assert.equal(fetched(), 2);
  });

  test('are asked for again where a token names a new one, and not too often', async () => {
    const { clock, verify } = judge();
    const nonce = await nonceOf(KEY);
    const old = await provider.login({ ...ALICE, nonce });
    await verify(old, KEY);
    await provider.rotate();
    const fresh = await provider.login({ ...ALICE, nonce });
    clock.at = 29_000;
    await refused(verify(fresh, KEY), /^unknown key id ".*"$/);
    assert.equal(fetched(), 1);
    clock.at = 31_000;
    const all = await Promise.all(Array.from({ length: 20 }, () => verify(fresh, KEY)));
    assert.equal(all[19].sub, 'alice');
    assert.equal(fetched(), 2);
    await refused(verify(old, KEY), /^unknown key id /);
    assert.equal(fetched(), 2);
  });

  test('that nobody has make one question in half a minute', async () => {
    const { clock, verify } = judge();
    const flood = async () => {
      const tokens = await Promise.all(Array.from({ length: 50 }, (_, i) => forge({}, { kid: `k${i}-${clock.at}` })));
      await Promise.all(tokens.map((token) => refused(verify(token, KEY), /^unknown key id "k\d/)));
      for (const token of tokens) await refused(verify(token, KEY), /^unknown key id "k\d/);
      return fetched();
    };
    assert.equal(await flood(), 1);
    clock.at = 31_000;
    assert.equal(await flood(), 2);
    clock.at = 60_000;
    assert.equal(await flood(), 2);
    clock.at = 62_000;
    assert.equal(await flood(), 3);
  });

  test('that are known still count while the issuer fails', async () => {
    const { clock, verify } = judge();
    const token = await forge();
    await verify(token, KEY);
    clock.at = 31_000;
    provider.hold(instead('/jwks', 'no', 500));
    const unknown = await forge({}, { kid: 'x' });
    await refused(verify(unknown, KEY), /is unreachable: HTTP status 500$/);
    await refused(verify(unknown, KEY), 'unknown key id "x"');
    await verify(token, KEY);
    assert.equal(fetched(), 2);
  });
});

describe('an issuer', () => {
  const DISCOVERY = '/.well-known/openid-configuration';

  /** What it answers, instead of what it should, makes the token refused for that reason. */
  const cannot = async (answer, reason, host) => {
    provider.hold(answer);
    await refused(judge({}, host).verify(await forge(), KEY), reason);
  };

  test('that fails is asked again only after a while', async () => {
    const { clock, verify } = judge();
    const token = await forge();
    provider.hold(instead(DISCOVERY, 'no', 503));
    const reason = `its issuer "${provider.issuer}" is unreachable: HTTP status 503`;
    await Promise.all(Array.from({ length: 20 }, () => refused(verify(token, KEY), reason)));
    provider.hold(undefined);
    await refused(verify(token, KEY), reason);
    assert.equal(provider.requests.length, 1);
    clock.at = 5001;
    await verify(token, KEY);
  });

  test('that is not there', async () => {
    const gone = await startProvider({ alg: 'ES256' });
    await gone.close();
    const { verify } = judge(trusting(gone));
    await refused(verify(await forge({ iss: gone.issuer }), KEY), /^its issuer ".*" is unreachable: .*ECONNREFUSED/);
  });

  test('that is slow, with the answer or with its end', async () => {
    const reason = /is unreachable: no answer within 100 ms$/;
    await cannot(() => true, reason, { timeout: 100 });
    await cannot((_, response) => response.writeHead(200).write('{'), reason, { timeout: 100 });
  });

  test('whose answer has no end', async () => {
    let ended;
    const end = new Promise((resolve) => {
      ended = resolve;
    });
    const endless = (_, response) => {
      response.writeHead(200);
      const more = () => response.write(' '.repeat(60_000), (error) => (error ? ended() : setImmediate(more)));
      response.on('close', ended);
      more();
      return true;
    };
    await cannot(endless, /is unreachable: more than 262144 bytes$/);
    await end;
  });

  test('whose answer is long, yet not too long', async () => {
    provider.hold(instead('/jwks', JSON.stringify({ keys: [publicHalf()], x: 'x'.repeat(200_000) })));
    await judge().verify(await forge(), KEY);
  });

  test('that redirects, be it to itself', async () => {
    for (const from of [DISCOVERY, '/jwks']) {
      await cannot(
        (request, response) => request.url === from && response.writeHead(302, { location: `${from}?` }).end(),
        /is unreachable: unexpected redirect$/,
      );
    }
  });

  test('whose answer is not what it should be', async () => {
    const { issuer } = provider;
    for (const [answer, reason] of [
      ['<html>', /is unreachable: .*JSON/],
      ['null', /is unreachable: its discovery document is that of "undefined"$/],
      ['[]', /is unreachable: its discovery document is that of "undefined"$/],
      [{ issuer: `${issuer}/`, jwks_uri: `${issuer}/jwks` }, /is unreachable: its discovery document is that of "http/],
      [{ issuer: 'https://evil.example', jwks_uri: `${issuer}/jwks` }, /is that of "https:\/\/evil.example"$/],
      [{ issuer }, /is unreachable: its jwks_uri "undefined" is not an https: URL$/],
      [{ issuer, jwks_uri: 1 }, /is unreachable: its jwks_uri "1" is not an https: URL$/],
      [{ issuer, jwks_uri: '/jwks' }, /is unreachable: its jwks_uri "\/jwks" is not an https: URL$/],
      [{ issuer, jwks_uri: 'http://192.0.2.1/jwks' }, /is unreachable: its jwks_uri ".*" is not an https: URL$/],
      [{ issuer, jwks_uri: 'file:///etc/passwd' }, /is unreachable: its jwks_uri ".*" is not an https: URL$/],
    ]) {
      await cannot(instead(DISCOVERY, typeof answer === 'string' ? answer : JSON.stringify(answer)), reason);
    }
    for (const answer of ['null', '[]', '{}', '{"keys": 1}', '{"keys": {}}', '{"keys": [1]}', '{"keys": [null]}']) {
      await cannot(instead('/jwks', answer), /is unreachable: its jwks_uri has no JSON Web Key Set$/);
    }
    provider.hold(instead('/jwks', '{"keys": []}'));
    await refused(judge().verify(await forge(), KEY), /^unknown key id /);
  });

  test('of the internet does not lead to this machine', async () => {
    const issuer = 'https://id.example.org';
    const asked = [];
    const answer = async (url) => {
      asked.push(url);
      return Response.json({ issuer, jwks_uri: `${provider.issuer}/jwks` });
    };
    const { verify } = judge({ issuer, fetch: answer });
    await refused(verify(await forge({ iss: issuer }), KEY), /is unreachable: its jwks_uri ".*" is not an https: URL$/);
    assert.deepEqual(asked, [`${issuer}${DISCOVERY}`]);
  });

  test('is asked as the application wants, for nothing but what is public', async () => {
    const asked = [];
    const proxy = (url, init) => {
      asked.push([url, init.redirect, init.credentials, Object.keys(init.headers)]);
      return fetch(url.replace('https://id.example.org/tenant', provider.issuer), init).then(async (response) => {
        const text = await response.text();
        return new Response(text.replaceAll(provider.issuer, 'https://id.example.org/tenant'));
      });
    };
    for (const iss of ['https://id.example.org/tenant']) {
      const { verify } = judge({ issuer: iss, fetch: proxy });
      await verify(await forge({ iss }), KEY);
    }
    assert.deepEqual(asked, [
      [`https://id.example.org/tenant${DISCOVERY}`, 'error', 'omit', ['accept']],
      ['https://id.example.org/tenant/jwks', 'error', 'omit', ['accept']],
    ]);
  });

  test('whose name ends with a slash has its document where the others have theirs', async () => {
    const asked = [];
    const { verify } = judge({
      issuer: 'https://id.example.org/',
      fetch: async (url) => asked.push(url) && Response.error(),
    });
    await refused(verify(await forge({ iss: 'https://id.example.org/' }), KEY), /is unreachable: HTTP status 0$/);
    assert.deepEqual(asked, [`https://id.example.org${DISCOVERY}`]);
  });

  test('has a short name where it is well known', async () => {
    for (const [name, url] of [
      ['google', 'https://accounts.google.com'],
      ['facebook', 'https://www.facebook.com'],
    ]) {
      const asked = [];
      const { verify } = judge({ issuer: name, fetch: async (from) => asked.push(from) && Response.error() });
      await refused(verify(await forge({ iss: url }), KEY), /is unreachable: /);
      assert.deepEqual(asked, [`${url}${DISCOVERY}`]);
    }
  });
});

test('a wrong option is a TypeError that names it', () => {
  const good = { issuer: 'https://id.example.org', clientId: 'c' };
  for (const [options, start] of [
    [undefined, 'options: '],
    [null, 'options: '],
    [{}, 'options.issuer: '],
    [{ clientId: 'c' }, 'options.issuer: '],
    [{ ...good, issuer: 1 }, 'options.issuer: '],
    [
      { ...good, issuer: 'microsoft' },
      "options.issuer: must be an https: URL, an http: URL of this machine, or 'google'",
    ],
    [{ ...good, issuer: 'http://id.example.org' }, 'options.issuer: '],
    [{ ...good, issuer: 'http://localhost.example.org' }, 'options.issuer: '],
    [{ ...good, issuer: 'ftp://localhost' }, 'options.issuer: '],
    [{ ...good, issuer: 'https://id.example.org?a' }, 'options.issuer: must have no query'],
    [{ ...good, issuer: 'https://id.example.org?' }, 'options.issuer: must have no query'],
    [{ ...good, issuer: 'https://id.example.org#a' }, 'options.issuer: must have no query'],
    [{ ...good, issuer: 'https://me@id.example.org' }, 'options.issuer: must have no query'],
    [{ issuer: good.issuer }, 'options.clientId: '],
    [{ ...good, clientId: [] }, 'options.clientId: '],
    [{ ...good, clientId: '' }, 'options.clientId: must not be empty'],
    [{ ...good, clientId: ['c', 1] }, 'options.clientId: '],
    [{ ...good, token: 1 }, 'options.token: '],
    [{ ...good, token: null }, 'options.token: '],
    [{ ...good, clockTolerance: -1 }, 'options.clockTolerance: '],
    [{ ...good, clockTolerance: '60' }, 'options.clockTolerance: '],
    [{ ...good, clockTolerance: Number.NaN }, 'options.clockTolerance: '],
    [{ ...good, clockTolerance: 3601 }, 'options.clockTolerance: '],
    [{ ...good, fetch: 'x' }, 'options.fetch: '],
    [{ ...good, clientID: 'c' }, 'options.clientID: unknown option; did you mean clientId?'],
    [{ ...good, trust: [good] }, 'options.trust: goes without issuer and clientId'],
    [{ trust: [] }, 'options.trust: '],
    [{ trust: good }, 'options.trust: '],
    [{ trust: [1] }, 'options.trust[0]: '],
    [{ trust: [good, { issuer: 'https://b.example.org' }] }, 'options.trust[1].clientId: '],
    [{ trust: [good, { ...good, clientId: 'd' }] }, 'options.trust[1].issuer: is there twice'],
    [{ trust: [{ ...good, token: 't' }] }, 'options.trust[0].token: unknown option'],
  ]) {
    assert.throws(
      () => oidc(options),
      (error) => error instanceof TypeError && error.message.startsWith(start),
      `${JSON.stringify(options)}: ${start}`,
    );
  }
  for (const issuer of ['http://localhost:1', 'http://127.0.0.1', 'http://[::1]:80/a', 'google', 'facebook']) {
    oidc({ issuer, clientId: 'c' });
  }
});

describe('the bundles', () => {
  const dist = (name) => fs.readFileSync(path.join(__dirname, '../../dist', name), 'utf8');

  test('are the same for import and require', async () => {
    const imported = await import('linkup/oidc');
    assert.equal(imported.oidc, oidc);
    assert.equal(imported.nonceOf, nonceOf);
  });

  test('give a page with script tags a global, and its errors are those of linkup', async () => {
    class PageError extends LinkupError {}
    const world = vm.createContext({ crypto, TextEncoder, TextDecoder, URL, fetch, btoa, atob, structuredClone });
    vm.runInContext(dist('oidc.js'), world);
    assert.equal(await world.linkupOidc.nonceOf(KEY), await nonceOf(KEY));
    const { verify } = world.linkupOidc.oidc({ issuer: 'google', clientId: 'c' });
    await assert.rejects(verify('x', KEY), { name: 'LinkupError', code: 'ERR_IDENTITY_MISMATCH' });
    world.linkup = { LinkupError: PageError };
    await assert.rejects(verify('x', KEY), PageError);
  });

  test('of modules have the error of linkup', () => {
    assert.match(dist('oidc.mjs'), /from"\.\/linkup\.mjs"/);
  });

  test('have the licence of what they include', () => {
    for (const name of ['oidc.js', 'oidc.mjs', 'oidc.cjs'])
      assert.match(dist(name), /Includes jose [\d.]+\.\s+The MIT License/);
  });
});

/** The provider's key as it publishes it. */
function publicHalf() {
  const { kty, n, e, alg, kid, use } = provider.key();
  return { kty, n, e, alg, kid, use };
}

/** Answers one path in the provider's place. */
function instead(url, body, status = 200) {
  return (request, response) => request.url === url && response.writeHead(status).end(body);
}

/** Chance that is the same each time. */
function generator(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 8;
  };
}

function pick(list, random) {
  return list[random() % list.length];
}

/** A text that begins as `token` and was changed in one to three ways. */
function mutated(token, random) {
  const characters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \0é{}"';
  let text = token;
  for (let n = 0; n <= random() % 3; n++) {
    const at = random() % (text.length + 1);
    const to = at + (random() % 40);
    const parts = text.split('.');
    switch (random() % 7) {
      case 0:
        text = text.slice(0, at) + pick(characters, random) + text.slice(at + 1);
        break;
      case 1:
        text = text.slice(0, at) + pick(characters, random) + text.slice(at);
        break;
      case 2:
        text = text.slice(0, at) + text.slice(to);
        break;
      case 3:
        text = text.slice(0, to) + text.slice(at);
        break;
      case 4:
        text = parts.reverse().join('.');
        break;
      case 5: {
        // A byte of what is inside.
        const which = random() % parts.length;
        const bytes = Buffer.from(parts[which], 'base64url');
        if (bytes.length) bytes[random() % bytes.length] ^= 1 << (random() % 8);
        parts[which] = bytes.toString('base64url');
        text = parts.join('.');
        break;
      }
      default:
        text = text.slice(0, at);
    }
  }
  return text;
}
