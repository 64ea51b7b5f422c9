'use strict';
// linkup as React Native has it: the module for pages in a scope with the globals that examples/react-native/README.md names
// and no others, with wrtc in the place of react-native-webrtc: both are libwebrtc behind another door. The example itself is
// in ../page/examples.test.js.

const assert = require('node:assert/strict');
const { after, afterEach, before, test } = require('node:test');
const vm = require('node:vm');
const wrtc = require('@roamhq/wrtc');
const WebSocket = require('ws');
const esbuild = require('esbuild');
const { asModules } = require('../../scripts/as-modules');
const { linkup, root, startBroker, within } = require('../node/helpers');

/** React Native 0.85 has these, and no window, document, location, sessionStorage, crypto, MessageChannel or streams. */
const { setTimeout, clearTimeout, setInterval, clearInterval, queueMicrotask, performance, URL } = globalThis;
const TIMERS = { setTimeout, clearTimeout, setInterval, clearInterval, queueMicrotask };
const TEXTS = { TextEncoder, TextDecoder, atob, btoa };
const GLOBALS = { ...TIMERS, ...TEXTS, console, performance, URL, WebSocket };

let broker;
let code;
const open = new Set();
const uncaught = [];
before(async () => {
  const stdin = { contents: "import linkup from './js/page.mjs'; globalThis.linkup = linkup;", resolveDir: root };
  const built = await esbuild.build({ stdin, bundle: true, write: false, plugins: [asModules] });
  code = built.outputFiles[0].text;
  broker = await startBroker();
  for (const name of ['uncaughtException', 'unhandledRejection']) process.on(name, (error) => uncaught.push(error));
});
afterEach(async () => {
  await Promise.all([...open].map((peer) => peer.close()));
  open.clear();
  assert.deepEqual(uncaught, []);
});
after(async () => {
  await broker.close();
  // wrtc keeps threads that hold the process.
  setImmediate(() => process.exit());
});

/** react-native-webrtc has no `sctp`; what wrtc has there throws. */
function RTCPeerConnection(configuration) {
  return new Proxy(new wrtc.RTCPeerConnection(configuration), {
    get(target, name) {
      const value = name === 'sctp' ? undefined : target[name];
      return typeof value === 'function' ? value.bind(target) : value;
    },
    set: (target, name, value) => Reflect.set(target, name, value),
  });
}

/** `linkup` of a phone, in a scope of its own. */
function phoneWith(more = {}) {
  const scope = vm.createContext({ ...GLOBALS, ...more });
  vm.runInContext(code, scope);
  return scope.linkup;
}

/** A peer on the phone and one in Node.js, connected: both ends of the connection. */
async function connected(api, options) {
  const phone = api.createPeer('phone', { brokerUrl: broker.url, RTCPeerConnection, ...options });
  const desk = linkup.createPeer('desk', { brokerUrl: broker.url });
  for (const peer of [phone, desk]) {
    open.add(peer);
    peer.on('error', (error) => uncaught.push(error));
  }
  const called = new Promise((resolve) => desk.once('connection', resolve));
  const there = await within(phone.connect('desk'), 20_000, 'a connection');
  return { phone, desk, there, here: await called };
}

const next = (emitter, name) => within(new Promise((resolve) => emitter.once(name, resolve)), 15_000, name);

/** What of `sent` comes from the one to the other. */
async function come(from, to, sent) {
  const got = [];
  const all = new Promise((resolve) => to.on('message', (message) => got.push(message) === sent.length && resolve()));
  for (const message of sent) await from.send(message);
  await within(all, 20_000, `${sent.length} messages`);
  return got;
}

test('messages go both ways, small and large, text and bytes', async () => {
  const { here, there } = await connected(phoneWith());
  const sent = ['héllo', null, { list: [1, '𝄞'] }, ...Array(100).fill({ n: 1 })];
  const large = 'x'.repeat(1_000_000);
  // What comes is of another scope.
  assert.deepEqual(structuredClone(await come(here, there, [...sent, large])), [...sent, large]);
  // In this direction what a browser takes at once: wrtc does not say that it takes more, as react-native-webrtc does.
  assert.deepEqual(await come(there, here, [...sent, 'x'.repeat(100_000)]), [...sent, 'x'.repeat(100_000)]);
  for (const [from, to] of [
    [here, there],
    [there, here],
  ]) {
    const [bytes] = await come(from, to, [new Uint8Array([1, 2, 3])]);
    assert.deepEqual([...bytes], [1, 2, 3]);
  }
  await within(there.send('there it is', { ack: true }), 15_000, 'an acknowledgement');
});

test('without WebCrypto nobody has a key, and whoever wants one is refused', async () => {
  const api = phoneWith();
  const { desk, here, there } = await connected(api);
  assert.equal(here.identity, null);
  assert.equal(there.identity, null);
  await assert.rejects(api.createIdentity());
  const { publicKey } = await linkup.createIdentity();
  await assert.rejects(desk.connect('phone', { publicKey }), { code: 'ERR_IDENTITY_MISMATCH' });
});

test('with WebCrypto it has a key, also one that Node.js has made', async () => {
  const identity = await linkup.createIdentity();
  const { here, there } = await connected(phoneWith({ crypto: globalThis.crypto }), { identity });
  assert.equal(here.identity.publicKey, identity.publicKey);
  assert.equal(there.identity.publicKey.length, 43);
});

test('without the platform’s streams those of others are refused, and the connection goes on', async () => {
  const { here, there } = await connected(phoneWith());
  there.on('stream', (stream) => uncaught.push(stream));
  const stream = here.createStream('file');
  const { code, message } = await next(stream, 'error');
  assert.deepEqual({ code, message }, { code: 'ERR_ABORTED', message: 'no streams here' });
  assert.throws(() => there.createStream('file'), { code: 'ERR_UNSUPPORTED', message: 'no streams here' });
  assert.deepEqual(await come(here, there, ['still here']), ['still here']);
});

test('with streams it takes and makes them', async () => {
  const { here, there } = await connected(phoneWith({ ReadableStream, WritableStream }));
  there.on('stream', (stream) => stream.readable.pipeTo(stream.writable));
  const stream = here.createStream('echo');
  stream.end('and back');
  const chunks = await within(stream.toArray(), 15_000, 'the end');
  assert.equal(Buffer.concat(chunks).toString(), 'and back');
});
