'use strict';
// Who the other side is: keys, pinned keys, ids that are keys, and the first key that was seen.

const { assert, linkup, next, pair, peerWithId, registered, rejects, test, within } = require('./harness');

/** What a call rejects with that meets somebody else. */
const refusal = async (call) => {
  const error = await within(
    call.then(
      () => assert.fail('it is somebody else'),
      (error) => error,
    ),
    'refusal',
  );
  assert.equal(error.code, 'ERR_IDENTITY_MISMATCH');
  return error;
};

const KEY = /^[\w-]{43}$/;

test('each side knows the key of the other', async () => {
  const identity = await linkup.createIdentity();
  assert.match(identity.publicKey, KEY);
  const { a, b, ab, ba } = await pair({ identity });
  assert.deepEqual(ba.identity, { publicKey: identity.publicKey });
  assert.match(ab.identity.publicKey, KEY);
  assert.notEqual(ab.identity.publicKey, identity.publicKey);
  assert.throws(() => {
    'use strict';
    ba.identity.publicKey = 'another';
  }, TypeError);
  // The same again is the same; another peer is another.
  const key = ab.identity.publicKey;
  await within(ab.close(), 'close');
  assert.equal((await within(a.connect(b.id), 'connect')).identity.publicKey, key);
});

test('a caller may know whom it calls', async () => {
  const [right, wrong] = await Promise.all([linkup.createIdentity(), linkup.createIdentity()]);
  const [a, b] = await Promise.all([registered('a'), registered('b', { identity: right })]);
  const connections = [];
  b.on('connection', (connection) => connections.push(connection));
  b.on('message', () => assert.fail('no message passes'));
  const error = await refusal(a.connect(b.id, { publicKey: wrong.publicKey }));
  assert.equal(error.peerId, b.id);
  assert.deepEqual([a.connections.size, connections.length], [0, 0]);
  const connection = await within(a.connect(b.id, { publicKey: right.publicKey }), 'connect');
  assert.deepEqual(connection.identity, { publicKey: right.publicKey });
  // One that is open already is asked the same.
  await rejects(a.connect(b.id, { publicKey: wrong.publicKey }), 'ERR_IDENTITY_MISMATCH');
  assert.equal(connection.state, 'open');
  for (const publicKey of ['short', 5, `${right.publicKey}=`]) {
    await assert.rejects(a.connect(b.id, { publicKey }), { name: 'TypeError', message: /^options\.publicKey: / });
  }
});

test('an id may be a key, which nobody else can claim', async () => {
  const [alice, mallory] = await Promise.all([linkup.createIdentity(), linkup.createIdentity()]);
  const id = `key:${alice.publicKey}`;
  assert.throws(() => linkup.createPeer(id), { name: 'TypeError', message: /^id: / });
  assert.throws(() => linkup.createPeer(id, { identity: mallory }), { name: 'TypeError', message: /^id: / });
  const owner = peerWithId(id, { identity: alice });
  await next(owner, 'register');
  const other = await registered('other');
  const connection = await within(other.connect(id), 'connect');
  assert.equal(connection.identity.publicKey, alice.publicKey);
  await assert.rejects(other.connect(id, { publicKey: mallory.publicKey }), { name: 'TypeError' });
});

test('the first key of an id is remembered', async () => {
  const known = new Map();
  const [first, second] = await Promise.all([linkup.createIdentity(), linkup.createIdentity()]);
  const a = await registered('a', { identity: { known } });
  const b = await registered('b', { identity: first });
  await within(a.connect(b.id), 'connect');
  assert.deepEqual([...known], [[b.id, first.publicKey]]);
  await within(b.close(), 'close');
  // Somebody else has that id now.
  const squatter = peerWithId(b.id, { identity: second });
  squatter.on('message', () => assert.fail('no message passes'));
  await next(squatter, 'register');
  await rejects(a.connect(b.id), 'ERR_IDENTITY_MISMATCH');
  await rejects(a.send(b.id, 'secret'), 'ERR_IDENTITY_MISMATCH');
  const callers = [];
  a.on('connection', ({ identity }) => callers.push(identity.publicKey));
  await rejects(squatter.connect(a.id), 'ERR_IDENTITY_MISMATCH');
  await within(squatter.close(), 'close');
  const again = peerWithId(b.id, { identity: first });
  await next(again, 'register');
  const incoming = next(a, 'connection');
  assert.equal((await within(again.connect(a.id), 'connect')).state, 'open');
  await incoming;
  assert.deepEqual(callers, [first.publicKey]);
  assert.deepEqual([...known], [[b.id, first.publicKey]]);
});

