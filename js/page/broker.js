'use strict';
// The session of one peer with the broker: finding one that works, registering, noticing that it is gone, coming back.
// Knows nothing of connections. The same rules in Rust: crates/core/src/registration.rs.

const { isObject } = require('../check');
const { uuid } = require('./random');
const { VERSION, codeOf, failure } = require('./signal');

/** Silence after which the broker is asked whether it is there. */
const PING_AFTER = 15000;
/** The pause after a round of all brokers in vain; it doubles, but everybody is back within a second of the broker. */
const FIRST_PAUSE = 100;
const MAX_PAUSE = 800;
/** A lost broker's peers come back spread over this time, not in one millisecond. */
const SPREAD = 100;
/** A registration that ended sooner counts as a failure: a broker that takes and drops us is not to be hammered. */
const STABLE_AFTER = 1000;
/** For so long after coming back, a peer that the broker does not know may be on its way back, too. */
const RETURN_WINDOW = 2000;
/** A server that was only guessed to be a broker, and that is not the last to try, has to answer within this time. */
const GUESS = 1500;

/** For the broker to hear that we go. */
const STOPPING = 500;

const IDLE = 0;
const OPENING = 1;
const REGISTERING = 2;
const REGISTERED = 3;

class Broker {
  /** Whether there ever was a registration: then calls wait out an outage. */
  ever = false;

  #state = IDLE;
  #socket;
  #timer;
  // Who waits for the answer to a request: `(found, error)`.
  #questions = new Map();
  #index = 0;
  #tried = 0;
  #rounds = 0;
  #since = 0;
  #heard = 0;
  #pinged = 0;
  #returnUntil = 0;
  #reason = '';
  #toldOffline = false;
  #toldNonsense = false;
  #toldComplaint = false;

  /**
   * @param {object} options the peer's
   * @param {string} secret proves that it is the same owner who comes back
   * @param {object} peer hears: registered, lost, noBroker, signaled, offline, putError
   */
  constructor(options, secret, peer) {
    this.options = options;
    this.secret = secret;
    this.peer = peer;
    this.#open();
  }

  get registered() {
    return this.#state === REGISTERED;
  }

  /** Whether others may still be on their way back to a broker that we have just come back to. */
  get othersMayReturn() {
    return Date.now() < this.#returnUntil;
  }

  /** Why a request has no answer. */
  noAnswer() {
    const why = this.registered ? this.#late() : `the broker cannot be reached: ${this.#reason}`;
    return failure('ERR_BROKER_UNREACHABLE', why);
  }

  send(frame) {
    this.#socket.send(JSON.stringify(frame));
  }

  /** Sends a request; returns its id. `answered(found, error)` is called unless the broker is lost before. */
  ask(message, answered) {
    const id = uuid();
    this.#questions.set(id, answered);
    this.send({ id, message });
    return id;
  }

  /** The answer to that request does not matter any more. */
  forget(id) {
    this.#questions.delete(id);
  }

  /** Unregisters and closes the socket, for good; `done` is called when the broker has heard it, or takes too long. */
  stop(done = () => {}) {
    const socket = this.#socket;
    clearTimeout(this.#timer);
    if (!this.registered) {
      this.#drop();
      this.#state = IDLE;
      return done();
    }
    this.ask({ type: 'unregister' });
    this.#state = IDLE;
    const finish = () => {
      clearTimeout(this.#timer);
      this.#drop();
      done();
    };
    // Whatever it says now, the answer is the last.
    socket.onmessage = ({ data }) => parse(data)?.id !== undefined && finish();
    socket.onclose = finish;
    this.#after(STOPPING, finish);
  }

  #late() {
    return `the broker did not answer within ${this.options.timeouts.broker} ms`;
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#questions.clear();
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #after(ms, next) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(next, ms);
  }

  #open() {
    const { brokers, embedded, timeouts } = this.options;
    const url = brokers[this.#index];
    const guess = embedded && this.#tried + 1 < brokers.length;
    this.#state = OPENING;
    this.#toldNonsense = this.#toldComplaint = false;
    this.#limit(guess ? Math.min(GUESS, timeouts.broker) : timeouts.broker);
    let socket;
    try {
      socket = new WebSocket(url);
    } catch (error) {
      return this.#after(0, () => this.#failed(error.message));
    }
    this.#socket = socket;
    socket.onopen = () => this.#register();
    socket.onmessage = ({ data }) => {
      this.#heard = Date.now();
      this.#text(data);
    };
    socket.onclose = ({ code, reason }) => {
      this.#socket = undefined;
      const why = reason || (this.#state === OPENING ? `nobody answers at ${url}` : `${url} has gone (${code})`);
      if (this.registered) this.#lost(why);
      else this.#failed(why);
    };
  }

  #limit(ms) {
    this.#after(ms, () => this.#failed(this.#late()));
  }

  #register() {
    const { id, token, timeouts } = this.options;
    this.#state = REGISTERING;
    const register = { type: 'register', id, secret: this.secret, token, version: VERSION };
    this.ask(register, (found, error) => this.#registered(found, error));
    this.#limit(timeouts.broker);
  }

  #text(data) {
    const { id, message, error } = parse(data) ?? {};
    if (typeof id === 'string') {
      const answered = this.#questions.get(id);
      this.#questions.delete(id);
      return answered?.((message ?? null) !== null, errorOf(error));
    }
    if (id === null) return error && this.#complain(errorOf(error));
    if (id === undefined && isObject(message)) {
      const { type, from, signal } = message;
      // Others are from a newer broker, and harmless.
      if (type !== 'signal') return;
      if (typeof from === 'string' && typeof signal === 'string') return this.peer.signaled(from, signal);
    }
    if (!this.#toldNonsense) {
      this.#toldNonsense = true;
      this.peer.putError(failure('ERR_PROTOCOL', 'the broker sent neither an answer nor a notification'));
    }
  }

