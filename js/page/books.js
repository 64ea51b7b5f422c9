'use strict';
// The books of one peer in a page: its links to remote peers, the names of everything, the way to the application and
// to the broker. Knows no rule. The same in Rust: crates/core/src/{link,peer}.rs.

const EVENTS = require('../events');
const { keyOfId } = require('../identity');
const { WINDOW } = require('./receiver');
const { isRelay } = require('./relay');
const { hasCrypto } = require('./crypto');
const { digest, keysOf, prove, sign } = require('./identity');
const { writeSignal } = require('./signal');
const { CLOSING, ENDED, OPEN, PLAIN, RESUMING, UNKNOWN, WAITING } = require('./states');
const { Transport } = require('./transport');

// Timers of browsers end here; a longer one would be due at once.
const LONGEST = 2 ** 31 - 1;
/** So many calls that are over are remembered. */
const MEMORY = 1024;

/** One relation to one remote peer, from the first thought of calling it to the last byte. */
class Link {
  state = WAITING;
  /** What the caller's description was, until it is accepted. */
  offer;
  /** The name of the attempt that the signals carry. */
  session = '';
  /** What the application will hear when the remote, which has said that it leaves, is gone. */
  farewell = null;
  transport;
  /** The one that is to take its place, how far it is, and how many came before the newest one. */
  next;
  phase = WAITING;
  number = 0;
  /** We made the first transport, and make the others, too. */
  caller = false;
  /** Which of them carries messages. */
  carried = 0;
  /** The newest one goes over the broker; the one that carries messages does. */
  byRelay = false;
  relayed = false;
  /** The newest one may use no TURN server. */
  direct = false;
  /** Transports that were tried since the last one was lost, and how often a better way was looked for since then. */
  tries = 0;
  looks = 0;
  /** It is only looked for a better way: nobody is told. */
  quiet = false;
  /** It was closed here while it waited for another transport. */
  ending = false;
  /** The transport that it has was silent, and is heard again. */
  audible = false;
  /** The registration through which a signal of the remote came last. */
  heardIn = 0;
  /** The key that the remote must have, and the one that it has shown in this session. */
  pinned;
  /**
   * The names of what was said: the first offer of this session, which each bye names, so that it is about this connection; the
   * last offers, ours and the remote's; and our last word that we need another transport.
   */
  first;
  offered;
  heard;
  asked;
  /** Our bye, signed, for when the page goes and there is no time. */
  lastWord;
  /** What a linkup peer takes, as its description says. */
  receive;
  /** When the attempt's time began. */
  since;
  /** Why the first attempt found no path, where there is a second one. */
  pathless;
  #timers = {};

  /** `wanted`: somebody here asked for it, so that its failure is reported and it does not count as incoming. */
  constructor(peer, remote, wanted) {
    this.peer = peer;
    this.remote = remote;
    this.wanted = wanted;
    this.pinned = keyOfId(remote);
    this.reset();
  }

  /** Forgets an attempt. */
  reset() {
    this.kind = UNKNOWN;
    this.metadata = undefined;
    this.key = undefined;
    this.login = undefined;
    this.clear();
    /** The request to the broker, whether the remote is there. */
    this.question = undefined;
    /** The broker did not know the remote when it was asked, so our offer went nowhere. */
    this.missed = false;
  }

  /** Forgets what was said about a transport. */
  clear() {
    /** The description and then the candidates, in the order of sending: a broker that restarts forgets them. */
    this.said = [];
    /** How many of these were handed to the broker's socket. */
    this.passed = 0;
    /** Candidates that came before the description was ready. */
    this.held = [];
    /** The remote's candidates, by their text. */
    this.addresses = new Map();
  }

  get isAttempt() {
    return this.state < OPEN;
  }

  /** Whether it is the one that a new call concerns: there is at most one of these for a remote. */
  get isCurrent() {
    return this.state < CLOSING && !this.ending;
  }

  /** How far the transport is that signals are about, and which that is. */
  get stage() {
    return this.state === RESUMING ? this.phase : this.state;
  }

  get newest() {
    return this.next ?? this.transport;
  }

  /** Whether the application has heard of it and waits for its end. */
  get isKnown() {
    return this.wanted || !this.isAttempt;
  }

  /** Runs `next` after `ms`; `name` can have one such at a time. */
  after(name, ms, next) {
    this.stop(name);
    const due = () => {
      this.stop(name);
      next();
    };
    this.#timers[name] = setTimeout(due, Math.min(ms, LONGEST));
  }

