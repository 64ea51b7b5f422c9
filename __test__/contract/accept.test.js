'use strict';
// The called side decides.

const { assert, linkup, next, registered, rejects, test, took, within } = require('./harness');

const FORMS = {
  false: [() => false, undefined],
  'a string': [() => 'members only', 'members only'],
  'a promise of false': [async () => false, undefined],
  'a promise of a string': [async () => 'not today', 'not today'],
  'an exception': [
    () => {
      throw new Error('on purpose');
    },
    'on purpose',
  ],
  'a rejection': [async () => Promise.reject(new Error('also on purpose')), 'also on purpose'],
};

for (const [name, [accept, reason]] of Object.entries(FORMS)) {
  test(`${name} denies, the caller hears the reason`, async () => {
    const [a, b] = await Promise.all([registered('a'), registered('b', { accept })]);
    b.on('connection', () => assert.fail('it was denied'));
    for (const call of [() => a.connect(b.id), () => a.send(b.id, 1)]) {
      const error = await within(
        call().catch((thrown) => thrown),
        'denial',
      );
      assert.ok(error instanceof linkup.LinkupError);
      assert.deepEqual([error.code, error.peerId], ['ERR_DENIED', b.id]);
      if (reason !== undefined) assert.ok(error.message.includes(reason), error.message);
    }
    assert.deepEqual([a.connections.size, b.connections.size], [0, 0]);
  });
}

for (const [name, accept] of Object.entries({
  true: () => true,
  'nothing at all': () => {},
  'a promise of true': async () => true,
})) {
  test(`${name} lets the caller in`, async () => {
    const [a, b] = await Promise.all([registered('a'), registered('b', { accept })]);
    assert.equal((await within(a.connect(b.id), 'connect')).state, 'open');
  });
}

test('accept is told who calls', async () => {
  const requests = [];
  const accept = (request) => requests.push(request);
  const [a, b] = await Promise.all([registered('a', { metadata: { v: [1] } }), registered('b', { accept })]);
  const incoming = next(b, 'connection');
  await within(a.connect(b.id), 'connect');
  assert.deepEqual(requests, [{ from: a.id, metadata: { v: [1] }, identity: (await incoming).identity }]);
});

test('ready-made: who may call, and how often', async () => {
  const friend = await registered('friend');
  const [mate, stranger] = await Promise.all([registered('team-mate'), registered('stranger')]);
  const accept = {
    allow: [friend.id, /^team-/],
    rate: { calls: 1, seconds: 60 },
    ask: ({ from }) => from !== 'nobody',
  };
  const b = await registered('b', { accept });
  for (const caller of [friend, mate]) assert.equal((await within(caller.connect(b.id), 'connect')).state, 'open');
  const reason = (call) =>
    within(
      call.then(
        () => 'open',
        ({ code, message }) => `${code}: ${message}`,
      ),
      'refusal',
    );
  assert.match(await reason(stranger.connect(b.id)), /^ERR_DENIED: .*not allowed$/);
  await within(friend.disconnect(b.id), 'disconnect');
  assert.match(await reason(friend.connect(b.id)), /^ERR_DENIED: .*too many calls$/);
});

test('a denial takes a round trip, not a time-out', async () => {
  const [a, b] = await Promise.all([registered('a'), registered('b', { accept: () => false })]);
  const times = [];
  for (let i = 0; i < 3; i++) times.push(await took(rejects(a.connect(b.id), 'ERR_DENIED')));
  assert.ok(Math.min(...times) < 200, `${times} ms`);
});

test('no SDP of the called side is made before it has accepted', async () => {
  const made = [];
  const sdpTransform = (sdp) => {
    made.push(sdp);
    return sdp;
  };
  let decide;
  const asked = new Promise((resolve) => {
    decide = resolve;
  });
  let verdict;
  const accept = () => {
    decide();
    return new Promise((resolve) => {
      verdict = resolve;
    });
  };
  const [a, b] = await Promise.all([registered('a'), registered('b', { accept, simplePeer: { sdpTransform } })]);
  const denied = rejects(a.connect(b.id), 'ERR_DENIED');
  await within(asked, 'accept');
  // The broker and both peers are known to have had time: this goes the same way and back.
  assert.equal(await b.find(a.id), true);
  assert.equal(made.length, 0);
  verdict(false);
  await denied;
  assert.equal(made.length, 0);
  const connecting = a.connect(b.id);
  const opening = setInterval(() => verdict(true), 10);
  await within(connecting, 'connect').finally(() => clearInterval(opening));
  assert.ok(made.length > 0);
});

test('what b denies, b may still call itself', async () => {
  const [a, b] = await Promise.all([registered('a'), registered('b', { accept: () => false })]);
  await rejects(a.connect(b.id), 'ERR_DENIED');
  const connection = await within(b.connect(a.id), 'connect');
  assert.equal(await a.connect(b.id).then(({ id }) => id), b.id);
  assert.equal(connection.state, 'open');
});
