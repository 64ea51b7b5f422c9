'use strict';
// Hostile remotes, over a real data channel: whatever they send, the connection ends with ERR_PROTOCOL, and the peer and its
// other connections go on. The hostile one is a page; who suffers is a page of each browser, and Node.js.

const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { NODE, browsers, inAllRuntimes } = require('./ends');

const hex = (text, fill) => ({ hex: text.replaceAll(' ', ''), fill });

/** What is wrong, and the frames that say it: docs/protocol.md. */
const CASES = {
  'a text that is not JSON': ['{'],
  'a text that ends too early': ['[1, 2'],
  'no frame at all': [hex('')],
  'an unknown kind': [hex('ff 00')],
  'the kind 0': [hex('00')],
  'a message of 4 GiB': [hex('05 00 ffffffff 41')],
  'a message of no type': [hex('05 02 00000002 41')],
  'a piece without a beginning': [hex('06 41')],
  'a piece that is too much': [hex('05 01 00000003 41'), hex('06 41 41 41')],
  'a piece without bytes': [hex('05 01 00000003 41'), hex('06')],
  'two beginnings': [hex('05 01 00000003 41'), hex('05 01 00000003 41')],
  'a text between pieces': [hex('05 01 00000003 41'), '1'],
  'pieces that are no UTF-8': [hex('05 00 00000002 ff'), hex('06 ff')],
  'pieces that are not JSON': [hex('05 00 00000002 7b'), hex('06 7b')],
  'an ACK of what was never sent': [hex('01 00000000000003e8 0000000000000000')],
  'an ACK of a cost that was never sent': [hex('01 0000000000000000 00000000000003e8')],
  'an ACK that overflows': [hex('01 ffffffffffffffff ffffffffffffffff')],
  'a short ACK': [hex('01 00')],
  'a FIN-ACK without a FIN': [hex('03')],
  'a message after the FIN': [hex('02'), '1'],
  'a long FIN': [hex('02 00')],
  'a frame that is too long': [hex('04', 65_537)],
  'a stream of our own number': (calls) => [hex(`08 0000000${calls ? 1 : 0} 7b226e616d65223a2261227d`)],
  'a stream that is not JSON': (calls) => [hex(`08 0000000${calls ? 0 : 1} 7b`)],
  'a stream without a name': (calls) => [hex(`08 0000000${calls ? 0 : 1} 7b7d`)],
  'data without bytes': [hex('09 00000000')],
  'more in a stream than its credit': (calls) => {
    const id = `0000000${calls ? 0 : 1}`;
    return [hex(`08 ${id} 7b226e616d65223a2261227d`), ...Array(17).fill(hex(`09 ${id}`, 65_536))];
  },
  'a credit that goes back': (calls) => {
    const id = `0000000${calls ? 0 : 1}`;
    return [hex(`08 ${id} 7b226e616d65223a2261227d`), hex(`0c ${id} 0000000000000001`)];
  },
};

/** Frames of streams that are not there, or over: they are passed over. */
const HARMLESS = [
  hex('09 00000007 41'),
  hex('0a 00000007'),
  hex('0b 00000008 41'),
  hex('0c 00000009 0000000000000000'),
];

inAllRuntimes('hostile remotes', (world) => {
  let hostile;
  let count = 0;

  before(async () => {
    hostile = await world.page(browsers[0], '__test__/page/hostile-page.js');
  });
  after(() => world.clear());

  /** A hostile client with an open channel to `end`, `channel` in the page; its id. */
  const meet = async (end, calls) => {
    const id = `hostile-${++count}`;
    await hostile.evaluate(async (id) => {
      globalThis.client = await hostileClient(brokerUrl, id);
    }, id);
    const meeting = hostile.evaluate(
      async (to) => {
        globalThis.channel = await (to === null ? client.called : client.call(to));
      },
      calls ? end.id : null,
    );
    await Promise.all([meeting, calls || end.run('reach', id)]);
    return id;
  };

  for (const runtime of [...browsers, NODE]) {
    test(`against ${runtime}`, { timeout: 120_000 }, async (t) => {
      const [victim, friend] = await Promise.all([runtime, NODE].map((runtime) => world.end(runtime)));
      await victim.run('suffer');
      await friend.run('connect', victim.id);

      for (const [what, made] of Object.entries(CASES)) {
        // Whose numbers are whose in streams depends on who calls.
        for (const calls of typeof made === 'function' ? [true, false] : [true]) {
          await t.test(`${what}, from who ${calls ? 'calls' : 'is called'}`, async () => {
            const id = await meet(victim, calls);
            const frames = typeof made === 'function' ? made(calls) : made;
            await hostile.evaluate((frames) => sendFrames(channel, frames), frames);
            assert.deepEqual(await victim.run('fate', id), ['ERR_PROTOCOL']);
            await hostile.evaluate(() => channel.ended);
          });
        }
      }

      await t.test('frames of streams that are not there are passed over', async () => {
        const id = await meet(victim, true);
        await hostile.evaluate((frames) => sendFrames(channel, frames), [...HARMLESS, '"still here"']);
        assert.equal(await victim.run('word', id), 'still here');
        await hostile.evaluate(() => channel.close());
      });

      assert.equal(await friend.run('echo', 'still there'), 'still there');
      assert.equal(await victim.run('state'), 'registered');
    });
  }
});
