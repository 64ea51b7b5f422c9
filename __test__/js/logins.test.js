'use strict';
// The logins of one peer: its own token and its renewal, and what is known of others.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { Logins } = require('../../js/logins');

/** An ID token that expires then, in seconds since 1970. */
const token = (exp) => `header.${Buffer.from(JSON.stringify({ exp, name: 'ÿ~?' })).toString('base64url')}.signature`;

/** A peer whose tokens last so many seconds: how often it was asked to renew them. */
function renewing(t, seconds) {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1e12 });
  let renewals = 0;
  const logins = new Logins({ oidc: { token: async () => token(1e9 + seconds) } });
  return { logins, ask: () => logins.token(() => renewals++), count: () => renewals };
}

test('a token that a function makes is renewed a minute before it expires', async (t) => {
  const { ask, count } = renewing(t, 3600);
  assert.equal(await ask(), token(1e9 + 3600));
  t.mock.timers.tick(3_539_999);
  assert.equal(count(), 0);
  t.mock.timers.tick(1);
  assert.equal(count(), 1);
});

test('one that is about to expire, not more than every ten seconds', async (t) => {
  const { ask, count } = renewing(t, 5);
  await ask();
  t.mock.timers.tick(9_999);
  assert.equal(count(), 0);
  t.mock.timers.tick(1);
  assert.equal(count(), 1);
});

test('an address that nobody has verified is none', async () => {
  const claims = { iss: 'https://i.example', sub: '7', email: 'a@b.example' };
  for (const [said, email] of [
    [{}, 'a@b.example'],
    [{ email_verified: true }, 'a@b.example'],
    [{ email_verified: false }],
  ]) {
    const all = { ...claims, ...said };
    const { issuer, subject, ...rest } = await new Logins({ oidc: { verify: async () => all } }).judge(
      1,
      'key',
      'token',
    );
    assert.deepEqual([issuer, subject], [claims.iss, claims.sub]);
    assert.deepEqual(rest, { publicKey: 'key', claims: all, ...(email && { email }) });
  }
});

test('never where the peer is closed, or the token outlives every timer', async (t) => {
  const { logins, ask, count } = renewing(t, 3600);
  await ask();
  logins.stop();
  t.mock.timers.tick(4_000_000);
  await ask();
  t.mock.timers.tick(4_000_000);
  assert.equal(count(), 0);
  t.mock.timers.reset();
  const old = renewing(t, 1e9);
  await old.ask();
  t.mock.timers.tick(2 ** 31);
  assert.equal(old.count(), 0);
});

test('a token that is a text is what it is, and nothing is nothing', async () => {
  assert.equal(await new Logins({ oidc: { token: 'a.b.c' } }).token(), 'a.b.c');
  assert.equal(await new Logins({ oidc: {} }).token(), undefined);
  assert.equal(await new Logins({}).token(), undefined);
});

test('what is no token is a TypeError', async () => {
  for (const wrong of [undefined, 5, '', 'a', 'a.b', 'a.e30x.c']) {
    const logins = new Logins({ oidc: { token: () => wrong } });
    await assert.rejects(logins.token(), { name: 'TypeError', message: /^token\(\): / }, String(wrong));
  }
});

test('claims belong to one connection, from the verdict to its opening', async () => {
  const verify = async (login, key) => ({ login, key });
  const logins = new Logins({ oidc: { verify } });
  assert.deepEqual(await logins.judge(1, 'key', 'login'), { publicKey: 'key', claims: { login: 'login', key: 'key' } });
  assert.deepEqual(logins.identity(2, 'key'), { publicKey: 'key' });
  const identity = logins.identity(1, 'key');
  assert.deepEqual(identity.claims, { login: 'login', key: 'key' });
  assert.ok(Object.isFrozen(identity));
  // A handle may be used again.
  assert.deepEqual(logins.identity(1, 'key'), { publicKey: 'key' });
  assert.equal(logins.identity(3, undefined), null);
  // The second answer to a call may be somebody else's.
  await logins.judge(4, 'key', 'login');
  assert.deepEqual(await logins.judge(4, 'another', undefined), { publicKey: 'another' });
  assert.deepEqual(logins.identity(4, 'another'), { publicKey: 'another' });
  // Nobody judges, or there is nothing to judge.
  assert.deepEqual(await new Logins({}).judge(1, 'key', 'login'), { publicKey: 'key' });
  assert.equal(await logins.judge(1, undefined, 'login'), null);
  await assert.rejects(new Logins({ oidc: { verify: () => Promise.reject(new Error('expired')) } }).judge(1, 'k', 'l'));
});

test('so many strangers with a login cost so much, and no more', async () => {
  const logins = new Logins({ oidc: { verify: async () => ({}) } });
  for (let handle = 0; handle < 16_385; handle++) await logins.judge(handle, 'key', 'login');
  assert.deepEqual(logins.identity(0, 'key'), { publicKey: 'key' });
  assert.deepEqual(logins.identity(16_384, 'key'), { publicKey: 'key', claims: {} });
});
