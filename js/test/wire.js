'use strict';
// What TCP and SCTP make of a network that loses packets: everything arrives once and in order, only later. One direction
// of one of their streams. Knows ways with their latency, loss and bandwidth, not what goes over them.
//
// What is sent in one millisecond is one flight; a flight of which a packet is lost comes whole, a retransmission later.
// There is no congestion control: loss makes a wire slow to answer, not narrow.

const { isLost, takes } = require('./paths');

/** Until a loss is noticed, at least and at most; it doubles. */
const FIRST_RETRY = 200;
const LAST_RETRY = 3000;
/** Bytes that are under way at once: the receiver takes no more. */
const WINDOW = 1024 * 1024;
/** Of each message: headers. */
const HEADER = 28;

class Wire {
  #time;
  #random;
  #way;
  // What waits for the network: `{data, size, left}`; flights: `{bytes, done, here}`, of which `done` are messages.
  #queue = [];
  #flights = [];
  #under = 0;
  #timer;
  #over = false;

  /**
   * What is made has `onmessage(data)`, at the other end, and `onsent(bytes, messages)`, here.
   *
   * @param {{time: Time, random: () => number}} world
   * @param {() => (object | undefined)} way which packets go at the moment; undefined where nothing goes
   * @param {{ordered?: boolean, retries?: number}} [how] a stream that does not wait, or gives a message up
   */
  constructor({ time, random }, way, { ordered = true, retries = Number.POSITIVE_INFINITY } = {}) {
    this.#time = time;
    this.#random = random;
    this.#way = way;
    this.ordered = ordered;
    this.retries = retries;
  }

  send(data, size) {
    this.#queue.push({ data, size, left: size + HEADER });
    this.#timer ??= this.#time.after(0, () => this.#depart());
  }

  /** Nothing more is sent, nor sent again: who sends is gone. What is under way arrives, or does not. */
  end() {
    this.#over = true;
    this.#queue = [];
    this.#time.cancel(this.#timer);
  }

  /** What the network takes in a millisecond. */
  #depart() {
    this.#timer = undefined;
    const rate = this.#way()?.bandwidth ?? Number.POSITIVE_INFINITY;
    const most = Math.min(rate / 1000, WINDOW - this.#under);
    const flight = { bytes: 0, done: [], here: false };
    let sent = 0;
    let count = 0;
    while (this.#queue.length > 0 && flight.bytes < most) {
      const [first] = this.#queue;
      const bytes = Math.min(first.left, Math.ceil(most - flight.bytes));
      first.left -= bytes;
      flight.bytes += bytes;
      if (first.left > 0) break;
      flight.done.push(this.#queue.shift().data);
      sent += first.size;
      if (first.size > 0) count += 1;
    }
    if (flight.bytes > 0) {
      this.#under += flight.bytes;
      this.#flights.push(flight);
      this.#try(flight, 0);
    }
    if (this.#queue.length > 0 && this.#under < WINDOW) this.#timer = this.#time.after(1, () => this.#depart());
    if (sent > 0) this.onsent?.(sent, count);
  }

  #try(flight, times) {
    const way = this.#way();
    const again = () => {
      if (this.#over) return;
      if (times >= this.retries) this.#arrived(flight, []);
      else this.#try(flight, times + 1);
    };
    if (way && !isLost(way, flight.bytes, this.#random)) {
      // What comes to a cut is lost, too.
      const lost = () => !this.#over && !this.#way();
      return this.#time.after(takes(way, this.#random), () => (lost() ? again() : this.#arrived(flight)));
    }
    const first = Math.max(FIRST_RETRY, 4 * (way?.latency ?? 0));
    this.#time.after(Math.min(LAST_RETRY, first * 2 ** times), again);
  }

  #arrived(flight, done = flight.done) {
    flight.here = true;
    this.#under -= flight.bytes;
    if (this.#queue.length > 0) this.#timer ??= this.#time.after(0, () => this.#depart());
    if (!this.ordered) {
      this.#flights.splice(this.#flights.indexOf(flight), 1);
      return this.#deliver(done);
    }
    flight.done = done;
    while (this.#flights[0]?.here) this.#deliver(this.#flights.shift().done);
  }

  #deliver(messages) {
    for (const data of messages) this.onmessage(data);
  }
}

module.exports = { Wire };
