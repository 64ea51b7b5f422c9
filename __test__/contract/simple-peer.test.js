'use strict';
// options.simplePeer.

const { assert, next, pair, peer, registered, rejects, test, warnings, within } = require('./harness');

/** Both ends carry messages. */
async function works({ ab, ba }) {
  const heard = new Promise((resolve) => ba.once('message', resolve));
  await ab.send('hello');
  assert.equal(await within(heard, 'message'), 'hello');
}

for (const [name, one, two] of [
  ['trickle off on both sides', { trickle: false }, { trickle: false }],
  ['trickle off on the calling side', { trickle: false }, {}],
  ['trickle off on the called side', {}, { trickle: false, iceCompleteTimeout: 1000 }],
  ['a name for the channel', { channelName: 'é name' }, {}],
  ['a protocol for the channel', { channelConfig: { ordered: true, protocol: 'p' } }, {}],
  ['an empty RTCConfiguration', { config: {} }, { config: { iceServers: [], iceTransportPolicy: 'all' } }],
  ['options about audio and video', { offerOptions: { offerToReceiveAudio: false } }, { answerOptions: {} }],
]) {
  test(`${name}: connects`, async () => {
    await works(await pair({ simplePeer: one }, { simplePeer: two }));
  });
}

test('a channel negotiated beforehand', async () => {
  const simplePeer = { channelConfig: { negotiated: true, id: 7 } };
  await works(await pair({ simplePeer }, { simplePeer }));
});

test('over a channel that is not reliable there is JSON, and nothing else', async () => {
  const ends = await pair({ simplePeer: { channelConfig: { ordered: false, maxRetransmits: 0 } } });
  for (const [connection, peerId] of [
    [ends.ab, ends.b.id],
    [ends.ba, ends.a.id],
  ]) {
    const why = { peerId };
    await rejects(connection.send(new Uint8Array(1)), 'ERR_UNSUPPORTED', why);
    await rejects(connection.send(1, { ack: true }), 'ERR_UNSUPPORTED', why);
    const { code } = await next(connection.createStream('x'), 'error');
    assert.equal(code, 'ERR_UNSUPPORTED');
  }
  await works(ends);
});

test('sdpTransform sees the offer on one side, the answer on the other, and may be async', async () => {
  const seen = { a: [], b: [] };
  const watch = (side, wait) => ({
    simplePeer: {
      sdpTransform: (sdp) => {
        seen[side].push(sdp);
        return wait ? Promise.resolve(sdp) : sdp;
      },
    },
  });
  await works(await pair(watch('a', false), watch('b', true)));
  for (const sdp of [...seen.a, ...seen.b]) assert.match(sdp, /^v=0\r\n/);
  assert.ok(seen.a.length > 0 && seen.b.length > 0);
});

test('an sdpTransform that throws: an error event, nothing is sent', async () => {
  const simplePeer = { sdpTransform: () => assert.fail('on purpose') };
  const [a, b] = await Promise.all([registered('a', { simplePeer, timeouts: { connect: 1000 } }), registered('b')]);
  b.on('connection', () => assert.fail('nothing was sent'));
  const error = new Promise((resolve) => a.once('error', resolve));
  const connecting = a.connect(b.id).catch(({ code }) => code);
  assert.match((await within(error, 'error')).message, /sdpTransform.*on purpose/);
  assert.equal(await within(connecting, 'end of the attempt'), 'ERR_CONNECT_TIMEOUT');
});

test('options that mean nothing here are ignored with one process warning', async () => {
  const simplePeer = { initiator: true, stream: false, streams: [], objectMode: true, wrtc: {} };
  const list = await warnings(1, async () => {
    const a = peer('a', { simplePeer });
    const b = await registered('b');
    await within(a.connect(b.id), 'connect');
  });
  assert.equal(list.length, 1);
  assert.match(list[0].message, /initiator, stream, streams, objectMode, wrtc/);
});