  #complain(error) {
    if (!this.#toldComplaint) this.peer.putError(error);
    this.#toldComplaint = true;
  }

  #registered(found, error) {
    if (error || !found) {
      this.#drop();
      const refusal = error ?? failure('ERR_PROTOCOL', 'the broker registered nobody');
      // Where an id is taken at one broker, a second owner at the next one would help nobody.
      if (refusal.code !== 'ERR_ID_TAKEN') this.#next();
      this.#pauseAfterRound(refusal.message);
      return this.peer.noBroker(refusal);
    }
    this.#state = REGISTERED;
    this.#since = Date.now();
    this.#pinged = 0;
    this.#returnUntil = this.ever ? this.#since + RETURN_WINDOW : 0;
    this.ever = true;
    this.#tried = 0;
    this.#toldOffline = false;
    this.#after(PING_AFTER, () => this.#check());
    this.peer.registered();
  }

  #next() {
    this.#index = (this.#index + 1) % this.options.brokers.length;
  }

  /** A broker could not be reached or did not answer: the next one, at once; after the last one, a pause. */
  #failed(reason) {
    this.#drop();
    this.#next();
    this.#tried += 1;
    if (this.#tried < this.options.brokers.length) return this.#open();
    this.#pauseAfterRound(reason);
    if (!this.ever) this.peer.noBroker(this.noAnswer());
  }

  #lost(reason) {
    this.#drop();
    this.#next();
    if (Date.now() - this.#since < STABLE_AFTER) this.#pauseAfterRound(reason);
    else {
      this.#rounds = 0;
      this.#pause(reason, SPREAD * Math.random());
    }
    this.peer.lost();
  }

  #pauseAfterRound(reason) {
    const pause = Math.min(MAX_PAUSE, FIRST_PAUSE * 2 ** this.#rounds);
    this.#rounds += 1;
    this.#pause(reason, pause * (0.5 + Math.random() / 2));
  }

  #pause(reason, ms) {
    this.#state = IDLE;
    this.#tried = 0;
    this.#reason = reason;
    this.#after(ms, () => this.#open());
    if (!this.#toldOffline) this.peer.offline(reason, Math.round(ms));
    this.#toldOffline = true;
  }

  /** Any text shows that the broker lives, not only the answer to a ping. */
  #check() {
    if (this.#pinged > this.#heard) return this.#lost(this.#late());
    const quiet = Date.now() - this.#heard;
    const due = quiet < PING_AFTER;
    this.#pinged = due ? 0 : Date.now();
    if (!due) this.ask({ type: 'ping' });
    this.#after(due ? PING_AFTER - quiet : this.options.timeouts.broker, () => this.#check());
  }
}

/** What a text of the broker says; undefined where it is not JSON. */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** `error` of a response: `{code, message}` from a linkup broker, anything from another one, null where there is none. */
function errorOf(error) {
  if (error === undefined || error === null) return null;
  const { code, message } = error;
  const text = typeof error === 'string' ? error : JSON.stringify(error);
  return failure(codeOf(code, 'ERR_NOT_AUTHORIZED'), typeof message === 'string' ? message : text);
}

module.exports = { Broker };
