'use strict';
// The largest message, to the byte: what a page and a Node.js peer announce in their descriptions is what they take, and
// what a plain client announces is what it gets. The plain client is simple-peer in a page.

const assert = require('node:assert/strict');
const { after, before, describe, test } = require('node:test');
const linkup = require('../../index.js');
const { launch, sideBySide } = require('./browser');
const { serve } = require('./server');

const MAX = 256 * 1024;

/** What a plain client says, and what it gets then: RFC 8841, section 6, and at most what all implementations carry. */
const ANNOUNCED = [
  { line: null, takes: MAX },
  { line: 'a=max-message-size:70001\r\n', takes: 70_001 },
  { line: '', takes: 64 * 1024 },
  { line: 'a=max-message-size:0\r\n', takes: MAX },
];

sideBySide((name) => {
  describe(name, { timeout: 120_000 }, () => {
    let server;
    let browser;
    let page;
    let plain;
    let count = 0;

    /** Registers a peer that remembers what it hears. */
    const start = async (linkup, brokerUrl, id, options) => {
      const peer = linkup.createPeer(id, { brokerUrl, ...options });
      await new Promise((resolve) => peer.on('register', resolve));
      peer.heard = [];
      peer.on('message', ({ message }) => peer.heard.push(message));
      return peer;
    };

    /** A peer's `run(work, ...data)` calls `work(peer, ...data)` where the peer is. */
    const PEERS = {
      'a page': async (options = {}) => {
        const id = `${name}-${++count}`;
        const args = `${JSON.stringify(id)}, ${JSON.stringify(options)}`;
        await page.evaluate(`(${start})(linkup, brokerUrl, ${args}).then((peer) => { globalThis.peer = peer; })`);
        const run = (work, ...data) => page.evaluate(`(${work})(peer, ...${JSON.stringify(data)})`);
        return { id, run };
      },
      'Node.js': async (options) => {
        const id = `${name}-${++count}`;
        const peer = await start(linkup, server.broker.url, id, options);
        return { id, run: (work, ...data) => work(peer, ...data) };
      },
    };

    before(async () => {
      server = await serve();
      browser = await launch(name);
      page = await browser.page(`${server.url}/`);
      plain = await browser.page(`${server.url}/?script=__test__/page/simple-page.js`);
    });
    after(async () => {
      await browser.close();
      await server.close();
    });

    /** Connects it with the plain client, then `globalThis.simple`, which announces `line`; `null`: what its browser does. */
    const connect = async (peer, calls, line) => {
      const id = `${name}-plain-${++count}`;
      await plain.evaluate(
        async (id, line) => {
          const says = (sdp) => (line === null ? sdp : sdp.replace(/a=max-message-size:.*\r\n/, line));
          globalThis.client = await plainClient(brokerUrl, id, says);
        },
        id,
        line,
      );
      if (calls) await peer.run(async (peer, id) => void (await peer.connect(id)), id);
      await plain.evaluate(
        async (id) => {
          globalThis.simple = await (id === null ? client.called : client.call(id));
          globalThis.heard = [];
          simple.on('data', (data) => heard.push(new TextDecoder().decode(data)));
        },
        calls ? null : peer.id,
      );
      return id;
    };

    for (const [who, make] of Object.entries(PEERS)) {
      for (const calls of [true, false]) {
        const does = calls ? 'calls' : 'is called';

        test(`${who} that ${does} takes what it announces`, async () => {
          const peer = await make();
          await connect(peer, calls, null);
          const said = await plain.evaluate((max) => {
            const refused = (text) => {
              try {
                simple.send(text);
                return null;
              } catch (error) {
                return error.name;
              }
            };
            return {
              lines: simple.heardSdp.match(/a=max-message-size:.*/g),
              limit: simple._pc.sctp.maxMessageSize,
              // Bytes are counted, not characters.
              exact: refused(JSON.stringify('é'.repeat((max - 2) / 2))),
              more: refused(JSON.stringify('x'.repeat(max - 1))),
              after: refused('"after"'),
            };
          }, MAX);
          assert.deepEqual(said, {
            lines: [`a=max-message-size:${MAX}`],
            limit: MAX,
            exact: null,
            more: 'TypeError',
            after: null,
          });
          const heard = await peer.run(async (peer) => {
            while (peer.heard.length < 2) await new Promise((resolve) => peer.once('message', resolve));
            return [/^é*$/.test(peer.heard[0]), peer.heard[0].length, peer.heard[1]];
          });
          assert.deepEqual(heard, [true, (MAX - 2) / 2, 'after']);
          await peer.run((peer) => peer.close());
        });

        test(`${who} that ${does} sends what a plain client announces, and no byte more`, async () => {
          const peer = await make();
          for (const { line, takes } of ANNOUNCED) {
            const id = await connect(peer, calls, line);
            const codes = await peer.run(
              async (peer, id, takes) => {
                const codes = [];
                for (const text of ['x'.repeat(takes - 2), 'x'.repeat(takes - 1), 'after']) {
                  codes.push(await peer.send(id, text).catch(({ code }) => code));
                }
                // As JSON has it.
                return codes.map((code) => code ?? null);
              },
              id,
              takes,
            );
            assert.deepEqual(codes, [null, 'ERR_MESSAGE_TOO_LARGE', null], String(line));
            const sizes = await plain.evaluate(async () => {
              while (heard.length < 2) await new Promise((resolve) => simple.once('data', resolve));
              return heard.map((text) => text.length);
            });
            assert.deepEqual(sizes, [takes, '"after"'.length], String(line));
          }
          await peer.run((peer) => peer.close());
        });
      }
    }

    test('a page with a smaller limit announces that', async () => {
      const peer = await PEERS['a page']({ limits: { messageBytes: 2001 } });
      for (const calls of [true, false]) {
        await connect(peer, calls, null);
        const said = await plain.evaluate(() => {
          simple.send(JSON.stringify('x'.repeat(999)));
          return [simple.heardSdp.match(/a=max-message-size:.*/g), simple._pc.sctp.maxMessageSize];
        });
        assert.deepEqual(said, [['a=max-message-size:2001'], 2001]);
        const size = await peer.run(async (peer) => {
          while (peer.heard.length < 1) await new Promise((resolve) => peer.once('message', resolve));
          return peer.heard.pop().length;
        });
        assert.equal(size, 999);
      }
      await peer.run((peer) => peer.close());
    });
  });
});
