'use strict';
// index.d.ts and the code name the same things: names are collected from the code, and the TypeScript compiler says
// whether they are exactly those of the types.

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');
const linkup = require('../../index.js');
const { ownOptions } = require('../../js/engine-page').engine;
const broker = require('../../js/broker-options');
const { NAMES, readOptions } = require('../../js/options');
const { streamPair } = require('../../js/page/stream');
const { streamDuplex } = require('../../js/stream-native');
const { buildTest } = require('../../scripts/build-test');

const root = path.join(__dirname, '../..');
const read = (file) => fs.readFileSync(path.join(root, file), 'utf8');

/** The public names of a class, inherited ones included. */
function members({ prototype }) {
  const names = new Set();
  for (let object = prototype; object !== Object.prototype; object = Object.getPrototypeOf(object)) {
    for (const name of Object.getOwnPropertyNames(object)) names.add(name);
  }
  names.delete('constructor');
  return [...names];
}

/** The events that files of js/ emit through `who`. */
function events(who, ...files) {
  return files.flatMap((file) => [...read(`js/${file}`).matchAll(who)].map((match) => match[1]));
}

const settings = readOptions('id', { brokerUrl: 'ws://localhost' }, {}).engine;
const error = new linkup.LinkupError('ERR_DENIED', '', { peerId: 'p', details: {} });
const stream = { name: '', meta: 1, connection: {} };
const OWN = ['name', 'meta', 'connection'];
const PEER = /\bpeer\.emit\('(\w+)'/g;
const CONNECTION = /\bconnection\.emit\('(\w+)'/g;

// Types of index.d.ts, and what the code says they are.
const SAME = {
  'keyof typeof linkup': Object.keys(linkup),
  'Exclude<keyof linkup.Peer, symbol>': members(linkup.Peer),
  'Exclude<keyof linkup.Connection, symbol>': members(linkup.Connection),
  'keyof linkup.Broker': members(linkup.Broker),
  'Exclude<keyof linkup.LinkupError, keyof Error>': Object.keys(error),
  'linkup.ErrorCode': [...read('crates/proto/src/error.rs').matchAll(/"(ERR_\w+)"/g)].map((match) => match[1]),
  'keyof linkup.PeerEvents': events(PEER, 'peer-core.js', 'roster.js', 'link.js'),
  'keyof linkup.ConnectionEvents': events(CONNECTION, 'peer-core.js', 'roster.js', 'link.js', 'streams.js'),
  'keyof linkup.StreamInfo': OWN.filter((name) => name in Object.getPrototypeOf(streamDuplex(stream)[0])),
  'Exclude<keyof linkup.StreamPair, keyof linkup.Peer>': Object.keys(streamPair(stream)[0]),
  'keyof linkup.StreamEvents': ['stream.js', 'page/stream.js'].flatMap((file) =>
    events(/\b(?:object|pair)\.emit\('(\w+)'/g, file),
  ),
  'keyof linkup.BrokerOptions': broker.NAMES,
  'keyof linkup.BrokerLimits': broker.LIMITS,
  'keyof linkup.BrokerAuth': broker.AUTH,
  "keyof NonNullable<linkup.BrokerOptions['timeouts']>": Object.keys(broker.TIMEOUTS),
  'keyof linkup.BrokerEvents': events(/\bthis\.emit\('(\w+)'/g, 'broker-native.js'),
  'keyof linkup.PeerOptions': [...NAMES, ...ownOptions],
  "keyof NonNullable<linkup.PeerOptions['timeouts']>": Object.keys(settings.timeouts),
  "keyof NonNullable<linkup.PeerOptions['limits']>": Object.keys(settings.limits),
};

/** The same of what linkup/test makes. */
async function sameOfTest() {
  await buildTest();
  const net = require('linkup/test').createNetwork();
  const all = (object) => [...members(object.constructor), ...Object.keys(object)];
  return {
    'keyof kit.Network': all(net),
    'keyof kit.TestBroker': all(net.broker),
    "keyof kit.Network['linkup']": Object.keys(net.linkup),
    "keyof kit.Network['timers']": Object.keys(net.timers),
  };
}

test('the types and the code name the same things', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-types-'));
  try {
    const lines = [
      "import * as linkup from 'linkup';",
      "import * as kit from 'linkup/test';",
      'type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : { onlyInCode: Exclude<B, A> }) : { onlyInTypes: Exclude<A, B> };',
    ];
    for (const [type, names] of Object.entries({ ...SAME, ...(await sameOfTest()) })) {
      assert.ok(names.length > 0, `nothing found in the code for ${type}`);
      const union = [...new Set(names)].map((name) => JSON.stringify(name)).join(' | ');
      lines.push(`{ const same: Same<${type}, ${union}> = true; void same; } // ${type}`);
    }
    fs.writeFileSync(path.join(folder, 'names.ts'), lines.join('\n'));
    const compilerOptions = {
      typeRoots: [path.join(root, 'node_modules/@types')],
      paths: { linkup: [path.join(root, 'index.d.ts')], 'linkup/test': [path.join(root, 'test.d.ts')] },
    };
    const config = { extends: path.join(__dirname, 'tsconfig.json'), compilerOptions, include: ['*.ts'] };
    fs.writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify(config));
    const tsc = path.join(root, 'node_modules/@typescript/native/bin/tsc');
    const { status, stdout, stderr } = spawnSync(process.execPath, [tsc, '-p', folder], { encoding: 'utf8' });
    assert.equal(status, 0, `${stdout}${stderr}`);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
});

test('both entries have the same names', async () => {
  const { default: all, ...named } = await import('../../index.mjs');
  assert.equal(all, linkup);
  assert.deepEqual({ ...named }, { ...linkup });
});
