'use strict';
// A queue. `shift()` of a long array moves all the rest; this one moves it only now and then.

class Fifo {
  #items = [];
  #at = 0;

  get length() {
    return this.#items.length - this.#at;
  }

  push(item) {
    this.#items.push(item);
  }

  /** The `i`th of those that wait; undefined where there are fewer. */
  peek(i = 0) {
    return this.#items[this.#at + i];
  }

  /** Takes the first one out. */
  take() {
    const item = this.#items[this.#at];
    this.#items[this.#at++] = undefined;
    if (this.#at > 1024 && this.#at > this.length) {
      this.#items = this.#items.slice(this.#at);
      this.#at = 0;
    }
    return item;
  }
}

module.exports = { Fifo };
