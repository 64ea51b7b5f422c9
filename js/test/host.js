'use strict';
// One peer's machine in the network: linkup as a page has it, all of its rules, in a scope where WebRTC, WebSocket, timers,
// dates and chance are the network's. What the application sees of it is as in Node.js: Buffers, and streams that are Duplexes.

const connection = require('../connection');
const emitter = require('../emitter');
const errors = require('../errors');
const EVENTS = require('../events');
const { isPair } = require('../identity-native');
const peer = require('../peer');
const native = require('../stream-native');
const { cryptoOf, identityOf } = require('./crypto');
// js/engine-page.js and js/linkup.js as one function of their globals: scripts/build-test.js makes it.
const { engineIn } = require('./engine-in');
const { PeerConnection } = require('./peer-connection');
const { webSocketOf } = require('./web-socket');

/** What applications know by `instanceof` is the same as that of require('linkup'). */
const SHARED = { connection, emitter, errors, peer, 'stream-native': native };

class Host {
  dead = false;
  /** Those of its WebSockets that are open or opening. */
  sockets = new Set();

  /** @param {string} name the peer's id */
  constructor(world, name) {
    this.world = world;
    this.name = name;
    this.address = world.address();
  }

  /** It is no more: nothing runs, nothing is sent or heard. */
  die() {
    this.dead = true;
    for (const socket of this.sockets) socket.die();
  }

  /** What linkup finds here in place of the globals. */
  scope(broker) {
    const { world } = this;
    const { time, random } = world;
    const { setTimeout, setInterval, ...timers } = time.timers;
    const host = this;
    const alive =
      (next) =>
      (...args) =>
        host.dead || next(...args);

    class MessageChannel {
      port1 = { onmessage: null };
      port2 = { postMessage: (data) => time.turn(() => host.dead || this.port1.onmessage?.({ data })) };
    }

    class RTCPeerConnection extends PeerConnection {
      constructor(config) {
        super(host, config);
      }
    }

    return {
      ...timers,
      setTimeout: (next, ...args) => setTimeout(alive(next), ...args),
      setInterval: (next, ...args) => setInterval(alive(next), ...args),
      // Its other functions are found behind it.
      Math: Object.assign(Object.create(Math), { random }),
      MessageChannel,
      WebSocket: webSocketOf(host, broker),
      globalThis: { MessageChannel, RTCPeerConnection, crypto: cryptoOf(world) },
      shared: SHARED,
    };
  }
}

/** The `createPeer` of one host; `url` is the broker's. */
function linkupOn(host, broker, url) {
  const { engine, linkup } = engineIn(host.scope(broker));
  const { time } = host.world;
  const { drain } = engine;
  return linkup({
    ...engine,
    /** Binary messages are Buffers. */
    drain() {
      const batch = drain();
      for (let i = 0; i < batch.length; i += 4) {
        const bytes = batch[i + 2];
        if (batch[i] === EVENTS.BINARY) batch[i + 2] = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
      }
      return batch;
    },
    stream: native.streamDuplex,
    isPair: (pair) => typeof pair.privateKey === 'object' || isPair(pair),
    oidc: (options) => require('./oidc.cjs').oidc(options, { now: () => time.timers.Date.now() }),
    warn: (message, code) => process.emitWarning(message, { type: 'LinkupWarning', code }),
    defaultBroker: () => ({ url, embedded: false }),
    ownOptions: [],
  }).api;
}

module.exports = { Host, identityOf, linkupOn };
