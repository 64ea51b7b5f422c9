'use strict';
// Which way packets go from one host to another, how long that takes, and how many are lost; which ways are cut. Hosts are
// names here: those of peers, and the broker's. Knows nothing of what the packets say.

const { check, checkNames } = require('../check');

/** The broker's host: no id, which is a string. */
const BROKER = Symbol('the broker');

/** Ms; ms more or less; of a packet; bytes a second. */
const USUAL = { latency: 20, jitter: 0, loss: 0, bandwidth: 12_500_000 };
const TIME = { least: 0, most: 60_000, rule: 'must be a number of milliseconds from 0 to 60000' };
const BOUNDS = {
  latency: TIME,
  jitter: TIME,
  // With more, nothing gets through in any time that somebody waits.
  loss: { least: 0, most: 0.9, rule: 'must be a number from 0 to 0.9' },
  bandwidth: { least: 1000, most: 1e12, rule: 'must be a number of bytes a second, at least 1000' },
};
/** Bytes of a packet. */
const PACKET = 1200;

/** A checked copy of what somebody says about a way through the network. */
function readWay(way, name, usual = {}) {
  checkNames(way, Object.keys(USUAL), name);
  const known = Object.fromEntries(Object.entries(way).filter(([, value]) => value !== undefined));
  for (const [key, value] of Object.entries(known)) {
    const { least, most, rule } = BOUNDS[key];
    check(typeof value === 'number' && value >= least && value <= most, `${name}.${key}`, rule);
  }
  return { ...usual, ...known };
}

class Paths {
  #usual;
  // Of each host, by the other one: the way, and whether it is cut.
  #ways = new Map();
  #cuts = new Map();
  // Hosts that are cut off from everybody.
  #alone = new Set();

  /** @param {object} usual the way between two hosts of which nothing else is said */
  constructor(usual) {
    this.#usual = usual;
  }

  /** From now on the way between two hosts is like that, in both directions. */
  set(a, b, way) {
    const whole = { ...this.#way(a, b), ...way };
    for (const [from, to] of both(a, b)) of(this.#ways, from, Map).set(to, whole);
  }

  /** Nothing goes between two hosts. */
  cut(a, b) {
    for (const [from, to] of both(a, b)) of(this.#cuts, from, Set).add(to);
  }

  /** Nothing goes to or from a host. */
  isolate(host) {
    this.#alone.add(host);
  }

  /** Everything goes again. */
  heal() {
    this.#cuts.clear();
    this.#alone.clear();
  }

  /** Everything goes again between a host and some others, or all. */
  mend(host, others) {
    if (!others) this.#alone.delete(host);
    for (const other of others ?? [...(this.#cuts.get(host) ?? [])]) {
      for (const [from, to] of both(host, other)) this.#cuts.get(from)?.delete(to);
    }
  }

  /** The way between two hosts; undefined where nothing goes. */
  direct(a, b) {
    const closed = this.#alone.has(a) || this.#alone.has(b) || this.#cuts.get(a)?.has(b);
    return closed ? undefined : this.#way(a, b);
  }

  /** The way by the broker's TURN server. */
  turned(a, b) {
    const [one, two] = [this.direct(a, BROKER), this.direct(BROKER, b)];
    if (!one || !two) return;
    return {
      latency: one.latency + two.latency,
      jitter: one.jitter + two.jitter,
      loss: 1 - (1 - one.loss) * (1 - two.loss),
      bandwidth: Math.min(one.bandwidth, two.bandwidth),
    };
  }

  #way(a, b) {
    return this.#ways.get(a)?.get(b) ?? this.#usual;
  }
}

const both = (a, b) => [
  [a, b],
  [b, a],
];

/** What a map has for a key; made where it has nothing. */
function of(map, key, Kind) {
  if (!map.has(key)) map.set(key, new Kind());
  return map.get(key);
}

/** Whether at least one of so many bytes' packets is lost. */
const isLost = ({ loss }, bytes, random) => loss > 0 && random() > (1 - loss) ** Math.ceil(bytes / PACKET);

/** How long a packet takes. */
const takes = ({ latency, jitter }, random) => Math.max(0, Math.round(latency + jitter * (2 * random() - 1)));

module.exports = { BROKER, Paths, USUAL, isLost, readWay, takes };
