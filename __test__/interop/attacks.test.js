// A broker that attacks who is introduced by it (attacking-broker.js). Alice and Bob know each other's keys: whatever it does,
// each hears the other or nobody, is told ERR_IDENTITY_MISMATCH, and what is open stays open.
'use strict';

const assert = require('node:assert/strict');
const dgram = require('node:dgram');
const { once } = require('node:events');
const { test } = require('node:test');
const { setTimeout } = require('node:timers/promises');
const { linkup, within: withinMs } = require('../node/helpers');
const {
  END_AFTER,
  MISMATCH,
  altered,
  attackingBroker,
  digestOf,
  makeKeys,
  read,
  resigned,
  saidBy,
  stripped,
  swapFingerprint,
} = require('./attacking-broker');

const within = (promise, what) => withinMs(promise, 10_000, what);

/** The code that a promise rejects with. */
const codeOf = (promise) =>
  within(
    promise.then(
      () => 'none',
      ({ code, message }) => code ?? message,
    ),
    'the rejection',
  );

/** What somebody hears. `until(test)` is the first, past or to come, that matches. */
function listen(emitter, name) {
  const heard = [];
  const checks = new Set();
  emitter.on(name, (item) => {
    heard.push(item);
    for (const check of [...checks]) check();
  });
  heard.until = (test) =>
    within(
      new Promise((resolve) => {
        const check = () => {
          const found = heard.find(test);
          if (found === undefined) return;
          checks.delete(check);
          resolve(found);
        };
        checks.add(check);
        check();
      }),
      `event ${name}`,
    );
  return heard;
}

/** A peer, and all that it hears. */
async function party(t, broker, id, keys, others = []) {
  const known = new Map(others.map(([id, { publicKey }]) => [id, publicKey]));
  const peer = linkup.createPeer(id, {
    brokerUrl: broker.url,
    identity: { ...keys, known },
    timeouts: { connect: 3000 },
    // What the broker's own addresses would be asked for.
    iceServers: [],
  });
  t.after(() => within(peer.close(), 'close'));
  const heard = Object.fromEntries(['message', 'connection', 'error'].map((name) => [name, listen(peer, name)]));
  const closed = [];
  peer.on('connection', (connection) => connection.on('close', ({ code }) => closed.push(code)));
  await within(once(peer, 'register'), 'register');
  return { id, peer, keys, closed, ...heard };
}

/** Alice and Bob, who know each other, and their broker. */
async function meet(t) {
  const broker = await attackingBroker();
  t.after(() => broker.close());
  const [a, b] = await Promise.all([linkup.createIdentity(), linkup.createIdentity()]);
  const [alice, bob] = await Promise.all([
    party(t, broker, 'alice', a, [['bob', b]]),
    party(t, broker, 'bob', b, [['alice', a]]),
  ]);
  return { broker, alice, bob };
}

const call = (alice, bob) => alice.peer.connect(bob.id, { publicKey: bob.keys.publicKey });

/** The same with a connection, and the first signal of each type. */
async function talk(t) {
  const parties = await meet(t);
  const { alice, bob, broker } = parties;
  const connection = await within(call(alice, bob), 'connect');
  await bob.connection.until(() => true);
  const codes = [];
  connection.on('close', ({ code }) => codes.push(code));
  const first = (type) => broker.heard.find((signal) => read(signal).type === type);
  const { session } = read(first('offer')).linkup;
  return { ...parties, connection, codes, session, offer: first('offer'), answer: first('answer') };
}

let count = 0;

/** The connection that they had is not about to end: messages pass, each way. */
async function lives({ alice, bob, connection, codes }) {
  await setTimeout(END_AFTER);
  const [to, fro] = [`to ${++count}`, `fro ${count}`];
  const told = within(once(connection, 'message'), 'the message back');
  await within(connection.send(to, { ack: true }), 'send');
  assert.ok(bob.message.some(({ message }) => message === to));
  await within(bob.connection[0].send(fro, { ack: true }), 'send');
  assert.deepEqual(await told, [fro]);
  assert.deepEqual([codes, bob.closed, bob.connection.length], [[], [], 1]);
  assert.equal(alice.peer.connections.get('bob'), connection);
}

