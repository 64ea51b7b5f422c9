'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { isPair } = require('../../js/identity-native');
const { readOptions } = require('../../js/options');

const warnings = [];
const host = {
  isPair,
  warn: (message) => warnings.push(message),
  defaultBroker: () => ({ url: 'ws://localhost:5000', embedded: true }),
};
const read = (options, id = 'me') => readOptions(id, options, host);
const bad = (options, start) => {
  assert.throws(
    () => read(options),
    (error) => error instanceof TypeError && error.message.startsWith(start),
    start,
  );
};

test('the defaults', () => {
  assert.deepEqual(JSON.parse(JSON.stringify(read().engine)), {
    id: 'me',
    brokers: ['ws://localhost:5000'],
    embedded: true,
    verifies: false,
    asks: false,
    transforms: false,
    trickle: true,
    iceCompleteTimeout: 5000,
    iceTransportPolicy: 'all',
    timeouts: { connect: 15000, idle: 10000, close: 5000, broker: 10000, resume: 30000 },
    limits: { messageBytes: 67108864, bufferedBytes: 67108864, highWaterMark: 1048576, connections: 10000 },
  });
  assert.deepEqual(read({ token: undefined, limits: undefined, brokerUrl: undefined }), read());
});

test('an id is any non-empty string of at most 256 bytes of UTF-8', () => {
  for (const id of ['a', ' ', 'é'.repeat(128), '😀'.repeat(64), '\0', '/../?', '__proto__']) {
    assert.equal(read({}, id).engine.id, id);
  }
  for (const id of [
    undefined,
    null,
    1,
    {},
    '',
    'a'.repeat(257),
    'é'.repeat(129),
    '😀'.repeat(65),
    '\ud800',
    'a\udc00',
  ]) {
    assert.throws(() => readOptions(id, {}, host), { name: 'TypeError', message: /^id: / });
  }
});

test('options must be an object of known names', () => {
  for (const options of [null, 1, 'ws://localhost:5000', [], () => {}]) bad(options, 'options: ');
  bad({ brokerURL: 'ws://localhost' }, 'options.brokerURL: unknown option; did you mean brokerUrl?');
  bad({ zzz: undefined }, 'options.zzz: unknown option');
});

test('brokerUrl and browserUrl are one option', () => {
  const one = 'ws://localhost:1';
  const two = 'wss://example.org/x';
  for (const name of ['brokerUrl', 'browserUrl']) {
    assert.deepEqual(read({ [name]: one }).engine.brokers, [one]);
    assert.deepEqual(read({ [name]: [one, two] }).engine.brokers, [one, two]);
    for (const url of [1, null, '', [], [1], 'localhost:5000', 'http://localhost', 'no url', [one, 'https://x']]) {
      bad({ [name]: url }, `options.${name}: `);
    }
  }
  assert.deepEqual(read({ brokerUrl: one, browserUrl: one }).engine.brokers, [one]);
  assert.deepEqual(read({ brokerUrl: one, browserUrl: [one] }).engine.brokers, [one]);
  bad({ brokerUrl: one, browserUrl: two }, 'options.browserUrl: ');
  assert.equal(read({ brokerUrl: one }).engine.embedded, false);
});

test('a bad default names its source', () => {
  const env = { ...host, defaultBroker: () => ({ url: 'nonsense', embedded: false, name: 'LINKUP_BROKER_URL' }) };
  assert.throws(() => readOptions('a', {}, env), { name: 'TypeError', message: /^LINKUP_BROKER_URL: / });
});

