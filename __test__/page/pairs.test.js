'use strict';
// Who can talk with whom: pages, Node.js, and a plain simple-peer in a page; and how they part.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { after, before, describe, test } = require('node:test');
const linkup = require('../../index.js');
const { launch, sideBySide } = require('./browser');
const { serve } = require('./server');

const median = (times) => times.sort((a, b) => a - b)[times.length >> 1];

sideBySide((name) => {
  describe(name, { timeout: 600_000 }, () => {
    let server;
    let browser;
    let count = 0;
    const peers = new Set();

    before(async () => {
      server = await serve();
      browser = await launch(name);
    });
    after(async () => {
      await Promise.allSettled([...peers].map((peer) => peer.close()));
      await browser.close();
      await server.close();
    });

    /** A tab with a registered peer `peer` that echoes, and its id. */
    async function tab(options = {}) {
      const id = options.id ?? `${name}-page-${++count}`;
      const page = await browser.page(`${server.url}/`);
      await page.evaluate(
        async (id, options) => {
          globalThis.peer = linkup.createPeer(id, { brokerUrl, ...options });
          peer.on('connection', (connection) => {
            globalThis.connection = connection;
            globalThis.parted = new Promise((resolve) => connection.on('close', resolve));
            connection.on('message', (message) => connection.send(['echo', message]));
          });
          await new Promise((resolve) => peer.on('register', resolve));
        },
        id,
        options,
      );
      return { page, id };
    }

    /** The same in Node.js. */
    async function nodePeer(options = {}) {
      const peer = linkup.createPeer(`${name}-node-${++count}`, { brokerUrl: server.broker.url, ...options });
      peers.add(peer);
      await once(peer, 'register');
      peer.on('connection', (connection) => {
        connection.on('message', (message) => connection.send(['echo', message]));
      });
      return peer;
    }

    /** In a page: connects to `id`, exchanges a message, closes; how long connecting took. */
    const callFromPage = async (id) => {
      const start = performance.now();
      const connection = await peer.connect(id);
      const took = performance.now() - start;
      const heard = new Promise((resolve) => connection.once('message', resolve));
      await connection.send({ hello: 'é' });
      const message = await heard;
      const stats = await connection.stats();
      await connection.close();
      return { took, message, stats };
    };

    test('page with page', async () => {
      const [one, two] = [await tab(), await tab()];
      const times = [];
      for (let i = 0; i < 5; i++) {
        const { took, message, stats } = await one.page.evaluate(callFromPage, two.id);
        assert.deepEqual(message, ['echo', { hello: 'é' }]);
        assert.equal(stats.path, 'direct');
        assert.deepEqual(await two.page.evaluate(() => parted), { code: null, reason: '' });
        times.push(took);
      }
      console.log(`${name}, page to page: ${median(times).toFixed(0)} ms to connect`);
      await Promise.all([one.page.close(), two.page.close()]);
    });

    test('a page calls Node.js', async () => {
      const [{ page }, node] = [await tab(), await nodePeer()];
      const times = [];
      for (let i = 0; i < 5; i++) {
        const incoming = once(node, 'connection');
        const { took, message, stats } = await page.evaluate(callFromPage, node.id);
        const [connection] = await incoming;
        if (connection.state !== 'closed') await once(connection, 'close');
        assert.deepEqual(message, ['echo', { hello: 'é' }]);
        assert.equal(stats.path, 'direct');
        times.push(took);
      }
      console.log(`${name}, page to Node.js: ${median(times).toFixed(0)} ms to connect`);
      await page.close();
    });

    test('Node.js calls a page', async () => {
      const [{ page, id }, node] = [await tab(), await nodePeer()];
      const times = [];
      for (let i = 0; i < 5; i++) {
        const start = performance.now();
        const connection = await node.connect(id);
        times.push(performance.now() - start);
        const heard = once(connection, 'message');
        await connection.send('x'.repeat(100_000));
        assert.equal((await heard)[0][1].length, 100_000);
        await connection.close();
        assert.deepEqual(await page.evaluate(() => parted), { code: null, reason: '' });
      }
      console.log(`${name}, Node.js to page: ${median(times).toFixed(0)} ms to connect`);
      await page.close();
    });

    test('a path that is not found at first is found by a second call, whoever notices', async () => {
      const node = await nodePeer();
      for (const nodeCalls of [false, true]) {
        const { page, id } = await tab();
        await page.evaluate(() => {
          globalThis.made = 0;
          const { RTCPeerConnection } = globalThis;
          const bent = (sdp) => sdp?.replace(/(a=ice-pwd:)..../g, '$1none');
          // The checks of the first one are answered by nobody. Its page does not have to wait for what comes of that.
          globalThis.RTCPeerConnection = class extends RTCPeerConnection {
            unlucky = ++made === 1;
            get localDescription() {
              const { type, sdp } = super.localDescription ?? {};
              return { type, sdp: this.unlucky ? bent(sdp) : sdp };
            }
            setRemoteDescription({ type, sdp }) {
              return super.setRemoteDescription({ type, sdp: this.unlucky ? bent(sdp) : sdp });
            }
            get iceConnectionState() {
              return this.unlucky && this.remoteDescription ? 'failed' : super.iceConnectionState;
            }
          };
        });
        if (nodeCalls) {
          const connection = await node.connect(id);
          const heard = once(connection, 'message');
          connection.send(1);
          assert.deepEqual(await heard, [['echo', 1]]);
          await connection.close();
        } else {
          const { message } = await page.evaluate(callFromPage, node.id);
          assert.deepEqual(message, ['echo', { hello: 'é' }]);
        }
        assert.equal(await page.evaluate(() => made), 2);
        await page.close();
      }
    });

    test('a page whose browser has no Ed25519 talks, and is nobody and knows nobody', async () => {
      const [{ page }, node] = [await tab(), await nodePeer()];
      const setUp = () => {
        for (const name of ['generateKey', 'importKey']) {
          const known = crypto.subtle[name].bind(crypto.subtle);
          crypto.subtle[name] = async (...args) => {
            if (args.includes('Ed25519')) throw new DOMException('no Ed25519', 'NotSupportedError');
            return known(...args);
          };
        }
        globalThis.peer.close();
        globalThis.peer = linkup.createPeer(`${peer.id}-old`, { brokerUrl });
        return new Promise((resolve) => peer.on('register', () => resolve(peer.id)));
      };
      const old = await page.evaluate(setUp);
      const incoming = once(node, 'connection');
      assert.deepEqual((await page.evaluate(callFromPage, node.id)).message, ['echo', { hello: 'é' }]);
      assert.equal((await incoming)[0].identity, null);
      const connection = await node.connect(old);
      assert.equal(connection.identity, null);
      await connection.close();
      // Where a key is known, nothing else will do.
      const code = await page.evaluate(
        (id, publicKey) => peer.connect(id, { publicKey }).catch(({ code }) => code),
        node.id,
        (await linkup.createIdentity()).publicKey,
      );
      assert.equal(code, 'ERR_IDENTITY_MISMATCH');
      await page.close();
    });

    test('a called page whose channel does not open speaks over one of its own', async () => {
      const { page, id } = await tab();
      await page.evaluate(() => {
        // What Chromium does one time in a thousand.
        const { set } = Object.getOwnPropertyDescriptor(RTCPeerConnection.prototype, 'ondatachannel');
        Object.defineProperty(RTCPeerConnection.prototype, 'ondatachannel', {
          set(listener) {
            set.call(this, (event) => {
              let state = 'open';
              Object.defineProperty(event.channel, 'readyState', { get: () => state });
              event.channel.send = () => {
                throw new DOMException('not open', 'InvalidStateError');
              };
              listener(event);
              state = 'connecting';
            });
          },
        });
      });
      const node = await nodePeer();
      const caller = await tab();
      const fromNode = await node.connect(id);
      for (const message of ['first', 'x'.repeat(1_000_000)]) {
        const heard = once(fromNode, 'message');
        await fromNode.send(message, { ack: true });
        assert.deepEqual(await heard, [['echo', message]]);
      }
      await fromNode.close();
      assert.deepEqual(await page.evaluate(() => parted), { code: null, reason: '' });
      const { message } = await caller.page.evaluate(callFromPage, id);
      assert.deepEqual(message, ['echo', { hello: 'é' }]);
      assert.deepEqual(await page.evaluate(() => parted), { code: null, reason: '' });
      await Promise.all([page.close(), caller.page.close()]);
    });

    test('what is sent just before a close arrives, both ways', async () => {
      const [{ page, id }, node] = [await tab(), await nodePeer()];
      await page.evaluate(() => {
        globalThis.heard = [];
        peer.on('message', ({ message }) => heard.push(message));
        peer.removeAllListeners('connection');
      });
      node.removeAllListeners('connection');
      const heard = [];
      node.on('message', ({ message }) => heard.push(message));
      for (let i = 0; i < 5; i++) {
        node.send(id, i);
        await node.disconnect(id);
        await page.evaluate(
          (id, i) => {
            peer.send(id, i);
            return peer.disconnect(id);
          },
          node.id,
          i,
        );
      }
      assert.deepEqual(await page.evaluate(() => heard), [0, 1, 2, 3, 4]);
      assert.deepEqual(heard, [0, 1, 2, 3, 4]);
      await page.close();
    });

    test('100 MB each way between a page and Node.js', async () => {
      const [{ page }, node] = [await tab(), await nodePeer()];
      const COUNT = 1600;
      const text = 'x'.repeat(65_536);
      node.removeAllListeners('connection');
      let received = 0;
      const all = new Promise((resolve) => {
        node.on('message', () => ++received === COUNT && resolve());
      });
      const up = await page.evaluate(
        async (id, text, count) => {
          const start = performance.now();
          for (let i = 0; i < count; i++) await peer.send(id, text);
          return performance.now() - start;
        },
        node.id,
        text,
        COUNT,
      );
      await all;
      // It listens before the first message leaves.
      await page.evaluate((count) => {
        globalThis.down = new Promise((resolve) => {
          let [n, start] = [0, 0];
          peer.on('message', () => {
            if (n++ === 0) start = performance.now();
            if (n === count) resolve(performance.now() - start);
          });
        });
      }, COUNT);
      const [id] = node.connections.keys();
      for (let i = 0; i < COUNT; i++) await node.send(id, text);
      const rate = (ms) => ((COUNT * text.length) / 1e6 / (ms / 1000)).toFixed(0);
      console.log(`${name}: ${rate(up)} MB/s to Node.js, ${rate(await page.evaluate(() => down))} MB/s from it`);
      await page.close();
    });

    for (const [who, make] of [
      ['a linkup page', () => tab()],
      ['Node.js', () => nodePeer()],
    ]) {
      test(`a plain simple-peer in a page talks with ${who}, whoever calls`, async () => {
        const other = await make();
        const plain = await browser.page(`${server.url}/?script=__test__/page/simple-page.js`);
        const id = `${name}-plain-${++count}`;
        const echo = await plain.evaluate(
          async (id, to) => {
            globalThis.client = await plainClient(brokerUrl, id);
            const simple = await client.call(to);
            simple.send(JSON.stringify({ from: 'simple-peer' }));
            const echo = await new Promise((resolve) => simple.once('data', (data) => resolve(JSON.parse(data))));
            simple.destroy();
            return echo;
          },
          id,
          other.id,
        );
        assert.deepEqual(echo, ['echo', { from: 'simple-peer' }]);

        // A second client, since a simple-peer is used once.
        const called = await plain.evaluate(async (id) => {
          globalThis.second = await plainClient(brokerUrl, id);
          second.called.then((simple) => simple.on('data', (data) => simple.send(new TextDecoder().decode(data))));
          return id;
        }, `${id}-called`);
        const call = async (peer, id) => {
          const connection = await peer.connect(id);
          const heard = new Promise((resolve) => connection.once('message', resolve));
          await connection.send('there and back');
          const message = await heard;
          await connection.close();
          return message;
        };
        const message =
          other.page === undefined
            ? await call(other, called)
            : await other.page.evaluate(`(${call})(peer, ${JSON.stringify(called)})`);
        assert.equal(message, 'there and back');
        await plain.close();
        await other.page?.close();
      });
    }

    test('a reload takes the id over at once; a tab that is opened by the page does not', async () => {
      const { page, id } = await tab();
      const node = await nodePeer();
      await page.reload();
      const took = await page.evaluate(async (id) => {
        const start = performance.now();
        globalThis.peer = linkup.createPeer(id, { brokerUrl });
        peer.on('error', () => {});
        await new Promise((resolve) => peer.on('register', resolve));
        return performance.now() - start;
      }, id);
      console.log(`${name}, reload: registered again after ${took.toFixed(0)} ms`);
      assert.ok(took < 1000, `${took} ms`);
      assert.equal(await node.find(id), true);
      const code = await page.evaluate(async (id) => {
        const frame = globalThis.open('/');
        await new Promise((resolve) => frame.addEventListener('load', resolve));
        const stranger = frame.linkup.createPeer(id, { brokerUrl });
        const { code } = await new Promise((resolve) => stranger.on('error', resolve));
        await stranger.close();
        frame.close();
        return code;
      }, id);
      assert.equal(code, 'ERR_ID_TAKEN');
      await page.close();
    });

    test('a page that is closed is gone at once, for Node.js and for a page', async () => {
      const [leaver, watcher] = [await tab(), await tab()];
      const node = await nodePeer();
      const connection = await node.connect(leaver.id);
      await watcher.page.evaluate(async (id) => {
        const connection = await peer.connect(id);
        globalThis.ended = new Promise((resolve) => connection.on('close', () => resolve(performance.now())));
      }, leaver.id);
      const closed = once(connection, 'close');
      const start = performance.now();
      await leaver.page.close();
      const [{ code }] = await closed;
      const here = performance.now() - start;
      await watcher.page.evaluate(() => ended);
      const there = performance.now() - start;
      console.log(
        `${name}, tab closed: Node.js hears it after ${here.toFixed(0)} ms (${code}), a page after ${there.toFixed(0)} ms`,
      );
      assert.ok(here < 2000 && there < 2000);
      await watcher.page.close();
    });

    test('500 connections leave nothing behind', async () => {
      const { page } = await tab();
      const node = await nodePeer();
      const left = await page.evaluate(async (id) => {
        const made = [];
        const Real = RTCPeerConnection;
        globalThis.RTCPeerConnection = class extends Real {
          constructor(config) {
            super(config);
            made.push(new WeakRef(this));
          }
        };
        for (let i = 0; i < 500; i++) {
          await peer.connect(id);
          await peer.disconnect(id);
        }
        // For those that linger.
        const open = () => made.map((ref) => ref.deref()).filter((pc) => pc && pc.signalingState !== 'closed');
        const until = performance.now() + 5000;
        while (open().length > 0 && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, 50));
        return { made: made.length, open: open().length, connections: peer.connections.size };
      }, node.id);
      assert.deepEqual(left, { made: 500, open: 0, connections: 0 });
      if (name === 'chromium') {
        const session = await page.createCDPSession();
        await session.send('HeapProfiler.collectGarbage');
        const { result } = await session.send('Runtime.evaluate', { expression: 'RTCPeerConnection.prototype' });
        const proto = await session.send('Runtime.evaluate', {
          expression: 'Object.getPrototypeOf(RTCPeerConnection.prototype)',
        });
        const { objects } = await session.send('Runtime.queryObjects', { prototypeObjectId: proto.result.objectId });
        const { result: size } = await session.send('Runtime.callFunctionOn', {
          objectId: objects.objectId,
          functionDeclaration: 'function () { return this.length }',
        });
        // The prototype of our subclass is one such object.
        assert.ok(result.objectId && size.value <= 2, `${size.value} RTCPeerConnection objects`);
      }
      await page.close();
    });
  });
});
