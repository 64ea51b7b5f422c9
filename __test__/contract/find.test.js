'use strict';
// Peer.find.

const { assert, peer, registered, test, within } = require('./harness');

test('find says whether an id is registered', async () => {
  const [a, b] = await Promise.all([registered('a'), registered('b')]);
  assert.equal(await within(a.find(b.id), 'find'), true);
  assert.equal(await within(a.find(a.id), 'find'), true);
  assert.equal(await within(a.find('nobody'), 'find'), false);
});

test('the id of a peer that is closed is free', async () => {
  const a = await registered('a');
  for (let i = 0; i < 20; i++) {
    const b = await registered('b');
    await b.close();
    assert.equal(await within(a.find(b.id), 'find'), false);
  }
});

test('find may come before the own registration', async () => {
  const b = await registered('b');
  assert.equal(await within(peer('a').find(b.id), 'find'), true);
});

test('many questions at once get their own answers', async () => {
  const [a, b] = await Promise.all([registered('a'), registered('b')]);
  const ids = Array.from({ length: 20 }, (_, i) => (i % 2 ? b.id : `nobody-${i}`));
  const answers = await within(Promise.all(ids.map((id) => a.find(id))), 'find');
  assert.deepEqual(
    answers,
    ids.map((id) => id === b.id),
  );
});
