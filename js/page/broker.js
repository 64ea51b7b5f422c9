'use strict';
// The session of one peer with the broker: finding one that works, registering, noticing that it is gone, coming back.
// It gives the ICE servers, too.
// Knows nothing of connections. The same rules in Rust: crates/core/src/registration.rs.

const { isObject } = require('../check');
const { keyOfId } = require('../identity');
const { iceServersOf } = require('../ice');
const { uuid } = require('./random');
const { takeSecret } = require('./secrets');
const { VERSION, codeOf, failure, parse } = require('./signal');

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
/** Who has not come back to a broker by then is not on its way. */
const SETTLED = 30000;
/** While a connection waits for us: for the broker to show that it is there, and to be reached. */
const PROBE = 1000;
const HURRY = 2000;
/** A server that was only guessed to be a broker, and that is not the last to try, has to answer within this time. */
const GUESS = 1500;

/** For the broker to hear that we go. */
const STOPPING = 500;

const IDLE = 0;
const OPENING = 1;
const REGISTERING = 2;
/** Registered, and asked for ICE servers; attempts wait for the answer, but not for long. */
const FETCHING = 3;
const REGISTERED = 4;
const ICE_WAIT = 300;
/** ICE servers that are used, and the shortest life of their credentials that is believed. */
const MAX_SERVERS = 8;
const MIN_LIFE = 10000;
const MAX_CHALLENGE = 256;

/**
 * The session of a peer with the broker.
 *
 * @param {object} options the peer's
 * @param {object} peer hears: registered, lost, signaled, offline, putError
 */
