'use strict';
// Streams: what goes over the wire and what may come, against a remote that the test plays. What an application sees of
// them is in stream-native.test.js and stream-page.test.js.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { connected, credit, driven, next, rejects, turns, uncaught } = require('./helpers');
const { KIND } = require('./pair-engine');

const [OPEN, DATA, END, RESET, CREDIT] = [8, 9, 10, 11, 12];
const MIB = 1024 * 1024;
const about = (name, meta) => JSON.stringify({ name, meta });
const sizes = (frames, id) =>
  frames.filter(([kind, of]) => kind === DATA && of === id).map(([, , body]) => body.length);

/** A connection of which the test hears that the remote broke the protocol. */
async function listening(options) {
  const world = await driven(options);
  const streams = [];
  world.connection.on('stream', (stream) => streams.push(stream));
  const errors = [];
  world.connection.on('error', ({ code }) => errors.push(code));
  return { ...world, streams, errors };
}

for (const [caller, first] of [
  [true, 0],
  [false, 1],
]) {
  test(`${caller ? 'who made the channel' : 'the other side'} opens the numbers from ${first} on, with name and meta`, async () => {
    const { connection, frames } = await driven({ caller });
    const meta = { size: 3, '': [null] };
    const one = connection.createStream('é', meta);
    connection.createStream('');
    assert.deepEqual([one.name, one.meta, one.connection], ['é', meta, connection]);
    assert.deepEqual(frames(), [
      [OPEN, first, Buffer.from(about('é', meta))],
      [OPEN, first + 2, Buffer.from(about(''))],
    ]);
  });
}

test('a bad name or meta is a TypeError that names it', async () => {
  const { connection, frames } = await driven();
  const cycle = {};
  cycle.cycle = cycle;
  for (const [args, message] of [
    [[], /^name: must be a well-formed string/],
    [[1], /^name: must be a well-formed string/],
    [['\ud800'], /^name: must be a well-formed string/],
    [['é'.repeat(129)], /^name: has more than 256 bytes/],
    [['x', () => {}], /^meta: cannot be written as JSON/],
    [['x', cycle], /^meta: cannot be written as JSON/],
    [['x', 'x'.repeat(16383)], /^meta: has more than 16384 bytes/],
  ]) {
    assert.throws(() => connection.createStream(...args), { name: 'TypeError', message });
  }
  assert.deepEqual(frames(), []);
  connection.createStream('é'.repeat(128), 'x'.repeat(16382));
});

test('a connection that is not open makes no stream', async () => {
  const { connection, put, handle } = await driven();
  const refused = { name: 'LinkupError', code: 'ERR_CONNECTION_CLOSED', peerId: 'b' };
  connection.close();
  assert.throws(() => connection.createStream('x'), refused);
  put(KIND.CLOSED, handle);
  await turns();
  assert.throws(() => connection.createStream('x'), refused);
});

test('a remote without streams: the stream ends with ERR_UNSUPPORTED', async () => {
  const { ab } = await connected({ engine: { plain: true } });
  const { code, peerId } = await next(ab.createStream('x'), 'error');
  assert.deepEqual([code, peerId], ['ERR_UNSUPPORTED', 'b']);
});

test("the remote's streams are events with name and meta", async () => {
  const { connection, streams, hear } = await listening();
  await hear(OPEN, 1, about('one', { a: 1 }));
  await hear(OPEN, 7, about(''));
  assert.deepEqual(
    streams.map(({ name, meta }) => [name, meta]),
    [
      ['one', { a: 1 }],
      ['', undefined],
    ],
  );
  assert.equal(streams[0].connection, connection);
});

test('data goes in pieces of 64 KiB as far as the credit, without a copy; a CREDIT lets more go', async () => {
  const { connection, frames, hear, called } = await driven();
  const stream = connection.createStream('x');
  const data = Buffer.alloc(2 * MIB, 'data');
  let written = false;
  stream.write(data, () => {
    written = true;
  });
  assert.deepEqual(sizes(frames(), 0), Array(16).fill(65536));
  assert.equal(called('frame')[1][1][3].buffer, data.buffer);
  assert.equal(connection.bufferedAmount, MIB);
  await hear(CREDIT, 0, credit(MIB + 100_000));
  assert.deepEqual(sizes(frames(), 0).slice(16), [65536, 100_000 - 65536]);
  assert.equal(connection.bufferedAmount, MIB - 100_000);
  assert.equal(written, false);
  await hear(CREDIT, 0, credit(10 * MIB));
  assert.equal(written, true);
  assert.equal(connection.bufferedAmount, 0);
  assert.deepEqual(
    Buffer.concat(
      frames()
        .slice(1)
        .map(([, , body]) => body),
    ),
    data,
  );
});