test('iceServers are a list or a function', () => {
  const servers = [{ urls: 'stun:a' }, { urls: ['turn:b', 'turns:c'], username: 'u', credential: 'c' }];
  const plain = [{ urls: ['stun:a'] }, { urls: ['turn:b', 'turns:c'], username: 'u', credential: 'c' }];
  const json = (value) => JSON.parse(JSON.stringify(value));
  assert.deepEqual(json(read({ iceServers: servers }).engine.iceServers), plain);
  assert.deepEqual(json(read({ simplePeer: { config: { iceServers: servers } } }).engine.iceServers), plain);
  assert.deepEqual(read({ iceServers: [], simplePeer: { config: { iceServers: servers } } }).engine.iceServers, []);
  const fetch = () => servers;
  assert.equal(read({ iceServers: fetch }).iceServers, fetch);
  for (const value of [null, {}, 'stun:a']) bad({ iceServers: value }, 'options.iceServers: ');
  for (const value of [{}, null, { urls: 'http://a' }, { urls: [] }]) {
    bad({ iceServers: [{ urls: 'stun:a' }, value] }, 'options.iceServers[1].urls: ');
  }
  bad({ iceServers: [{ urls: 'turn:a', username: 1 }] }, 'options.iceServers[0].username: ');
  for (const server of [{}, { username: 'u' }, { credential: 'c' }, { username: '', credential: 'c' }])
    bad({ iceServers: [{ urls: ['stun:a', 'turns:b'], ...server }] }, 'options.iceServers[0]: ');
  bad({ simplePeer: { config: { iceServers: 1 } } }, 'options.simplePeer.config.iceServers: ');
});

test('iceTransportPolicy', () => {
  assert.equal(read({ iceTransportPolicy: 'relay' }).engine.iceTransportPolicy, 'relay');
  const config = { iceTransportPolicy: 'relay' };
  assert.equal(read({ simplePeer: { config } }).engine.iceTransportPolicy, 'relay');
  assert.equal(read({ simplePeer: { config }, iceTransportPolicy: 'all' }).engine.iceTransportPolicy, 'all');
  bad({ iceTransportPolicy: 'none' }, 'options.iceTransportPolicy: ');
  bad({ simplePeer: { config: { iceTransportPolicy: 1 } } }, 'options.simplePeer.config.iceTransportPolicy: ');
});

test('accept, token', () => {
  const accept = () => true;
  assert.equal(read({ accept }).accept, accept);
  assert.equal(read({ accept }).engine.asks, true);
  bad({ accept: true }, 'options.accept: ');
  assert.equal(read({ token: 't' }).engine.token, 't');
  bad({ token: 1 }, 'options.token: ');
  bad({ token: '\ud800' }, 'options.token: ');
});

const KEYS = {
  publicKey: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo',
  privateKey: 'nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A',
};

test('identity: a key pair, a judge of logins, the keys of others', () => {
  const { engine } = read({ identity: KEYS });
  assert.deepEqual([engine.publicKey, engine.privateKey, engine.verifies], [...Object.values(KEYS), false]);
  const other = '3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08';
  for (const identity of [
    5,
    null,
    { key: 1 },
    { publicKey: KEYS.publicKey },
    { privateKey: KEYS.privateKey },
    { ...KEYS, publicKey: other },
    { ...KEYS, publicKey: `${KEYS.publicKey.slice(0, -1)}p` },
    { ...KEYS, publicKey: `${KEYS.publicKey}=` },
    { ...KEYS, privateKey: 'short' },
    { ...KEYS, privateKey: {} },
    { known: [] },
    { known: { get() {} } },
    { oidc: 5 },
  ]) {
    bad({ identity }, 'options.identity');
  }
  const oidc = { verify() {} };
  assert.deepEqual([read({ identity: { oidc } }).oidc, read({ identity: { oidc } }).engine.verifies], [oidc, true]);
  const known = new Map();
  assert.equal(read({ identity: { known } }).known, known);
  assert.equal(read({ identity: { known } }).engine.asks, true);
});

test('an id that is a key needs that key', () => {
  const id = `key:${KEYS.publicKey}`;
  assert.equal(read({ identity: KEYS }, id).engine.id, id);
  assert.throws(() => read({}, id), { name: 'TypeError', message: /^id: / });
  for (const plain of ['key:', 'key:alice', `Key:${KEYS.publicKey}`, `${id}x`])
    assert.equal(read({}, plain).engine.id, plain);
});