  /** The same, unless it is running: a deadline that a second try does not move. */
  afterOnce(name, ms, next) {
    if (!(name in this.#timers)) this.after(name, ms, next);
  }

  stop(...names) {
    for (const name of names.length > 0 ? names : Object.keys(this.#timers)) {
      clearTimeout(this.#timers[name]);
      delete this.#timers[name];
    }
  }
}

class Books {
  /** Oldest first. */
  links = new Set();
  broker;
  /** Settles when all that was to be sent to other peers is signed, and out. */
  going = Promise.resolve();
  #keys;
  #over = new Set();

  /**
   * @param {object} options as js/options.js makes them
   * @param {(kind: number, handle: object, a?: any, b?: any) => void} put takes an event for the application
   */
  constructor(options, put) {
    this.options = options;
    this.put = put;
    if (hasCrypto()) this.#keys = keysOf(options);
  }

  putError(error, remote) {
    this.put(EVENTS.ERROR, this, error, remote);
  }

  /** The link with `remote` that a new call concerns. */
  current(remote) {
    return this.find((link) => link.remote === remote && link.isCurrent);
  }

  /** The link that a signal is about. */
  linkOf({ remote, session }) {
    if (session === undefined) {
      // A plain client says nothing about a connection that has a key.
      return (
        this.find((link) => link.remote === remote && link.isCurrent && link.kind === PLAIN) ?? this.current(remote)
      );
    }
    return this.find((link) => link.remote === remote && link.session === session);
  }

  find(matches) {
    for (const link of this.links) if (matches(link)) return link;
  }

  insert(remote, wanted) {
    const link = new Link(this, remote, wanted);
    this.links.add(link);
    return link;
  }

  /** Takes a link out of all books; false where it was not there. */
  remove(link) {
    if (!this.links.delete(link)) return false;
    if (link.heard && link.key) this.noteAnswered(link);
    link.state = ENDED;
    this.broker.forget(link.question);
    link.stop();
    return true;
  }

  /** The sessions of callers that were answered and are over: who makes the same call again is not the caller. */
  hasAnswered({ remote, session }) {
    return this.#over.has(`${session} ${remote}`);
  }

  noteAnswered({ remote, session }) {
    this.#over.add(`${session} ${remote}`);
    if (this.#over.size > MEMORY) this.#over.delete(this.#over.values().next().value);
  }

  /** Gives a link a transport: for a call, or for the answer to an offer. `peer` hears of one that is to take its place. */
  startTransport(link, offer, peer) {
    const transport = new Transport(peer ?? this, link);
    link[peer ? 'next' : 'transport'] = transport;
    if (offer !== undefined) link.byRelay = isRelay(offer);
    transport.start(offer, link.byRelay && this.broker.relay);
  }

  /** Takes a link's transport away. */
  stopTransport(link, linger) {
    link.transport?.abort(linger);
    link.transport = undefined;
  }

  /** From now on this is the login that others hear of. */
  setLogin(token) {
    this.options.login = token;
  }

  /** Sends a signal, where there is a registration: the broker passes on nobody else's. `link` may be one that is gone. */
  sendSignal(link, body, extra) {
    if (!this.broker.registered) return;
    const { remote, session, kind, number, heard } = link;
    const { metadata, limits, login } = this.options;
    const about = {
      metadata,
      login,
      receive: { message: limits.messageBytes, window: WINDOW, resume: true, relay: hasCrypto() },
    };
    const more = extra ?? (number ? { transport: number } : body.sdp && about);
    const { type } = body;
    const write = (key) => {
      const offer = { answer: heard, bye: link.first ?? heard }[type];
      return writeSignal(kind, session, body, { ...more, key, offer });
    };
    if (!this.#keys) return this.#pass(remote, write());
    const next = async () => {
      const keys = kind !== PLAIN && type !== 'relay' && (await this.#keys);
      const text = write(keys?.publicKey);
      if (type === 'resume') link.asked = await digest(text);
      if (type === 'offer') link.offered = await digest(text);
      if (type === 'offer' && !number) link.first = link.offered;
      this.#pass(remote, await this.#signed(keys, remote, text));
      if (!body.sdp) return;
      const bye = writeSignal(
        kind,
        session,
        { type: 'bye' },
        { ...goodbye(), key: keys?.publicKey, offer: link.first },
      );
      link.lastWord = await this.#signed(keys, remote, bye);
    };
    this.going = this.going.then(next, next);
  }

  /** The page goes away: what was signed before can still be sent; false where there is nothing. */
  sendLastWord({ remote, lastWord }) {
    if (lastWord) this.#pass(remote, lastWord);
    return lastWord;
  }

  /** Proves to the broker that the id of our key is ours. */
  async prove(challenge) {
    const keys = await this.#keys;
    return keys && prove(keys, challenge, this.options.id);
  }

  #signed(keys, remote, text) {
    return keys ? sign(keys, this.options.id, remote, text) : text;
  }

  #pass(to, signal) {
    if (this.broker.registered) this.broker.send({ message: { type: 'signal', from: this.options.id, to, signal } });
  }
}

const goodbye = () => ({ bye: { code: 'ERR_CONNECTION_CLOSED', reason: '' } });

module.exports = { Books, Link };