/** Nobody has heard anything. */
function silent(...parties) {
  for (const { id, message, connection } of parties) {
    assert.deepEqual([message.length, connection.length], [0, 0], id);
  }
}

let strangers = 0;

/** Resolves when that peer has dealt with all that the broker sent to it before, and the broker has heard what it said to that. */
async function settled(broker, { id, error }) {
  const from = `nobody-${++strangers}`;
  const offer = { type: 'offer', sdp: 'v=0', linkup: { v: 1, session: from } };
  broker.send({ ...saidBy(broker.keys, 'somebody else', id, offer), from });
  assert.equal((await error.until(({ peerId }) => peerId === from)).code, MISMATCH);
  await within(
    broker.until(({ type }, { to }) => type === 'bye' && to === from),
    'the bye',
  );
}

test('a broker that does what it should', async (t) => {
  const pair = await talk(t);
  const { alice, bob, connection } = pair;
  assert.equal(connection.identity.publicKey, bob.keys.publicKey);
  assert.equal(bob.connection[0].identity.publicKey, alice.keys.publicKey);
  await lives(pair);
  assert.deepEqual([alice.error, bob.error].flat(), []);
});

// Attacks on a call: what the broker does with each signal.
const CHANGES = {
  'the fingerprint in the offer': ({ type }, signal) => (type === 'offer' ? altered(signal, swapFingerprint) : signal),
  'the fingerprint in the answer': ({ type }, signal) =>
    type === 'answer' ? altered(signal, swapFingerprint) : signal,
  'the fingerprint in both': (_, signal) => altered(signal, swapFingerprint),
  'the fingerprint in both, and signs': (_, signal, { keys }) => resigned(keys, altered(signal, swapFingerprint)),
  'who has signed': (_, signal, { keys }) => resigned(keys, signal),
  'who has signed the answer': ({ type }, signal, { keys }) => (type === 'answer' ? resigned(keys, signal) : signal),
  'signed signals to unsigned ones': (_, signal) => stripped(signal),
  'signed answers to unsigned ones': ({ type }, signal) => (type === 'answer' ? stripped(signal) : signal),
  'the metadata of the offer': ({ type }, signal) =>
    type === 'offer' ? altered(signal, ({ linkup }) => Object.assign(linkup, { metadata: 'mine' })) : signal,
  'one space in the answer': ({ type }, signal) =>
    type === 'answer' ? { ...signal, signal: signal.signal.replace('{', '{ ') } : signal,
  'the session on the way': ({ linkup: { session } }, signal) =>
    altered(signal, ({ linkup }) => {
      linkup.session = signal.from === 'alice' ? `${session}x` : session.replace('x', '');
    }),
};

for (const [what, change] of Object.entries(CHANGES)) {
  test(`a broker that changes ${what}`, async (t) => {
    const { broker, alice, bob } = await meet(t);
    broker.attack = (signal, send) => send(change(read(signal), signal, broker));
    assert.equal(await codeOf(call(alice, bob)), MISMATCH);
    // Without a key in the call, but with one that is known.
    assert.equal(await codeOf(alice.peer.send('bob', 'secret')), MISMATCH);
    silent(alice, bob);
    // It was the broker, and nothing of it stays.
    broker.attack = null;
    const connection = await within(call(alice, bob), 'connect');
    assert.equal(connection.identity.publicKey, bob.keys.publicKey);
    await within(connection.send('hello', { ack: true }), 'send');
    assert.deepEqual(
      bob.message.map(({ message }) => message),
      ['hello'],
    );
  });
}

/** A signal as a plain client would have said it, who is told nothing. */
function plain(signal) {
  const { linkup, ...said } = JSON.parse(stripped(signal).signal);
  return { ...signal, signal: JSON.stringify(said) };
}

