'use strict';
// What rejections have in common.

const { assert, linkup, pair, registered, test } = require('./harness');

test('every rejection about a peer is a LinkupError with a code, a sentence and the peer', async () => {
  const { a, b, ab } = await pair({ limits: { messageBytes: 100 } });
  const refuser = await registered('refuser', { accept: () => false });
  const signal = AbortSignal.abort();
  const calls = {
    ERR_CONNECT_SELF: [a.id, () => a.connect(a.id)],
    ERR_PEER_NOT_FOUND: ['nobody', () => a.connect('nobody')],
    ERR_DENIED: [refuser.id, () => a.send(refuser.id, 1)],
    ERR_INVALID_MESSAGE: [b.id, () => ab.send(undefined)],
    ERR_MESSAGE_TOO_LARGE: [b.id, () => a.send(b.id, 'x'.repeat(100))],
    ERR_ABORTED: [b.id, () => a.connect(b.id, { signal })],
  };
  for (const [code, [peerId, call]] of Object.entries(calls)) {
    const error = await call().then(
      () => assert.fail(`${code} was expected`),
      (thrown) => thrown,
    );
    assert.ok(error instanceof linkup.LinkupError && error instanceof Error, code);
    assert.deepEqual([error.name, error.code, error.peerId], ['LinkupError', code, peerId]);
    assert.ok(error.message.length > 5, code);
    assert.ok(String(error).includes(code));
  }
});

test('errors and objects of linkup are made by linkup', () => {
  assert.throws(() => new linkup.Peer('a'), TypeError);
  assert.throws(() => new linkup.Connection('a'), TypeError);
  const error = new linkup.LinkupError('ERR_DENIED', 'no', { peerId: 'p', details: { n: 1 }, cause: 'why' });
  assert.deepEqual([error.code, error.peerId, error.details, error.cause], ['ERR_DENIED', 'p', { n: 1 }, 'why']);
});