function session(options, peer) {
  const { id, token, brokers, embedded, timeouts } = options;
  let state = IDLE;
  let socket;
  let timer;
  let renewal;
  const iceFromBroker = !options.iceServers;
  // Who waits for the answer to a request: `(found, error, message)`.
  const questions = new Map();
  // Whether somebody is there: asked as soon as, and whenever, there is a registration.
  const finds = new Set();
  let index = 0;
  let tried = 0;
  let rounds = 0;
  let since = 0;
  let heard = 0;
  let pinged = 0;
  let returnUntil = 0;
  let why = '';
  let toldOffline = false;
  let toldError = false;
  let toldNonsense = false;
  let toldComplaint = false;

  const broker = {
    /** Proves that it is the same owner of the id who comes back. */
    secret: takeSecret(id),

    /** How many registrations there were. */
    count: 0,

    /** Bytes a second that the broker carries between two peers that have no other way. */
    relay: undefined,

    /** A connection waits for us. */
    hurries: false,

    /** Whether there ever was a registration: then calls wait out an outage. */
    ever: false,

    get registered() {
      return state === REGISTERED;
    },

    /** Whether others may still be on their way back to a broker that we have just come back to. */
    get othersMayReturn() {
      return Date.now() < returnUntil;
    },

    /** Whether a peer that the broker does not know is not there; it was heard through that registration. */
    wouldKnow(heardIn) {
      return state === REGISTERED && (heardIn === broker.count || Date.now() - since > SETTLED);
    },

    /** A connection has fallen silent, and waits for the broker: is that still there? */
    probe() {
      broker.hurries = true;
      if (state === REGISTERED) ping(PROBE);
      else if (state !== IDLE) limit(HURRY);
    },

    send,

    /** Asks whether `id` is there; `answered(found, error)` is called once, unless it is forgotten before. */
    find(id, answered) {
      const find = { id, answered };
      finds.add(find);
      look(find);
      return find;
    },

    forget(find) {
      if (!finds.delete(find)) return;
      clearTimeout(find.timer);
      questions.delete(find.request);
    },

    /** Whoever waits for an answer hears that there is none. */
    refuse(error) {
      for (const find of finds) settle(find, null, error);
    },

    /** Unregisters and closes the socket, for good; `done` is called when the broker has heard it, or takes too long. */
    stop(done = () => {}) {
      const finish = () => {
        clearTimeout(timer);
        drop();
        done();
      };
      const registered = state === REGISTERED;
      state = IDLE;
      if (!registered) return finish();
      ask({ type: 'unregister' });
      // Whatever it says now, the answer is the last.
      socket.onmessage = ({ data }) => parse(data)?.id !== undefined && finish();
      socket.onclose = finish;
      after(STOPPING, finish);
    },
  };

  function send(frame) {
    socket.send(JSON.stringify(frame));
  }

  /** Sends a request; returns its id. `answered(found, error)` is called unless the broker is lost before. */
  function ask(message, answered) {
    const request = uuid();
    questions.set(request, answered);
    send({ id: request, message });
    return request;
  }

  /** Before the first registration it is not known how long that takes: it comes, or there is no broker. */
  function look(find) {
    if (broker.ever) find.timer ??= setTimeout(() => settle(find, null, noAnswer()), timeouts.broker);
    if (state !== REGISTERED) return;
    find.request = ask({ type: 'find', id: find.id }, (found, error) => settle(find, found, error));
  }

  function settle(find, found, error) {
    broker.forget(find);
    find.answered(found, error);
  }

  function noAnswer() {
    const reason = state === REGISTERED ? late() : `the broker cannot be reached: ${why}`;
    return failure('ERR_BROKER_UNREACHABLE', reason);
  }

  /** There is no broker, or it does not want us. */
  function noBroker(error) {
    if (finds.size === 0 && !toldError) peer.putError(error);
    toldError = true;
    broker.refuse(error);
  }

  const late = () => `the broker did not answer within ${timeouts.broker} ms`;

  function drop() {
    questions.clear();
    clearTimeout(renewal);
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    socket = undefined;
  }

  function after(ms, next) {
    clearTimeout(timer);
    timer = setTimeout(next, ms);
  }

  function limit(ms) {
    after(Math.min(ms, broker.hurries ? HURRY : ms), () => failed(late()));
  }

  function open() {
    const url = brokers[index];
    const guess = embedded && tried + 1 < brokers.length;
    state = OPENING;
    toldNonsense = toldComplaint = false;
    limit(guess ? Math.min(GUESS, timeouts.broker) : timeouts.broker);
    try {
      socket = new WebSocket(url);
    } catch (error) {
      return after(0, () => failed(error.message));
    }
    socket.onopen = register;
    socket.onmessage = ({ data }) => {
      heard = Date.now();
      text(data);
    };
    socket.onclose = ({ code, reason }) => {
      const end = reason || (state === OPENING ? `nobody answers at ${url}` : `${url} has gone (${code})`);
      if (state === REGISTERED) lost(end);
      else failed(end);
    };
  }

  function register(_event, proof) {
    state = REGISTERING;
    const answered = proof ? registered : challenged;
    ask({ type: 'register', id, secret: broker.secret, token, version: VERSION, proof }, answered);
    askForIce();
    limit(timeouts.broker);
  }

  /** Where the application names no ICE servers, the broker may: asked for at each registration, and before they expire. */
  function askForIce() {
    clearTimeout(renewal);
    if (!iceFromBroker) return;
    ask({ type: 'ice' }, (_found, _error, message) => {
      try {
        if (message.relay > 0) broker.relay = message.relay;
        options.iceServers = iceServersOf(message?.iceServers, 'ice').slice(0, MAX_SERVERS);
        if (message.ttl > 0) renewal = setTimeout(askAgain, Math.max(message.ttl * 750, MIN_LIFE));
      } catch {
        // An older broker, or one that talks nonsense: then there are none.
      }
      if (state === FETCHING) ready();
    });
  }

  function askAgain() {
    if (state === REGISTERED) askForIce();
  }

  function text(data) {
    const { id, message, error } = parse(data) ?? {};
    if (typeof id === 'string') {
      const answered = questions.get(id);
      questions.delete(id);
      return answered?.((message ?? null) !== null, errorOf(error), message);
    }
    if (id === null) {
      if (error && !toldComplaint) peer.putError(errorOf(error));
      toldComplaint ||= Boolean(error);
      return;
    }
    if (id === undefined && isObject(message)) {
      const { type, from, signal } = message;
      // Others are from a newer broker, and harmless.
      if (type !== 'signal') return;
      if (typeof from === 'string' && typeof signal === 'string') return peer.signaled(from, signal);
    }
    if (toldNonsense) return;
    toldNonsense = true;
    peer.putError(failure('ERR_PROTOCOL', 'the broker sent nonsense'));
  }

  /** An id that is a key has to be proven. */
  async function challenged(found, error) {
    const { challenge } = error?.details ?? {};
    if (typeof challenge !== 'string' || challenge.length > MAX_CHALLENGE || !keyOfId(id))
      return registered(found, error);
    const asker = socket;
    const proof = await peer.prove(challenge);
    if (socket === asker && state === REGISTERING) register(null, proof ?? '-');
  }

  function registered(found, error) {
    if (error || !found) {
      drop();
      const refusal = error ?? failure('ERR_PROTOCOL', 'the broker registered nobody');
      // Where an id is taken at one broker, a second owner at the next one would help nobody.
      if (refusal.code !== 'ERR_ID_TAKEN') next();
      pauseAfterRound(refusal.message);
      return noBroker(refusal);
    }
    // The answer about ICE servers is right behind. A broker that is not linkup's may say nothing.
    state = FETCHING;
    if (iceFromBroker && !options.iceServers) after(ICE_WAIT, ready);
    else ready();
  }

  function ready() {
    state = REGISTERED;
    since = Date.now();
    returnUntil = broker.ever ? since + RETURN_WINDOW : 0;
    broker.ever = true;
    broker.count += 1;
    pinged = tried = 0;
    toldOffline = toldError = false;
    after(PING_AFTER, check);
    for (const find of finds) look(find);
    peer.registered();
  }

  function next() {
    index = (index + 1) % brokers.length;
  }

  /** A broker could not be reached or did not answer: the next one, at once; after the last one, a pause. */
  function failed(reason) {
    drop();
    next();
    tried += 1;
    if (tried < brokers.length) return open();
    pauseAfterRound(reason);
    if (!broker.ever) noBroker(noAnswer());
  }

  function lost(reason) {
    drop();
    next();
    if (Date.now() - since < STABLE_AFTER) pauseAfterRound(reason);
    else {
      rounds = 0;
      pause(reason, SPREAD * Math.random());
    }
    peer.lost();
  }

  function pauseAfterRound(reason) {
    pause(reason, Math.min(MAX_PAUSE, FIRST_PAUSE * 2 ** rounds++) * (0.5 + Math.random() / 2));
  }

  function pause(reason, ms) {
    state = IDLE;
    tried = 0;
    why = reason;
    after(ms, open);
    if (!toldOffline) peer.offline(reason, Math.round(ms));
    toldOffline = true;
  }

  /** Any text shows that the broker lives, not only the answer to a ping. */
  function check() {
    if (pinged > heard) return lost(late());
    const quiet = Date.now() - heard;
    if (quiet >= PING_AFTER) return ping(timeouts.broker);
    pinged = 0;
    after(PING_AFTER - quiet, check);
  }

  function ping(ms) {
    pinged = Date.now();
    ask({ type: 'ping' });
    after(Math.min(ms, timeouts.broker), check);
  }

  open();
  return broker;
}

/** `error` of a response: `{code, message}` from a linkup broker, anything from another one, null where there is none. */
function errorOf(error) {
  if (error === undefined || error === null) return null;
  const { code, message, details } = error;
  const text = typeof error === 'string' ? error : JSON.stringify(error);
  return failure(codeOf(code, 'ERR_NOT_AUTHORIZED'), typeof message === 'string' ? message : text, details);
}

module.exports = { session };