for (const [what, change] of Object.entries({
  'keeps the answer': (signal) => (read(signal).type === 'answer' ? null : signal),
  'makes plain clients of both': plain,
})) {
  test(`a broker that ${what} keeps nobody waiting for ever`, async (t) => {
    const { broker, alice, bob } = await meet(t);
    broker.attack = (signal, send) => {
      const changed = change(signal);
      if (changed) send(changed);
    };
    assert.equal(await codeOf(call(alice, bob)), 'ERR_CONNECT_TIMEOUT');
    silent(alice, bob);
  });
}

/** The two in the middle, Bob for Alice and Alice for Bob, at brokers of their own. */
async function inTheMiddle(t, known) {
  const brokers = await Promise.all([attackingBroker(), attackingBroker()]);
  for (const broker of brokers) t.after(() => broker.close());
  const keys = await Promise.all(Array.from({ length: 4 }, () => linkup.createIdentity()));
  const others = (id, keys) => (known ? [[id, keys]] : []);
  const [alice, bob, falseBob, falseAlice] = await Promise.all([
    party(t, brokers[0], 'alice', keys[0], others('bob', keys[1])),
    party(t, brokers[1], 'bob', keys[1], others('alice', keys[0])),
    party(t, brokers[0], 'bob', keys[2]),
    party(t, brokers[1], 'alice', keys[3]),
  ]);
  return { alice, bob, falseBob, falseAlice };
}

test('somebody in the middle of who do not know each other is seen', async (t) => {
  const { alice, bob, falseBob, falseAlice } = await inTheMiddle(t, false);
  falseBob.peer.on('message', ({ message }) => falseAlice.peer.send('bob', message));
  await within(alice.peer.send('bob', 'secret'), 'send');
  assert.equal((await bob.message.until(() => true)).message, 'secret');
  // The attack worked, so this is what the application has to look at.
  assert.notEqual(alice.peer.connections.get('bob').identity.publicKey, bob.keys.publicKey);
  assert.equal(alice.peer.connections.get('bob').identity.publicKey, falseBob.keys.publicKey);
  assert.equal(bob.connection[0].identity.publicKey, falseAlice.keys.publicKey);
});

test('somebody in the middle of who know each other reads and says nothing', async (t) => {
  const { alice, bob, falseBob, falseAlice } = await inTheMiddle(t, true);
  assert.equal(await codeOf(alice.peer.send('bob', 'secret')), MISMATCH);
  assert.equal(await codeOf(call(alice, bob)), MISMATCH);
  assert.equal(await codeOf(falseAlice.peer.send('bob', 'lie')), MISMATCH);
  // Who calls the wrong one is called.
  assert.equal(await codeOf(falseBob.peer.send('alice', 'lie')), MISMATCH);
  silent(alice, bob, falseBob, falseAlice);
});

test('a call is not made again by who kept it', async (t) => {
  const pair = await talk(t);
  const { broker, bob, connection, offer } = pair;
  const over = once(bob.connection[0], 'close');
  await within(Promise.all([connection.close(), over]), 'close');
  const before = broker.heard.length;
  broker.send(offer);
  await settled(broker, bob);
  const said = broker.heard.slice(before).filter(({ from, to }) => from === 'bob' && to === 'alice');
  const [bye, ...rest] = said.map(read).filter(({ linkup }) => linkup.session === pair.session);
  assert.deepEqual([bye?.linkup.bye.code, rest], [MISMATCH, []]);
  assert.equal(bob.connection.length, 1);
});

test('an old answer is none', async (t) => {
  const pair = await talk(t);
  const { broker, alice, bob, connection, answer } = pair;
  await within(connection.close(), 'close');
  for (const [change, code] of [
    [() => answer, 'ERR_CONNECT_TIMEOUT'],
    [
      ({ linkup }) =>
        altered(answer, (said) => {
          said.linkup.session = linkup.session;
        }),
      MISMATCH,
    ],
  ]) {
    broker.attack = (signal, send) => {
      const said = read(signal);
      if (said.type === 'offer') send(change(said));
    };
    assert.equal(await codeOf(call(alice, bob)), code);
  }
  assert.equal(bob.connection.length, 1);
});

