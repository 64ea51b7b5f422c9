'use strict';
// What a broker can do to two who know each other's keys, wherever they are: keep them apart, and nothing else. More attacks
// are in ../interop/attacks.test.js, on Node.js alone.

const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { setTimeout } = require('node:timers/promises');
const linkup = require('../../index.js');
const {
  END_AFTER,
  MISMATCH,
  altered,
  attackingBroker,
  read,
  resigned,
  saidBy,
  stripped,
  swapFingerprint,
} = require('../interop/attacking-broker');
const { NODE, PAIRS, inAllRuntimes } = require('./ends');

const SILENCE = [0, null, null];

inAllRuntimes('a broker that attacks', (world) => {
  let broker;
  let keys;

  before(async () => {
    broker = await attackingBroker();
    keys = await Promise.all(Array.from({ length: 3 }, linkup.createIdentity));
  });
  after(() => broker.close());

  /** Alice and Bob, who know each other. */
  const meet = async ([one, two]) => {
    broker.attack = null;
    broker.heard = [];
    const { url: brokerUrl } = broker;
    const [a, b] = keys;
    const timeouts = { connect: 3000 };
    const [alice, bob] = await Promise.all([
      world.end(one, { id: 'alice', brokerUrl, timeouts, identity: a, known: { bob: b.publicKey } }),
      world.end(two, { id: 'bob', brokerUrl, timeouts, identity: b, known: { alice: a.publicKey } }),
    ]);
    return { alice, bob, right: { publicKey: b.publicKey } };
  };

  let strangers = 0;

  /** Resolves when that end has dealt with all that the broker sent to it before, and the broker has heard its answers. */
  const settled = async (end) => {
    const from = `nobody-${++strangers}`;
    const offer = { type: 'offer', sdp: 'v=0', linkup: { v: 1, session: from } };
    broker.send({ ...saidBy(broker.keys, 'somebody else', end.id, offer), from });
    assert.equal(await end.run('complaint', from), MISMATCH);
    await broker.until(({ type }, { to }) => type === 'bye' && to === from);
  };

  /** The connection that they have is the only one that they had, and messages pass. */
  const talk = async (alice, bob) => {
    await Promise.all([alice.run('say', 'hello'), bob.run('say', 'hello too')]);
    assert.deepEqual(await Promise.all([alice.run('hear'), bob.run('hear')]), ['hello too', 'hello']);
    const [a, b] = keys.map(({ publicKey }) => publicKey);
    assert.deepEqual(await alice.run('met'), [1, b, 'open']);
    assert.deepEqual(await bob.run('met'), [1, a, 'open']);
  };

  for (const pair of PAIRS) {
    test(pair.join(' with '), { timeout: 60_000 }, async (t) => {
      const { alice, bob, right } = await meet(pair);
      try {
        for (const [what, change] of Object.entries({
          fingerprints: (signal) => altered(signal, swapFingerprint),
          'fingerprints, and signs': (signal) => resigned(broker.keys, altered(signal, swapFingerprint)),
          'who has signed': (signal) => resigned(broker.keys, signal),
          'who has signed the answer': (signal) =>
            read(signal).sdp && signal.from === 'bob' ? resigned(broker.keys, signal) : signal,
          'signed signals to unsigned ones': stripped,
        })) {
          await t.test(`it changes ${what}`, async () => {
            broker.attack = (signal, send) => send(change(signal));
            assert.equal(await alice.run('refusal', 'bob', right), MISMATCH);
            assert.deepEqual([await alice.run('met'), await bob.run('met')], [SILENCE, SILENCE]);
          });
        }

        await t.test('it has somebody call in the name of another', async () => {
          const mallory = await world.end(NODE, { id: 'mallory', brokerUrl: broker.url, identity: keys[2] });
          broker.attack = (signal, send) => {
            if (signal.from === 'mallory') send({ ...signal, from: 'alice' });
            else if (signal.to === 'alice') send({ ...signal, to: 'mallory' });
            else send(signal);
          };
          assert.equal(await mallory.run('refusal', 'bob'), MISMATCH);
          assert.deepEqual(await bob.run('met'), SILENCE);
        });

        broker.attack = () => {};
        broker.heard = [];
        const gone = alice.run('refusal', 'bob', right);
        const kept = await broker.until(({ type }) => type === 'offer');
        assert.equal(await gone, 'ERR_CONNECT_TIMEOUT');
        broker.attack = null;
        broker.heard = [];
        await t.test('it does what it should', async () => {
          await Promise.all([alice.run('connect', 'bob', right), bob.run('called')]);
          await talk(alice, bob);
        });

        const offer = broker.heard.find((signal) => read(signal).type === 'offer');
        const { sdp, linkup: mine } = read(offer);
        const about = { v: 1, session: mine.session };
        await t.test('it says things about who talk', async () => {
          for (const said of [
            { type: 'bye', linkup: { ...about, bye: { code: 'ERR_CONNECTION_CLOSED', reason: '' } } },
            { type: 'resume', linkup: about },
            { type: 'offer', sdp, linkup: about },
            { type: 'offer', sdp, linkup: { ...about, transport: 1 } },
          ]) {
            for (const [from, to] of [
              [alice, bob],
              [bob, alice],
            ]) {
              const signal = saidBy(broker.keys, from.id, to.id, said);
              broker.send(signal);
              broker.send(stripped(signal));
              await settled(to);
              await settled(from);
            }
          }
          await setTimeout(END_AFTER);
          await talk(alice, bob);
          assert.deepEqual(await Promise.all([alice.run('complaint', 'bob'), bob.run('complaint', 'alice')]), [
            MISMATCH,
            MISMATCH,
          ]);
        });

        if (!pair.includes(NODE))
          await t.test('it makes calls in the name of who talks', async () => {
            for (const [from, to] of [
              [alice, bob],
              [bob, alice],
            ]) {
              for (const keys of [broker.keys, undefined]) {
                const said = saidBy(broker.keys, from.id, to.id, {
                  type: 'offer',
                  sdp,
                  linkup: { v: 1, session: `${++strangers}` },
                });
                broker.send(keys ? said : stripped(said));
                broker.send({ ...said, signal: JSON.stringify({ type: 'offer', sdp }) });
                await settled(to);
                await settled(from);
              }
            }
            // Alice's own, which was kept back: it comes to nothing.
            if (kept) broker.send(kept);
            await settled(bob);
            await settled(alice);
            await setTimeout(END_AFTER);
            await talk(alice, bob);
          });

        await t.test('it makes the same call again', async () => {
          await Promise.all([alice.run('hangUp'), bob.run('hungUp')]);
          broker.heard = [];
          broker.send(offer);
          await settled(bob);
          const said = broker.heard.filter(({ from, to }) => from === 'bob' && to === 'alice').map(read);
          const codes = said.map(({ linkup }) => linkup.bye?.code);
          assert.ok(codes.includes(MISMATCH), `${codes}`);
          assert.equal((await bob.run('met'))[0], 1);
        });
      } finally {
        await world.clear();
      }
    });
  }
});
