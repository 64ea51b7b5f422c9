'use strict';
// How much may be under way over one transport. What goes over a cable or through the air is slowed down by its ACKs; on
// one machine it comes faster than a browser reads, whose socket drops what is beyond a hundred packets or so (Linux:
// net.core.rmem_default). SCTP then waits, for seconds in the end.

const { Fifo } = require('./fifo');

/** Bytes that may be under way to a remote that answers within NEAR ms. The farther away it is, the more. */
const LEAST = 96 * 1024;
const NEAR = 10;
/** After so many answers it is looked whether the remote is as near as it was. */
const WINDOW = 512;

class Flight {
  #most = LEAST;
  // The shortest time in which an answer came: of the last WINDOW answers and those before, and of the last ones alone.
  #nearest = Number.POSITIVE_INFINITY;
  #newest = Number.POSITIVE_INFINITY;
  #answers = 0;
  // Bytes that have gone, those after which we asked, and those that have arrived.
  #gone = 0;
  #asked = 0;
  #there = 0;
  // When we asked: after which frame, after how many bytes, and at what time.
  #marks = new Fifo();

  /** Whether another frame may go. */
  get free() {
    return this.#gone - this.#there < this.#most;
  }

  /** So many bytes have gone, as the remote's `number`th frame. Whether it is to be asked what it has. */
  went(bytes, number) {
    this.#gone += bytes;
    if (this.#gone - this.#asked < LEAST / 4) return false;
    this.#asked = this.#gone;
    this.#marks.push([number, this.#gone, performance.now()]);
    return true;
  }

  /** The remote has so many frames. */
  arrived(frames) {
    while (this.#marks.peek()?.[0] <= frames) {
      const [, bytes, at] = this.#marks.take();
      this.#there = bytes;
      this.#newest = Math.min(this.#newest, performance.now() - at);
      this.#nearest = Math.min(this.#nearest, this.#newest);
      if (++this.#answers % WINDOW === 0) {
        this.#nearest = this.#newest;
        this.#newest = Number.POSITIVE_INFINITY;
      }
      this.#most = LEAST * Math.max(1, this.#nearest / NEAR) ** 2;
    }
  }
}

module.exports = { Flight };