test('who calls in the name of another', async (t) => {
  const { broker, alice, bob } = await meet(t);
  const mallory = await party(t, broker, 'mallory', await linkup.createIdentity());
  broker.attack = (signal, send) => {
    if (signal.from === 'mallory') send({ ...signal, from: 'alice' });
    else if (signal.to === 'alice') send({ ...signal, to: 'mallory' });
    else send(signal);
  };
  assert.equal(await codeOf(mallory.peer.send('bob', 'lie')), MISMATCH);
  await bob.error.until(({ code, peerId }) => code === MISMATCH && peerId === 'alice');
  silent(alice, bob, mallory);
});

test('who answers in the name of another', async (t) => {
  const { broker, alice, bob } = await meet(t);
  for (const keys of [broker.keys, undefined]) {
    broker.attack = (signal, send) => {
      const { type, sdp, linkup } = read(signal);
      if (type !== 'offer') return;
      const said = { type: 'answer', sdp, linkup: { v: 1, session: linkup.session, offer: digestOf(signal.signal) } };
      const answer = saidBy(keys ?? broker.keys, 'bob', 'alice', said);
      send(keys ? answer : stripped(answer));
    };
    assert.equal(await codeOf(call(alice, bob)), MISMATCH);
  }
  silent(alice, bob);
});

/** All ways in which the broker can say something in the name of another. */
function forgeries(broker, from, to, said) {
  const mine = saidBy(broker.keys, from, to, said);
  // Somebody's own signature, of something else.
  const theirs = broker.heard.find((signal) => signal.from === from && signal.to === to);
  const all = [mine, stripped(mine), { from, to, signal: JSON.stringify(said) }];
  if (!theirs) return all;
  const { signature, linkup } = read(theirs);
  const keyed = { ...said, linkup: { ...said.linkup, key: linkup.key } };
  return [...all, { from, to, signal: JSON.stringify({ ...keyed, signature }) }];
}

test('a bye in the name of another ends a call, and says that it was forged', async (t) => {
  const { broker, alice, bob } = await meet(t);
  for (let way = 0; way < 3; way++) {
    broker.attack = (signal, send) => {
      const { type, linkup } = read(signal);
      if (type !== 'offer') return;
      const said = {
        type: 'bye',
        linkup: { v: 1, session: linkup.session, bye: { code: 'ERR_DENIED', reason: 'no' } },
      };
      send(forgeries(broker, 'bob', 'alice', said)[way]);
    };
    assert.equal(await codeOf(call(alice, bob)), MISMATCH, `forgery ${way}`);
  }
  silent(alice, bob);
});

/** What a broker may say about an open connection, in the name of one of the two. */
const ABOUT_AN_OPEN_ONE = {
  'a bye': () => ({ type: 'bye', linkup: { bye: { code: 'ERR_CONNECTION_CLOSED', reason: '' } } }),
  'a candidate': ({ candidate }) => ({ type: 'candidate', candidate }),
  'that it needs another transport': () => ({ type: 'resume' }),
  'an offer of another transport': ({ sdp }) => ({ type: 'offer', sdp, linkup: { transport: 1 } }),
  'an answer of another transport': ({ sdp }) => ({ type: 'answer', sdp, linkup: { transport: 1 } }),
  'an answer': ({ sdp }) => ({ type: 'answer', sdp }),
  'the same call': ({ sdp }) => ({ type: 'offer', sdp }),
};

/** A socket of the broker's, as a candidate, that hears whether somebody tries it. */
async function trap(t) {
  const socket = dgram.createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  t.after(() => socket.close());
  const line = `candidate:1 1 udp 2130706431 127.0.0.1 ${socket.address().port} typ host`;
  return { packets: listen(socket, 'message'), candidate: { candidate: line, sdpMid: '0', sdpMLineIndex: 0 } };
}