test("the engine's 1 stops data until DRAINED, and nothing else", async () => {
  const { engine, connection, handle, put, frames } = await driven();
  const [one, two] = [connection.createStream('one'), connection.createStream('two')];
  const { frame } = engine;
  engine.frame = (...args) => {
    frame(...args);
    return 1;
  };
  one.write(Buffer.alloc(100_000));
  two.end();
  one.write('more');
  assert.deepEqual(
    frames().map(([kind, id]) => [kind, id]),
    [
      [OPEN, 0],
      [OPEN, 2],
      [DATA, 0],
      [END, 2],
    ],
  );
  put(KIND.DRAINED, handle, 0);
  await turns();
  assert.deepEqual(sizes(frames(), 0), [65536]);
  engine.frame = frame;
  put(KIND.DRAINED, handle, 1);
  await turns();
  assert.deepEqual(sizes(frames(), 0), [65536, 100_000 - 65536, 4]);
});

test('several streams take turns', async () => {
  const { engine, connection, handle, put, frames } = await driven();
  const streams = ['one', 'two', 'three'].map((name) => connection.createStream(name));
  const { frame } = engine;
  engine.frame = (...args) => {
    frame(...args);
    return 1;
  };
  connection.createStream('the one that fills it');
  for (const stream of streams) stream.write(Buffer.alloc(200_000));
  engine.frame = frame;
  put(KIND.DRAINED, handle, 1);
  await turns();
  const data = frames().filter(([kind]) => kind === DATA);
  assert.deepEqual(
    data.map(([, id]) => id),
    [0, 2, 4, 0, 2, 4, 0, 2, 4, 0, 2, 4],
  );
});

test('a stream without credit does not hold the others up', async () => {
  const { connection, frames } = await driven();
  connection.createStream('stuck').write(Buffer.alloc(2 * MIB));
  connection.createStream('free').write(Buffer.alloc(10));
  assert.deepEqual(sizes(frames(), 2), [10]);
});

test('what is read gives credit, 256 KiB at a time; what is not read gives none', async () => {
  const { streams, hear, frames } = await listening();
  await hear(OPEN, 1, about('x'));
  for (let i = 0; i < 16; i++) await hear(DATA, 1, Buffer.alloc(65536));
  assert.deepEqual(frames(), []);
  const [stream] = streams;
  stream.resume();
  await turns();
  assert.deepEqual(
    frames(),
    [1, 2, 3, 4].map((n) => [CREDIT, 1, credit(MIB + (n * MIB) / 4)]),
  );
  await hear(DATA, 1, Buffer.alloc(65536));
  await hear(END, 1);
  assert.equal(frames().length, 4);
});

test('a remote that has ended needs no credit', async () => {
  const { streams, hear, frames } = await listening();
  await hear(OPEN, 1, about('x'));
  for (let i = 0; i < 8; i++) await hear(DATA, 1, Buffer.alloc(65536));
  await hear(END, 1);
  streams[0].resume();
  await next(streams[0], 'end');
  assert.deepEqual(frames(), []);
});

test('many small pieces that nobody reads take little more than their bytes', async () => {
  const { streams, hear } = await listening();
  await hear(OPEN, 1, about('x'));
  await hear(DATA, 1, Buffer.alloc(5000, 1));
  for (let i = 0; i < 500; i++) await hear(DATA, 1, Buffer.alloc(300, i));
  await hear(DATA, 1, Buffer.alloc(5000, 2));
  await hear(DATA, 1, 'a');
  await hear(DATA, 1, 'b');
  await hear(END, 1);
  const chunks = [];
  streams[0].on('data', (chunk) => chunks.push(chunk));
  await next(streams[0], 'end');
  const parts = Array.from({ length: 500 }, (_, i) => Buffer.alloc(300, i));
  const expected = Buffer.concat([Buffer.alloc(5000, 1), ...parts, Buffer.alloc(5000, 2), Buffer.from('ab')]);
  assert.ok(Buffer.concat(chunks).equals(expected));
  assert.ok(chunks.length < 8, `${chunks.length} chunks`);
});

