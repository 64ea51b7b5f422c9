'use strict';
// examples/yjs in Node.js: documents become the same, whoever was away, and only who is there counts as here. In pages:
// ../page/examples.test.js.

const assert = require('node:assert/strict');
const { after, afterEach, before, test } = require('node:test');
const { commandOf, linkup, loopback, startBroker, within } = require('./helpers');

let Y;
let LinkupProvider;
let broker;
before(async () => {
  Y = await import('yjs');
  ({ LinkupProvider } = await import('../../examples/yjs/provider.mjs'));
  broker = await startBroker();
});
after(() => broker.close());

const open = new Set();
afterEach(() => Promise.all([...open].map(leave)));

/** Somebody who shares a document with others; the same document where one is given. */
function join(id, ids, { doc = new Y.Doc(), ...options } = {}) {
  const peer = linkup.createPeer(id, { brokerUrl: broker.url });
  const provider = new LinkupProvider(doc, peer, ids, options);
  const one = { id, doc, peer, provider, text: doc.getText('text') };
  provider.awareness.setLocalStateField('name', id);
  open.add(one);
  return one;
}

/** Goes, and keeps the document. */
async function leave(one) {
  open.delete(one);
  one.provider.destroy();
  one.provider.awareness.destroy();
  await one.peer.close();
}

/** Resolves when `test` is true of all, after some change in one of them. */
function all(ones, test, what) {
  const met = new Promise((resolve) => {
    const look = () => ones.every(test) && resolve();
    for (const { doc, provider } of ones) {
      doc.on('update', look);
      provider.awareness.on('change', look);
    }
    look();
  });
  const state = () => ones.map(({ id, text, ...one }) => `${id}: ${JSON.stringify(text)}, ${here(one)}`).join('\n');
  return within(met, 20_000, what).catch((error) => assert.fail(`${error.message}\n${state()}`));
}

const here = ({ provider }) =>
  [...provider.awareness.getStates().values()]
    .map(({ name }) => name)
    .toSorted()
    .join();
const lines = ({ text }) => text.toString().trim().split('\n').toSorted().join();
const write = ({ text }, line) => text.insert(0, `${line}\n`);

/** Whether all have these lines, in the same order. */
const converge = (ones, expected) =>
  all(ones, (one) => lines(one) === expected && String(one.text) === String(ones[0].text), `the lines ${expected}`);

test('three write at once, one is away and comes back, and then all have the same', async () => {
  const ids = ['alice', 'bob', 'carol'];
  const [alice, bob, carol] = ids.map((id) => join(id, ids));
  // Nobody is connected yet.
  for (const one of [alice, bob, carol]) write(one, `first of ${one.id}`);
  await converge([alice, bob, carol], 'first of alice,first of bob,first of carol');
  await all([alice, bob, carol], (one) => here(one) === 'alice,bob,carol', 'all are here');

  await leave(carol);
  await all([alice, bob], (one) => here(one) === 'alice,bob', 'carol has gone');
  for (const one of [alice, bob, carol]) write(one, `second of ${one.id}`);
  alice.text.delete(0, 3);
  const back = join('carol', ids, { doc: carol.doc });
  await converge(
    [alice, bob, back],
    'first of alice,first of bob,first of carol,ond of alice,second of bob,second of carol',
  );
  await all([alice, bob, back], (one) => here(one) === 'alice,bob,carol', 'carol is back');
});

test('where two are not connected, the third passes on what they write, but not who they are', async () => {
  const [left, middle, right] = [
    join('left', ['middle']),
    join('middle', ['left', 'right']),
    join('right', ['middle']),
  ];
  write(left, 'from left');
  write(right, 'from right');
  await converge([left, middle, right], 'from left,from right');
  await all([middle], (one) => here(one) === 'left,middle,right', 'all are here');
  assert.equal(here(left), 'left,middle');
});

test('who is still there after its connection has ended is called again', async () => {
  const [one, two] = [join('one', ['two'], { retry: 50 }), join('two', ['one'], { retry: 50 })];
  await all([one, two], (each) => here(each) === 'one,two', 'both are here');
  const ended = all([one, two], (each) => here(each) === each.id, 'each is alone');
  await one.peer.disconnect('two');
  await ended;
  write(one, 'again');
  await converge([one, two], 'again');
});

test('a stranger is not listened to, and nonsense ends the connection, not the process', async () => {
  const one = join('here', ['known'], { retry: 50 });
  write(one, 'ours');
  const stranger = join('stranger', ['here']);
  write(stranger, 'theirs');
  const known = linkup.createPeer('known', { brokerUrl: broker.url });
  const connection = await known.connect('here');
  const closed = new Promise((resolve) => connection.on('close', resolve));
  await connection.send('text is not for it');
  await connection.send(new Uint8Array([1, 200, 1]));
  await within(closed, 10_000, 'the end');
  assert.equal(lines(one), 'ours');
  assert.equal(here(one), 'here');
  await known.close();
});

test('the text of three processes', async () => {
  const net = loopback();
  const [file, ...ids] = commandOf('examples/yjs/text.mjs');
  const [alice, bob, carol] = ids.map((id) => net.run([file, id, ...ids.filter((other) => other !== id)]));
  await Promise.all([alice, bob, carol].map((one) => one.line(/^here: (?=.*alice)(?=.*bob)(?=.*carol)/)));
  alice.process.stdin.write('hello from alice\n');
  await Promise.all([alice, bob, carol].map((one) => one.line(/^hello from alice$/)));
  for (const one of [alice, bob, carol]) {
    one.process.stdin.end();
    assert.equal((await one.exited).code, 0);
  }
  net.remove();
});