for (const [what, make] of Object.entries(ABOUT_AN_OPEN_ONE)) {
  test(`a broker that says ${what} in the name of one of two who talk`, async (t) => {
    const pair = await talk(t);
    const { broker, alice, bob, session, offer } = pair;
    const { packets, candidate } = await trap(t);
    const said = make({ candidate, sdp: read(offer).sdp });
    for (const [from, to] of [
      [alice, bob],
      [bob, alice],
    ]) {
      const linkup = { v: 1, session, ...said.linkup };
      for (const signal of forgeries(broker, from.id, to.id, { ...said, linkup })) {
        const before = to.error.length;
        broker.send(signal);
        const error = await to.error.until((error) => to.error.indexOf(error) >= before);
        assert.deepEqual([error.code, error.peerId], [MISMATCH, from.id]);
      }
      // What it made the two say to each other has come, too.
      await settled(broker, from);
    }
    await lives(pair);
    assert.equal(packets.length, 0);
  });
}

test('addresses that the broker adds to a call are not used', async (t) => {
  const { packets, candidate } = await trap(t);
  const { broker, alice, bob } = await meet(t);
  broker.attack = (signal, send) => {
    send(signal);
    const { type, linkup } = read(signal);
    if (type !== 'offer') return;
    const added = { type: 'candidate', candidate, linkup: { v: 1, session: linkup.session } };
    send(saidBy(broker.keys, 'alice', 'bob', added));
    send(saidBy(broker.keys, 'bob', 'alice', added));
  };
  assert.equal(await codeOf(call(alice, bob)), MISMATCH);
  silent(alice, bob);
  assert.equal(packets.length, 0);

  // The trap works: who knows nobody goes into it.
  const [a, b] = await Promise.all(
    ['anybody', 'somebody'].map(async (id) => party(t, broker, id, await linkup.createIdentity())),
  );
  broker.attack = (signal, send) => {
    send(resigned(broker.keys, signal));
    const { type, linkup } = read(signal);
    if (type !== 'offer') return;
    send(saidBy(broker.keys, a.id, b.id, { type: 'candidate', candidate, linkup: { v: 1, session: linkup.session } }));
  };
  a.peer.connect(b.id).catch(() => {});
  await packets.until(() => true);
});

/** Numbers from 0 to 1, the same each time. */
function* numbers(seed) {
  for (let n = seed; ; ) {
    n = (n * 48_271) % 2_147_483_647;
    yield n / 2_147_483_647;
  }
}

for (const [what, make] of Object.entries({
  'says all twice': () => (signal, send) => {
    send(signal);
    send(signal);
  },
  'says the last first': () => {
    const kept = [];
    return (signal, send) => {
      kept.push(signal);
      if (kept.length > 1) return;
      // Whatever is said until then.
      setTimeout(100).then(() => {
        for (const each of kept.splice(0).reverse()) send(each);
      });
    };
  },
  'is late, and mixes all': () => {
    const late = numbers(7);
    return (signal, send) => {
      for (let n = 0; n < 2; n++) setTimeout(1000 * late.next().value).then(() => send(signal));
    };
  },
})) {
  test(`a broker that ${what} keeps nobody from talking`, async (t) => {
    const { broker, alice, bob } = await meet(t);
    broker.attack = make();
    const connection = await within(call(alice, bob), 'connect');
    assert.equal(connection.identity.publicKey, bob.keys.publicKey);
    await bob.connection.until(() => true);
    assert.equal(bob.connection[0].identity.publicKey, alice.keys.publicKey);
    await lives({ alice, bob, connection, codes: [] });
    assert.deepEqual([alice.error, bob.error].flat(), []);
  });
}

// What ends a connection that is open must be said by the other side, about this connection. A broker that knows this code can
// still end one, no more: what is to be done is said with each.

