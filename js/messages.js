'use strict';
// `for await (const message of connection)`: a loop keeps what comes while it does not ask, a little; where it is more,
// the flow stops. Knows messages and their sizes, not where they come from.

/** What is kept until the flow stops; it goes on at half of that. */
const MANY = 64;
const MUCH = 256 * 1024;

/** What one loop iterates over. */
class Messages {
  /** Whether no more should come. */
  full = false;

  #loops;
  // A set is a queue that grows long without getting slow.
  #kept = new Set();
  #bytes = 0;
  #asking = [];
  #ended = false;
  #error;

  constructor(loops) {
    this.#loops = loops;
  }

  next() {
    for (const entry of this.#kept) {
      this.#kept.delete(entry);
      this.#weigh(-entry.size);
      return Promise.resolve({ value: entry.value, done: false });
    }
    if (!this.#ended) return new Promise((resolve, reject) => this.#asking.push({ resolve, reject }));
    const error = this.#error;
    this.#error = null;
    return error ? Promise.reject(error) : Promise.resolve({ value: undefined, done: true });
  }

  /** The loop was left. */
  return(value) {
    this.#kept.clear();
    this.#loops.leave(this);
    this.end(null);
    return Promise.resolve({ value, done: true });
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  /** A message came; true where somebody has waited for it. */
  take(value, size) {
    const asking = this.#asking.shift();
    if (asking) asking.resolve({ value, done: false });
    else {
      this.#kept.add({ value, size });
      this.#weigh(size);
    }
    return asking !== undefined;
  }

  /** No more come: in order (null), or because of an error, which whoever asks next gets. */
  end(error) {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    for (const { resolve } of this.#asking.splice(0)) resolve(this.next());
  }

  #weigh(size) {
    this.#bytes += size;
    const half = this.full ? 0.5 : 1;
    const full = this.#kept.size >= MANY * half || this.#bytes >= MUCH * half;
    if (full === this.full) return;
    this.full = full;
    this.#loops.regulate();
  }
}

/** The loops over the messages of one connection. */
class Loops {
  #flow;
  #all = new Set();
  #stopped = false;
  #released = false;
  #ended = false;
  #error;

  /** @param {(open: boolean) => void} flow lets messages come, or not */
  constructor(flow) {
    this.#flow = flow;
  }

  /** A loop over the messages from now on. */
  add() {
    const messages = new Messages(this);
    if (this.#ended) messages.end(this.#error);
    else this.#all.add(messages);
    return messages;
  }

  /** A message came; true where a loop has waited for it. */
  take(message, size) {
    let taken = false;
    for (const messages of this.#all) taken = messages.take(message, size) || taken;
    return taken;
  }

  /** From now on the loops keep all that comes: the connection shall end. */
  release() {
    this.#released = true;
    this.regulate();
  }

  /** No more come: in order (null), or because of an error. */
  end(error) {
    this.#ended = true;
    this.#error = error;
    for (const messages of this.#all) messages.end(error);
  }

  leave(messages) {
    this.#all.delete(messages);
    this.regulate();
  }

  regulate() {
    const stopped = !this.#released && [...this.#all].some(({ full }) => full);
    if (stopped !== this.#stopped) this.#flow(!stopped);
    this.#stopped = stopped;
  }
}

module.exports = { Loops };