test('metadata is JSON of at most 16 KiB', () => {
  for (const metadata of [null, 0, '', [1], { a: { b: 'é' } }]) {
    assert.deepEqual(read({ metadata }).engine.metadata, metadata);
  }
  assert.equal(read({ metadata: new Date(0) }).engine.metadata, '1970-01-01T00:00:00.000Z');
  assert.ok(read({ metadata: 'a'.repeat(16 * 1024 - 2) }));
  const cycle = {};
  cycle.cycle = cycle;
  const tooLong = 'a'.repeat(16 * 1024 - 1);
  for (const metadata of [() => {}, Symbol('s'), 1n, cycle, '\ud800', { '\udfff': 1 }, ['x\udc00'], tooLong]) {
    bad({ metadata }, 'options.metadata: ');
  }
});

test('timeouts and limits are positive whole numbers', () => {
  const { timeouts, limits } = read({ timeouts: { idle: 1, close: undefined }, limits: { connections: 1 } }).engine;
  assert.deepEqual(timeouts, { connect: 15000, idle: 1, close: 5000, broker: 10000, resume: 30000 });
  assert.equal(limits.connections, 1);
  for (const [group, name] of [
    ['timeouts', 'connect'],
    ['limits', 'messageBytes'],
  ]) {
    for (const value of [0, -1, 0.5, Number.NaN, Infinity, 2 ** 31, '1', null]) {
      bad({ [group]: { [name]: value } }, `options.${group}.${name}: `);
    }
    bad({ [group]: { nope: 1 } }, `options.${group}.nope: unknown`);
    bad({ [group]: null }, `options.${group}: `);
  }
});

test('simplePeer: what means something is passed on', () => {
  const sdpTransform = (sdp) => sdp;
  const simplePeer = {
    trickle: false,
    channelName: 'c',
    channelConfig: { ordered: true },
    offerOptions: {},
    answerOptions: {},
    iceCompleteTimeout: 7,
    sdpTransform,
    config: {},
  };
  const count = warnings.length;
  const settings = read({ simplePeer });
  assert.equal(warnings.length, count);
  assert.equal(settings.sdpTransform, sdpTransform);
  const { trickle, channelName, channelConfig, iceCompleteTimeout, transforms } = settings.engine;
  assert.deepEqual(
    { trickle, channelName, channelConfig, iceCompleteTimeout, transforms },
    {
      trickle: false,
      channelName: 'c',
      channelConfig: { ordered: true },
      iceCompleteTimeout: 7,
      transforms: true,
    },
  );
});

test('simplePeer: what means nothing is ignored with one warning', () => {
  const count = warnings.length;
  const simplePeer = { initiator: true, stream: false, streams: [], objectMode: true, wrtc: {}, other: 1 };
  assert.deepEqual(read({ simplePeer }), read());
  assert.equal(warnings.length, count + 1);
  assert.match(warnings.at(-1), /initiator, stream, streams, objectMode, wrtc, other/);
});

test('simplePeer: a wrong type is a TypeError', () => {
  bad({ simplePeer: true }, 'options.simplePeer: ');
  for (const name of [
    'trickle',
    'config',
    'channelName',
    'channelConfig',
    'offerOptions',
    'sdpTransform',
    'iceCompleteTimeout',
  ]) {
    bad({ simplePeer: { [name]: null } }, `options.simplePeer.${name}: `);
  }
  bad({ simplePeer: { iceCompleteTimeout: -1 } }, 'options.simplePeer.iceCompleteTimeout: ');
  const name = 'options.simplePeer.channelConfig';
  const wrong = { ordered: 1, protocol: 1, negotiated: 'no', maxRetransmits: -1, maxPacketLifeTime: 65536, id: 'x' };
  for (const [key, value] of Object.entries(wrong))
    bad({ simplePeer: { channelConfig: { [key]: value } } }, `${name}.${key}: `);
  bad({ simplePeer: { channelConfig: { maxRetransmits: 0, maxPacketLifeTime: 0 } } }, `${name}: `);
  bad({ simplePeer: { channelConfig: { negotiated: true } } }, `${name}.id: `);
});
