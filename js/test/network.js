'use strict';
// linkup/test: a network in memory, its broker, and the peers in it; what a test does with them. The public side: how time
// passes is time.js, how packets travel is paths.js and wire.js, and what the peers do is linkup itself.

const { check, checkNames, checkType } = require('../check');
const { Connection } = require('../connection');
const { LinkupError } = require('../errors');
const { Peer } = require('../peer');
const { Broker } = require('./broker');
const { cryptoOf, provesIn } = require('./crypto');
const { Host, identityOf, linkupOn } = require('./host');
const { BROKER, USUAL, readWay } = require('./paths');
const { World } = require('./world');

const NAMES = ['seed', 'start', 'timers', 'broker', ...Object.keys(USUAL)];
const URL_OF_BROKER = 'ws://broker.test/';
/** Ms for which `run` waits, of the network's time. */
const PATIENCE = 600_000;
const CLOSED = 'the network is closed';
/** Timers end here. */
const LONGEST = 2 ** 31 - 1;

/** What a test does with the broker. Comes from `createNetwork()`. */
class TestBroker {
  #paths;
  #broker;

  constructor(paths, broker, url) {
    this.#paths = paths;
    this.#broker = broker;
    /** What peers have as `brokerUrl` where they are given none. */
    this.url = url;
  }

  /** Whether it runs. */
  get running() {
    return this.#broker.running;
  }

  /** The ids that are registered. */
  get ids() {
    return this.#broker.ids;
  }

  /** It ends: its sockets are closed, and nobody is registered any more. */
  stop() {
    this.#broker.stop();
  }

  /** It is there again. */
  start() {
    this.#broker.start();
  }

  /** Nothing goes between it and these peers. */
  partition(...ids) {
    for (const id of idsOf(ids, 'ids')) this.#paths.cut(id, BROKER);
  }

  /** Everything goes again between it and these peers, or all. */
  heal(...ids) {
    this.#paths.mend(BROKER, ids.length > 0 ? idsOf(ids, 'ids') : undefined);
  }

  /** The way between it and a peer is like that. */
  link(id, way) {
    this.#paths.set(idOf(id, 'id'), BROKER, readWay(way, 'way'));
  }
}

/** A network in memory. Comes from `createNetwork()`. */
class Network {
  #world;
  #broker;
  // Where each peer runs.
  #hosts = new Map();
  #identities = new Map();
  #closed = false;