test('END goes when all is written; a stream that both sides have ended is forgotten', async () => {
  const { streams, hear, frames, errors } = await listening();
  await hear(OPEN, 1, about('x'));
  const [stream] = streams;
  stream.end('last');
  await turns();
  assert.deepEqual(frames(), [
    [DATA, 1, Buffer.from('last')],
    [END, 1, Buffer.alloc(0)],
  ]);
  await hear(DATA, 1, 'after our END');
  await hear(END, 1);
  // Under way when it ended: passed over, whatever it is.
  for (const kind of [DATA, END, RESET, CREDIT]) await hear(kind, 1, 'x');
  assert.deepEqual(errors, []);
  assert.equal(String(stream.read()), 'after our END');
});

test('frames of streams that never were are passed over', async () => {
  const { hear, errors, frames } = await listening();
  for (const id of [0, 1, 4294967295]) for (const kind of [DATA, END, RESET, CREDIT]) await hear(kind, id, 'x');
  assert.deepEqual([errors, frames()], [[], []]);
});

test('where nobody listens to streams they are reset', async () => {
  const { connection, hear, frames } = await driven();
  connection.on('error', assert.fail);
  await hear(OPEN, 1, about('x'));
  await hear(DATA, 1, 'under way');
  assert.deepEqual(frames(), [[RESET, 1, Buffer.from('nobody listens to streams')]]);
});

test("of the remote's streams 128 may be open", async () => {
  const { streams, hear, frames } = await listening();
  for (let i = 0; i < 130; i++) await hear(OPEN, 2 * i + 1, about('x'));
  assert.equal(streams.length, 128);
  const reason = Buffer.from('too many streams');
  assert.deepEqual(frames(), [
    [RESET, 257, reason],
    [RESET, 259, reason],
  ]);
  // One that is over makes room, for one.
  streams[5].on('error', () => {});
  await hear(RESET, 11);
  await hear(OPEN, 261, about('x'));
  await hear(OPEN, 263, about('x'));
  assert.equal(streams.length, 129);
  assert.deepEqual(frames().slice(2), [[RESET, 263, reason]]);
});

test('our own streams do not count for that', async () => {
  const { connection, streams, hear } = await listening();
  const ours = Array.from({ length: 130 }, () => connection.createStream('x'));
  for (let i = 0; i < 128; i++) await hear(OPEN, 2 * i + 1, about('x'));
  assert.equal(streams.length, 128);
  for (const stream of ours) stream.destroy();
  await hear(OPEN, 257, about('x'));
  assert.equal(streams.length, 128);
});

const WRONG = [
  ['more data than credit', [DATA, 1, Buffer.alloc(65536)], Array(16).fill([DATA, 1, Buffer.alloc(65536)])],
  ['a CREDIT that goes back', [CREDIT, 1, credit(MIB - 1)]],
  ['a CREDIT that goes back later', [CREDIT, 1, credit(2 * MIB)], [[CREDIT, 1, credit(3 * MIB)]]],
  ['a CREDIT that is too short', [CREDIT, 1, Buffer.alloc(7, 0xff)]],
  ['a CREDIT that is too long', [CREDIT, 1, Buffer.alloc(9, 0xff)]],
  ['an END with something in it', [END, 1, 'x']],
  ['a second END', [END, 1], [[END, 1]]],
  ['data after END', [DATA, 1, 'x'], [[END, 1]]],
  ['a number opened again', [OPEN, 1, about('x')]],
  ['a number of a stream that is over', [OPEN, 1, about('x')], [[RESET, 1]]],
  ['a number that is ours', [OPEN, 2, about('x')]],
  ['an OPEN that is not JSON', [OPEN, 3, '{']],
  ['an OPEN that is not UTF-8', [OPEN, 3, Buffer.from('{"name":"\xff"}', 'latin1')]],
  ['an OPEN without a name', [OPEN, 3, '{"meta":1}']],
  ['an OPEN that is null', [OPEN, 3, 'null']],
  ['an OPEN that is empty', [OPEN, 3, '']],
];

for (const [name, wrong, before = []] of WRONG) {
  test(`${name} ends the connection`, async () => {
    const { connection, called, streams, hear, errors } = await listening();
    await hear(OPEN, 1, about('x'));
    streams[0].on('error', () => {});
    for (const frame of before) await hear(...frame);
    assert.deepEqual(errors, []);
    // What comes right behind it is not heard any more.
    hear(...wrong);
    await hear(OPEN, 5, about('x'));
    assert.deepEqual(errors, ['ERR_PROTOCOL']);
    assert.deepEqual(called('close')[0][1].slice(1), ['ERR_PROTOCOL', 'the remote broke the protocol']);
    assert.equal(streams.length, 1);
    assert.equal(connection.state, 'closed');
  });
}