test('what is known is not asked of the broker: a key given beforehand counts', async () => {
  const [right, wrong] = await Promise.all([linkup.createIdentity(), linkup.createIdentity()]);
  const b = await registered('b', { identity: right });
  const a = await registered('a', { identity: { known: new Map([[b.id, wrong.publicKey]]) } });
  await rejects(a.connect(b.id), 'ERR_IDENTITY_MISMATCH');
});

test('accept sees the key', async () => {
  const alice = await linkup.createIdentity();
  const accept = ({ identity }) => identity?.publicKey === alice.publicKey || 'strangers stay out';
  const b = await registered('b', { accept });
  const [friend, stranger] = await Promise.all([registered('friend', { identity: alice }), registered('stranger')]);
  assert.equal((await within(friend.connect(b.id), 'connect')).state, 'open');
  await rejects(stranger.connect(b.id), 'ERR_DENIED');
});

test('a login is judged by the other side, before anything passes', async () => {
  const claims = { iss: 'https://issuer.example', sub: '7', email: 'alice@example.org' };
  const wrong = () => Object.assign(new Error('the token has expired'), { code: 'ERR_IDENTITY_MISMATCH' });
  const seen = [];
  const oidc = {
    verify: async (token, key) => {
      seen.push([token, key]);
      if (token !== 'good') throw wrong();
      return { ...claims };
    },
  };
  const requests = [];
  const accept = ({ identity }) => void requests.push(identity);
  const [alice, mallory] = await Promise.all([linkup.createIdentity(), linkup.createIdentity()]);
  const login = (keys, token) => ({ ...keys, oidc: { token, verify: async () => ({}) } });
  const [b, good, bad] = await Promise.all([
    registered('b', { accept, identity: { oidc } }),
    registered('good', { identity: login(alice, 'good') }),
    registered('bad', { identity: login(mallory, 'bad') }),
  ]);
  const incoming = next(b, 'connection');
  await within(good.connect(b.id), 'connect');
  const { iss: issuer, sub: subject, email } = claims;
  const expected = { publicKey: alice.publicKey, issuer, subject, email, claims };
  assert.deepEqual((await incoming).identity, expected);
  assert.deepEqual(requests, [expected]);
  assert.deepEqual(seen, [['good', alice.publicKey]]);
  const error = await refusal(bad.connect(b.id));
  assert.match(error.message, /the token has expired/);
  assert.equal(requests.length, 1, 'accept is not asked about who is somebody else');
  // The caller judges, too.
  b.on('message', () => assert.fail('no message passes'));
  const refused = await refusal(b.connect(bad.id));
  assert.match(refused.message, /the token has expired/);
  assert.equal(seen.at(-1)[1], mallory.publicKey);
});

test('a token that a function makes', async () => {
  const oidc = { verify: async (token) => ({ token }) };
  // Not one that could be renewed: what it says is no JSON.
  const bad = { token: async () => 'no token', verify: oidc.verify };
  const claims = btoa(JSON.stringify({ exp: 4e9 })).replace(/=+$/, '');
  const token = `header.${claims}.signature`;
  const b = await registered('b', { identity: { oidc } });
  const a = await registered('a', { identity: { oidc: { token: async () => token, verify: oidc.verify } } });
  const incoming = next(b, 'connection');
  await within(a.connect(b.id), 'connect');
  assert.deepEqual((await incoming).identity.claims, { token });
  const c = linkup.createPeer('c-bad', { identity: { oidc: bad }, brokerUrl: 'ws://127.0.0.1:9' });
  const error = await next(c, 'error');
  assert.equal(error.code, 'ERR_NOT_AUTHORIZED');
  await c.close();
});