  constructor(options) {
    const { seed, start, timers, broker, usual } = readOptions(options);
    this.#world = new World({ seed, start, all: timers === 'all', usual });
    this.#broker = new Broker(this.#world, broker, provesIn(cryptoOf(this.#world)));
    /** The broker of all its peers. */
    this.broker = new TestBroker(this.#world.paths, this.#broker, broker.urls?.[0] ?? URL_OF_BROKER);
    const createPeer = (id, options) => this.#createPeer(id, options);
    const createIdentity = async () => identityOf(this.#world);
    const loadIdentity = async (name = 'linkup') => this.#identity(name);
    /** What `require('linkup')` gives, in this network. */
    this.linkup = { createPeer, createIdentity, loadIdentity, LinkupError, Peer, Connection };
  }

  /** As `createPeer` of linkup, on a machine of its own in this network. */
  get createPeer() {
    return this.linkup.createPeer;
  }

  /** Milliseconds since its beginning. */
  get now() {
    return this.#world.time.now;
  }

  /** `setTimeout`, `Date` and the like on its clock, for who takes them as arguments. */
  get timers() {
    return this.#world.time.timers;
  }

  /** Lets time pass until a promise is settled; or that of a function, which is called. Returns what it settles with. */
  run(work, options = {}) {
    checkNames(options, ['within']);
    const { within = PATIENCE } = options;
    checkTime(within, 'options.within');
    if (this.#closed) return Promise.reject(new Error(CLOSED));
    return this.#world.time.run(typeof work === 'function' ? (async () => work())() : work, within);
  }

  /** Lets so many milliseconds pass. */
  advance(ms) {
    checkTime(ms, 'ms');
    if (this.#closed) return Promise.reject(new Error(CLOSED));
    return this.#world.time.advance(ms);
  }

  /** The clock stands still until that promise is settled: it waits for something outside. Returns the promise. */
  hold(promise) {
    return this.#world.time.hold(promise);
  }

  /** Nothing goes between the peers `a` and the peers `b`; without `b`, between `a` and everybody, the broker too. */
  partition(a, b) {
    const { paths } = this.#world;
    for (const one of idsOf(a, 'a')) {
      if (b === undefined) paths.isolate(one);
      else for (const two of idsOf(b, 'b')) paths.cut(one, two);
    }
  }

  /** Everything goes again everywhere; or between `a` and `b`. */
  heal(a, b) {
    const { paths } = this.#world;
    if (a === undefined) return paths.heal();
    for (const one of idsOf(a, 'a')) paths.mend(one, b === undefined ? undefined : idsOf(b, 'b'));
  }

  /** The way between two peers is like that. */
  link(a, b, way) {
    this.#world.paths.set(idOf(a, 'a'), idOf(b, 'b'), readWay(way, 'way'));
  }

  /** The process of that peer is no more: without a word, but its system closes its socket to the broker. */
  kill(id) {
    for (const [peer, host] of this.#hosts) {
      if (host.name !== idOf(id, 'id')) continue;
      this.#hosts.delete(peer);
      host.die();
    }
  }

  /** Closes all peers; nothing happens in it any more. The process has its own timers again. */
  async close() {
    if (this.#closed) return;
    this.#closed = true;
    const { time } = this.#world;
    try {
      await time.run(Promise.allSettled([...this.#hosts.keys()].map((peer) => peer.close())), PATIENCE);
    } finally {
      time.stop(CLOSED);
    }
  }

  #createPeer(id, options) {
    if (this.#closed) throw new Error(CLOSED);
    const host = new Host(this.#world, id);
    const peer = linkupOn(host, this.#broker, this.broker.url).createPeer(id, this.#heldLogin(options));
    this.#hosts.set(peer, host);
    return peer;
  }

  /** Logins are judged with real cryptography, and perhaps a real server: that never waits for the network's time. */
  #heldLogin(options) {
    const oidc = options?.identity?.oidc;
    if (typeof oidc?.verify !== 'function') return options;
    const verify = (...args) => this.hold(oidc.verify(...args));
    return { ...options, identity: { ...options.identity, oidc: { ...oidc, verify } } };
  }

  #identity(name) {
    if (!this.#identities.has(name)) this.#identities.set(name, identityOf(this.#world));
    return this.#identities.get(name);
  }
}

function readOptions(options = {}) {
  checkNames(options, NAMES);
  const { seed = 1, start = Date.UTC(2030, 0, 1), timers = 'own', broker = {}, ...usual } = options;
  check(Number.isInteger(seed), 'options.seed', 'must be a whole number');
  check(Number.isInteger(+start), 'options.start', 'must be a Date, or milliseconds since 1970');
  check(['own', 'all'].includes(timers), 'options.timers', "must be 'own' or 'all'");
  checkNames(broker, ['urls', 'relay', 'turn', 'authorize'], 'options.broker');
  const { urls, relay = 0, turn = false, authorize } = broker;
  const listed = urls === undefined || (Array.isArray(urls) && urls.length > 0 && urls.every(isUrl));
  check(listed, 'options.broker.urls', 'must be a list of ws: or wss: URLs');
  const rule = 'must be a whole number of bytes a second';
  check(Number.isInteger(relay) && relay >= 0, 'options.broker.relay', rule);
  checkType(turn, 'boolean', 'options.broker.turn');
  checkType(authorize, 'function', 'options.broker.authorize');
  return {
    seed,
    start: +start,
    timers,
    broker: { urls, relay, turn, authorize },
    usual: readWay(usual, 'options', USUAL),
  };
}

function checkTime(ms, name) {
  const rule = `must be a number of milliseconds from 0 to ${LONGEST}`;
  check(typeof ms === 'number' && ms >= 0 && ms <= LONGEST, name, rule);
}

function idOf(id, name) {
  checkType(id, 'string', name);
  check(id, name, 'must be the id of a peer');
  return id;
}

function isUrl(url) {
  try {
    return /^wss?:$/.test(new URL(url).protocol);
  } catch {
    return false;
  }
}

const idsOf = (ids, name) => [ids].flat().map((id) => idOf(id, name));

/** A network in memory, on a clock of its own, in which everything happens in the same way for the same seed. */
const createNetwork = (options) => new Network(options);

module.exports = { createNetwork };
