'use strict';
// The examples for pages: the specification's page the module with Vite, the React hook.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const path = require('node:path');
const { before, test } = require('node:test');
const vm = require('node:vm');
const { createBroker, createPeer } = require('../../index.js');
const { buildPage } = require('../../scripts/build-page');
const { installed, launch } = require('./browser');

const root = path.join(__dirname, '../..');

before(buildPage);

for (const name of installed()) {
  test(`the specification’s page, in ${name}`, async () => {
    const broker = await createBroker({ port: 0, host: 'localhost', files: root }).ready;
    const peer2 = createPeer('peer2', { brokerUrl: broker.url });
    await once(peer2, 'register');
    const browser = await launch(name);
    try {
      const heard = once(peer2, 'message');
      await browser.page(`${broker.url.replace('ws:', 'http:')}/examples/page/`);
      assert.deepEqual(await heard, [{ from: 'peer1', message: 'hi peer2!' }]);
    } finally {
      await peer2.close();
      await browser.close();
      await broker.close();
    }
  });
}

test('the module with Vite', async () => {
  const { build } = await import('vite');
  const made = await build({ root: path.join(root, 'examples/vite'), logLevel: 'error', build: { write: false } });
  const { code } = [made].flat()[0].output.find(({ type }) => type === 'chunk');
  assert.match(code, /RTCPeerConnection/);
  assert.doesNotMatch(code, /binding\.js/);
});

test('the React hook', async () => {
  const { build } = require('esbuild');
  const { outputFiles } = await build({
    entryPoints: [path.join(root, 'examples/react/useLinkup.js')],
    bundle: true,
    write: false,
    format: 'cjs',
    external: ['react', 'linkup'],
  });
  const broker = await createBroker({ port: 0, host: 'localhost' }).ready;
  const peer = createPeer('plain', { brokerUrl: broker.url });

  // What React does, for one component.
  const state = [];
  const effects = [];
  let changed = () => {};
  const react = {
    useRef: (current) => ({ current }),
    useState(first) {
      const at = state.push(first) - 1;
      const set = (value) => {
        state[at] = typeof value === 'function' ? value(state[at]) : value;
        changed();
      };
      return [first, set];
    },
    useEffect: (effect) => effects.push(effect),
  };
  const module = { exports: {} };
  const modules = { react, linkup: require('../../index.js') };
  vm.compileFunction(outputFiles[0].text, ['module', 'require'])(module, (name) => modules[name]);
  const until = (check) =>
    new Promise((resolve) => {
      changed = () => check() && resolve();
      changed();
    });

  const { send } = module.exports.useLinkup('hook', { brokerUrl: broker.url });
  const stop = effects[0]();
  await until(() => state[0] === 'registered');
  const heard = once(peer, 'message');
  await send('plain', 'hello');
  assert.deepEqual(await heard, [{ from: 'hook', message: 'hello' }]);
  await peer.send('hook', 'hello yourself');
  await until(() => state[1].length === 1);
  assert.deepEqual(state[1], [{ from: 'plain', message: 'hello yourself' }]);
  stop();
  await peer.close();
  await broker.close();
});
