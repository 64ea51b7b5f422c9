// A broker that attacks: it sees every signal, and can change, drop, repeat, delay, reorder or make up any. It has a key of
// its own, and nobody else's. Written from docs/protocol.md; knows nothing of linkup's code.
'use strict';

const { createHash, generateKeyPairSync, sign } = require('node:crypto');
const { WebSocketServer } = require('ws');

/** What whoever is attacked hears. */
const MISMATCH = 'ERR_IDENTITY_MISMATCH';
/** A connection that was told to end does so after a second: until then messages pass. */
const END_AFTER = 1100;

const SIGNATURE = /,"signature":"[\w-]*"}$/;

/** A key pair to sign signals with. */
function makeKeys() {
  const { privateKey } = generateKeyPairSync('ed25519');
  return { privateKey, publicKey: privateKey.export({ format: 'jwk' }).x };
}

/** What a signature is made over. */
function signed(from, to, body) {
  const ids = [from, to].flatMap((id) => {
    const bytes = Buffer.from(id);
    return [Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes];
  });
  return Buffer.concat([Buffer.from('linkup signal 1\0'), ...ids, Buffer.from(body)]);
}

/** A text without its signature, and the name of that. */
const bodyOf = (text) => text.replace(SIGNATURE, '}');
const digestOf = (text) => createHash('sha256').update(bodyOf(text)).digest('base64url');

/** A signal as `change` leaves what it says, and its old signature. */
function altered({ from, to, signal }, change) {
  const { signature, ...said } = JSON.parse(signal);
  change(said);
  return { from, to, signal: JSON.stringify(signature === undefined ? said : { ...said, signature }) };
}

/** A signal as nobody would have signed it. */
function stripped({ from, to, signal }) {
  const { signature, ...said } = JSON.parse(signal);
  if (said.linkup) said.linkup.key = undefined;
  return { from, to, signal: JSON.stringify(said) };
}

/** What somebody says, signed with those keys. */
function saidBy({ privateKey, publicKey }, from, to, said) {
  const linkup = { ...said.linkup, key: publicKey };
  const body = JSON.stringify({ ...said, linkup });
  const signature = sign(null, signed(from, to, body), privateKey).toString('base64url');
  return { from, to, signal: `${body.slice(0, -1)},"signature":"${signature}"}` };
}

/** The same signal, signed with other keys. */
function resigned(keys, { from, to, signal }) {
  const { signature, ...said } = JSON.parse(signal);
  return saidBy(keys, from, to, said);
}

/** What is in a signal: `type` is `bye` for a bye. */
function read({ signal }) {
  const said = JSON.parse(signal);
  return said.linkup?.bye ? { ...said, type: 'bye' } : said;
}

/** Puts another fingerprint into a description: that of the attacker's own certificate. */
function swapFingerprint(said) {
  if (said.sdp) said.sdp = said.sdp.replace(/(a=fingerprint:\S+ )\S+/g, `$1${Array(32).fill('AB').join(':')}`);
}

/**
 * Starts it. `attack(signal, send)` is called with each `{from, to, signal}`, and does with it what it wants; without one all
 * are passed on. `send` passes one on, `until(test)` is the first one, past or to come, that somebody said and that matches.
 */
async function attackingBroker() {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await new Promise((resolve) => server.once('listening', resolve));
  const sockets = new Map();
  const checks = new Set();

  const broker = {
    url: `ws://127.0.0.1:${server.address().port}`,
    keys: makeKeys(),
    attack: null,
    /** All that peers have said. */
    heard: [],
    send({ from, to, signal }) {
      sockets.get(to)?.send(JSON.stringify({ message: { type: 'signal', from, to, signal } }));
    },
    until(test) {
      return new Promise((resolve) => {
        const check = (signal) => {
          if (!test(read(signal), signal)) return false;
          checks.delete(check);
          resolve(signal);
          return true;
        };
        if (!broker.heard.some(check)) checks.add(check);
      });
    },
    close() {
      for (const socket of server.clients) socket.terminate();
      return new Promise((resolve) => server.close(resolve));
    },
  };

  const answers = {
    ping: () => 'pong',
    find: ({ id }) => (sockets.has(id) ? id : null),
    ice: () => ({ iceServers: [], ttl: 3600 }),
    register({ id }, socket) {
      sockets.set(id, socket);
      socket.peer = id;
      return id;
    },
    unregister(_, socket) {
      sockets.delete(socket.peer);
      return socket.peer ?? null;
    },
  };

  server.on('connection', (socket) => {
    socket.on('error', () => {});
    socket.on('close', () => sockets.get(socket.peer) === socket && sockets.delete(socket.peer));
    socket.on('message', (text) => {
      const { id, message } = JSON.parse(text);
      if (message.type === 'signal') {
        const signal = { from: socket.peer, to: message.to, signal: message.signal };
        broker.heard.push(signal);
        for (const check of [...checks]) check(signal);
        if (broker.attack) broker.attack(signal, broker.send);
        else broker.send(signal);
      } else socket.send(JSON.stringify({ id, message: answers[message.type](message, socket), error: null }));
    });
  });
  return broker;
}

module.exports = {
  END_AFTER,
  MISMATCH,
  altered,
  attackingBroker,
  bodyOf,
  digestOf,
  makeKeys,
  read,
  resigned,
  saidBy,
  signed,
  stripped,
  swapFingerprint,
};
