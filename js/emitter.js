'use strict';
// Events, for Node.js and pages alike: what Peer and Connection are made from. Works with `once` and `on` of node:events.
// Knows nothing of linkup.

/**
 * The part of Node.js' EventEmitter that linkup's objects have. Two differences: a listener that throws keeps nobody
 * else from the event (its exception is thrown again as an uncaught one), and `error` without a listener does not throw.
 */
class Emitter {
  // Lists are replaced, never changed: an event under way goes to those who listened when it came.
  #listeners = new Map();

  /** Calls `listener` at each event `name`. */
  on(name, listener) {
    return this.#add(name, listener, listener);
  }

  /** Calls `listener` at the next event `name` only. */
  once(name, listener) {
    const wrapper = (...args) => {
      this.off(name, wrapper);
      return listener.apply(this, args);
    };
    // As in Node.js: what `off` finds it by.
    wrapper.listener = listener;
    return this.#add(name, listener, wrapper);
  }

  /** Takes the latest registration of `listener` back. */
  off(name, listener) {
    const calls = this.#listeners.get(name) ?? [];
    const last = calls.map((call) => call === listener || (call.listener ?? call) === listener).lastIndexOf(true);
    const rest = calls.filter((_, i) => i !== last);
    if (rest.length > 0) this.#listeners.set(name, rest);
    else this.#listeners.delete(name);
    return this;
  }

  /** The same as `on`. */
  addListener(name, listener) {
    return this.on(name, listener);
  }

  /** The same as `off`. */
  removeListener(name, listener) {
    return this.off(name, listener);
  }

  /** Takes all listeners of `name`, or of every event, back. */
  removeAllListeners(name) {
    if (name === undefined) this.#listeners.clear();
    else this.#listeners.delete(name);
    return this;
  }

  /** How many listen to `name`. */
  listenerCount(name) {
    return this.#listeners.get(name)?.length ?? 0;
  }

  /** Calls all who listen to `name`, in order; true if there were any. */
  emit(name, ...args) {
    const calls = this.#listeners.get(name);
    if (!calls) return false;
    for (let i = 0; i < calls.length; i++) {
      try {
        calls[i].apply(this, args);
      } catch (error) {
        throwLater(error);
      }
    }
    return true;
  }

  #add(name, listener, call) {
    if (typeof listener !== 'function') throw new TypeError('listener: must be a function');
    this.#listeners.set(name, [...(this.#listeners.get(name) ?? []), call]);
    return this;
  }
}

/** Lets an exception of a listener surface as an uncaught one, without ending what called the listener. */
function throwLater(error) {
  queueMicrotask(() => {
    throw error;
  });
}

module.exports = { Emitter, throwLater };