test('a call with another key does not take the place of an open connection', async (t) => {
  const pair = await talk(t);
  const { broker, alice, bob, offer } = pair;
  for (const keys of [broker.keys, makeKeys()]) {
    for (const [from, to] of [
      [alice, bob],
      [bob, alice],
    ]) {
      const linkup = { v: 1, session: `another ${++count}` };
      broker.send(saidBy(keys, from.id, to.id, { type: 'offer', sdp: read(offer).sdp, linkup }));
      await settled(broker, to);
      await settled(broker, from);
    }
  }
  await lives(pair);
});

test('an unsigned call does not take the place of an open connection', async (t) => {
  const pair = await talk(t);
  const { broker, alice, bob, offer } = pair;
  for (const signal of [
    stripped(offer),
    { ...offer, signal: JSON.stringify({ type: 'offer', sdp: read(offer).sdp }) },
  ]) {
    const text = JSON.parse(signal.signal);
    if (text.linkup) text.linkup.session = `another ${++count}`;
    broker.send({ ...signal, signal: JSON.stringify(text) });
    await settled(broker, bob);
    await settled(broker, alice);
  }
  await lives(pair);
});

test('the call of a connection that is over does not take the place of the next one', async (t) => {
  const first = await talk(t);
  const { broker, alice, bob, connection, offer } = first;
  await within(connection.close(), 'close');
  const again = await within(call(alice, bob), 'connect');
  await within(again.send('again', { ack: true }), 'send');
  broker.send(offer);
  await settled(broker, bob);
  await settled(broker, alice);
  await setTimeout(END_AFTER);
  await within(again.send('still', { ack: true }), 'send');
  assert.deepEqual([bob.connection.length, bob.closed], [2, [null]]);
});

test('a call that was kept back does not take the place of the next one', async (t) => {
  const { broker, alice, bob } = await meet(t);
  broker.attack = () => {};
  const given = new AbortController();
  const lost = codeOf(alice.peer.connect('bob', { publicKey: bob.keys.publicKey, signal: given.signal }));
  const kept = await within(
    broker.until(({ type }) => type === 'offer'),
    'the offer',
  );
  given.abort();
  await lost;
  broker.attack = null;
  const connection = await within(call(alice, bob), 'connect');
  await within(connection.send('one', { ack: true }), 'send');
  broker.send(kept);
  await settled(broker, bob);
  await settled(broker, alice);
  await setTimeout(END_AFTER);
  await within(connection.send('two', { ack: true }), 'send');
  assert.deepEqual([bob.connection.length, bob.closed], [1, []]);
});

for (const [what, make] of Object.entries({
  'an answer': ({ sdp }) => ({ type: 'answer', sdp }),
  'that it needs another transport': () => ({ type: 'resume' }),
  'an offer of another transport': ({ sdp }) => ({ type: 'offer', sdp, linkup: { transport: 1 } }),
})) {
  test(`a bye that the broker got beforehand, by ${what}, ends nothing`, async (t) => {
    const { broker, alice, bob } = await meet(t);
    let bye;
    let asked = false;
    broker.attack = (signal, send) => {
      const { type, linkup, sdp } = read(signal);
      if (type === 'offer' && !asked) {
        asked = true;
        // Bob does not know of the call yet.
        const said = make({ sdp });
        send(
          stripped(
            saidBy(broker.keys, 'alice', 'bob', { ...said, linkup: { v: 1, session: linkup.session, ...said.linkup } }),
          ),
        );
        settled(broker, bob).then(() => {
          const said = broker.heard.filter(({ from, to }) => from === 'bob' && to === 'alice');
          bye = said.find((signal) => read(signal).type === 'bye') ?? 'none';
          broker.attack = null;
          send(signal);
        });
      } else if (signal.from === 'alice') send(signal);
    };
    const connection = await within(call(alice, bob), 'connect');
    await within(connection.send('one', { ack: true }), 'send');
    if (bye !== 'none') broker.send(bye);
    await settled(broker, alice);
    await setTimeout(END_AFTER);
    await within(connection.send('two', { ack: true }), 'send');
    assert.deepEqual([bob.connection.length, bob.closed, connection.state], [1, [], 'open']);
  });
}
