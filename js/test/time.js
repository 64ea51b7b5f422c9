'use strict';
// The network's time: a clock that stands still until somebody waits for something, and then goes from one timer to the
// next. Between two of them everything happens that needs no time. Knows nothing of networks and peers.
//
// What takes real time has its order from here, so that the same seed gives the same story on every machine: results of
// WebCrypto come one by one, in the order in which they were asked for, each when everything before it is through.

const FakeTimers = require('@sinonjs/fake-timers');
const { throwLater } = require('../emitter');

// Mock timers of a test runner may take its place later.
const { setImmediate } = globalThis;

/** Of the application's own globals, where it wants them on this clock. Without what promises and streams run on. */
const GLOBALS = ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'];
/** So much may happen while the clock stands. */
const MOST_AT_ONCE = 1e6;

/** Everything that is due in JavaScript has happened: promises, ticks, streams. */
const turn = () => new Promise(setImmediate);

class Time {
  #clock;
  #start;
  // Who waits: as long as there is anybody, time passes.
  #goals = new Set();
  #running = false;
  // Turns of the event loop, results of WebCrypto, and what the application asked to wait for, each in its order.
  #turns = [];
  #results = [];
  #held = new Set();
  // Timers that are only those of goals: nothing happens by them.
  #own = 0;

  /** `start`: what Date says at the beginning, in ms since 1970. `all`: the globals of this process are on the clock, too. */
  constructor(start, all) {
    this.#clock = all
      ? FakeTimers.install({ now: start, toFake: GLOBALS, ignoreMissingTimers: true })
      : FakeTimers.createClock(start);
    this.#start = this.#clock.now;
    /** For who takes timers as an argument. */
    this.timers = Object.fromEntries(GLOBALS.map((name) => [name, this.#clock[name]]));
  }

  /** Milliseconds since the beginning. */
  get now() {
    return this.#clock.now - this.#start;
  }

  after(ms, next) {
    return this.#clock.setTimeout(next, ms);
  }

  cancel(timer) {
    this.#clock.clearTimeout(timer);
  }

  /** Runs `task` in a turn of the event loop of its own. */
  turn(task) {
    this.#turns.push(task);
  }

  /** The same promise, but settled in the order of these calls. */
  inOrder(promise) {
    return new Promise((resolve, reject) => {
      const result = {};
      result.ready = promise.then(
        (value) => {
          result.release = () => resolve(value);
        },
        (error) => {
          result.release = () => reject(error);
        },
      );
      this.#results.push(result);
    });
  }

  /** The clock stands still until that is settled. Returns it. */
  hold(promise) {
    const held = Promise.resolve(promise);
    const settled = held.then(
      () => this.#held.delete(settled),
      () => this.#held.delete(settled),
    );
    this.#held.add(settled);
    return held;
  }

  /** Lets time pass until `promise` is settled, or `within` ms are over. */
  run(promise, within) {
    return new Promise((resolve, reject) => {
      const goal = { fail: (why) => end(reject, new Error(why)) };
      const late = () => goal.fail(`it does not happen within ${within} ms of the network's time`);
      const timer = this.#limit(within, late);
      const end = (settle, value) => {
        if (!this.#goals.delete(goal)) return;
        timer.stop();
        settle(value);
      };
      this.#begin(goal);
      Promise.resolve(promise).then(
        (value) => end(resolve, value),
        (error) => end(reject, error),
      );
    });
  }

  /** Lets so many ms pass, and all that happens in them. */
  advance(ms) {
    return new Promise((resolve, reject) => {
      const goal = { advances: true, fail: (why) => this.#goals.delete(goal) && reject(new Error(why)) };
      const done = () => this.#goals.delete(goal) && resolve();
      // Once more, made when that time has come: after all other timers of that moment.
      this.#limit(ms, () => this.turn(() => this.#limit(0, done)));
      this.#begin(goal);
    });
  }

  /** Nothing happens any more: who waits hears why. The globals are what they were. */
  stop(why) {
    this.#fail(why);
    this.#clock.uninstall();
  }

  /** A timer that is nobody's reason to wait. */
  #limit(ms, next) {
    this.#own += 1;
    let over = false;
    const ends = () => {
      if (!over) this.#own -= 1;
      over = true;
    };
    const timer = this.after(ms, () => {
      ends();
      next();
    });
    return {
      stop: () => {
        this.cancel(timer);
        ends();
      },
    };
  }

  #begin(goal) {
    this.#goals.add(goal);
    if (this.#running) return;
    this.#running = true;
    this.#go().catch(throwLater);
  }

  async #go() {
    let [at, steps] = [this.now, 0];
    for (;;) {
      await turn();
      if (this.#goals.size === 0) break;
      if (this.now !== at) [at, steps] = [this.now, 0];
      steps += 1;
      if (steps > MOST_AT_ONCE) this.#fail('so much happens that no time can pass');
      else if (this.#held.size > 0) await Promise.race(this.#held);
      else if (this.#turns.length > 0) attempt(this.#turns.shift());
      else if (this.#results.length > 0) {
        const result = this.#results.shift();
        await result.ready;
        result.release();
      } else if (this.#clock.countTimers() > this.#own || this.#passes()) attempt(this.#clock.next);
      else this.#fail('nothing is left that could happen');
    }
    this.#running = false;
  }

  /** Whether somebody only waits for time to pass. */
  #passes() {
    return [...this.#goals].some(({ advances }) => advances);
  }

  #fail(why) {
    for (const goal of [...this.#goals]) goal.fail(why);
  }
}

/** Whatever an application's timer throws is an uncaught exception, as ever. */
function attempt(task) {
  try {
    task();
  } catch (error) {
    throwLater(error);
  }
}

module.exports = { Time };