test('an equal CREDIT, and one beyond all numbers, are right', async () => {
  const { connection, hear, errors } = await listening();
  connection.createStream('x');
  await hear(CREDIT, 0, credit(MIB));
  await hear(CREDIT, 0, Buffer.alloc(8, 0xff));
  assert.deepEqual(errors, []);
});

test('a remote that opens streams and does not read the answers ends the connection', async () => {
  const { engine, connection, handle, put } = await driven();
  const error = next(connection, 'error');
  const { frame } = engine;
  engine.frame = (...args) => {
    frame(...args);
    return 1;
  };
  const bytes = Buffer.concat([Buffer.from([OPEN, 0, 0, 0, 0]), Buffer.from(about('x'))]);
  for (let i = 0; i < 10_000; i++) {
    bytes.writeUInt32BE(2 * i + 1, 1);
    put(KIND.FRAME, handle, Buffer.from(bytes));
  }
  assert.equal((await error).code, 'ERR_PROTOCOL');
});

test("what a listener of a stream throws is not the remote's fault, and the others go on", async () => {
  const { connection, hear, errors, frames } = await listening();
  const stream = connection.createStream('x');
  const other = connection.createStream('y');
  stream.on('progress', () => {
    throw new Error('on purpose');
  });
  const thrown = await uncaught(async () => {
    stream.write(Buffer.alloc(65536));
    other.write('y');
    stream.on('data', () => {
      throw new Error('in data');
    });
    await turns();
    await hear(DATA, 0, Buffer.alloc(65536));
  });
  assert.deepEqual(
    thrown.map(({ message }) => message),
    ['on purpose', 'on purpose', 'in data'],
  );
  assert.deepEqual(errors, []);
  assert.deepEqual(sizes(frames(), 2), [1]);
});

for (const [name, end, called] of [
  ['Connection.close()', ({ connection }) => connection.close(), 'close'],
  ['Peer.disconnect()', ({ peer }) => peer.disconnect('b'), 'close'],
  ['Peer.close()', ({ peer }) => peer.close(), 'closePeer'],
]) {
  test(`${name} lets go out what is written before, and the END`, async () => {
    const world = await listening();
    const { connection, streams, hear, frames } = world;
    await hear(OPEN, 1, about('theirs'));
    const stream = connection.createStream('ours');
    stream.on('error', () => {});
    for (let i = 0; i < 20; i++) stream.write(Buffer.alloc(65536, i));
    end(world);
    // Those two are not written before, nor is a new stream.
    const late = new Promise((resolve) => stream.write('too late', resolve));
    await hear(OPEN, 3, about('too late'));
    assert.equal(world.called(called).length, 0);
    assert.deepEqual(frames().at(-1), [RESET, 3, Buffer.from('nobody listens to streams')]);
    await hear(CREDIT, 0, credit(2 * MIB));
    assert.equal((await late).code, 'ERR_CONNECTION_CLOSED');
    await turns();
    assert.deepEqual(sizes(frames(), 0), Array(20).fill(65536));
    const ends = frames().filter(([kind]) => kind === END || kind === RESET);
    assert.deepEqual(
      ends.map(([kind, id]) => [kind, id]),
      [
        [END, 1],
        [RESET, 3],
        [END, 0],
      ],
    );
    assert.equal(world.called(called).length, 1);
    assert.equal(streams.length, 1);
  });
}

test('a remote that does not read holds the close up for timeouts.close, and it rejects', async () => {
  for (const [end, called] of [
    [({ connection }) => connection.close(), 'close'],
    [({ peer }) => peer.close(), 'closePeer'],
  ]) {
    const world = await listening({ a: { timeouts: { close: 50 } } });
    const { connection, handle, put } = world;
    const stream = connection.createStream('x');
    const failed = next(stream, 'error');
    stream.write(Buffer.alloc(2 * MIB));
    const closing = end(world);
    while (world.called(called).length === 0) await turns(1);
    put(KIND.CLOSED, handle);
    if (called === 'closePeer') put(KIND.PEER_CLOSED, 1);
    await rejects(closing, 'ERR_CLOSE_TIMEOUT', { peerId: 'b', details: { unconfirmed: 0, streams: 1 } });
    assert.equal((await failed).code, 'ERR_CONNECTION_CLOSED');
  }
});

test('without anything to send a close waits for nothing', async () => {
  const { connection, called } = await driven();
  connection.createStream('x');
  connection.close();
  assert.equal(called('close').length, 1);
});
