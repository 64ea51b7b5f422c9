'use strict';
// The switchboard of one process, worker or page: gives each event of the engine to the one whom it concerns.
// Knows handles and tokens; what an event means is the business of peer-core.js, roster.js and link.js.

const { deliver } = require('./delivery');
const { connectionClosed, errorOf } = require('./errors');
const EVENTS = require('./events');

class Hub {
  peers = new Map();
  links = new Map();
  /** Takes the events that concern neither peers nor connections: in Node.js those of brokers. */
  others;
  #questions = new Map();
  #lastToken = 0;

  constructor(engine) {
    this.engine = engine;
    this.mailbox = deliver(engine, (kind, handle, a, b) => this.#dispatch(kind, handle, a, b));
  }

  /**
   * Puts a question to the engine: `put(token)` names it and returns false where nobody is there to answer; the
   * promise has the answer. `owner` is whose end rejects it, where the engine does not answer before: see `forget`.
   */
  ask(owner, peerId, put) {
    return new Promise((resolve, reject) => {
      this.#lastToken = (this.#lastToken + 1) >>> 0;
      this.#questions.set(this.#lastToken, { owner, peerId, resolve, reject });
      if (put(this.#lastToken) === false) {
        this.#questions.delete(this.#lastToken);
        reject(connectionClosed(peerId));
      }
    });
  }

  /** Rejects the questions of `owner` that are still open, with `errorOf(peerId)`. */
  forget(owner, errorOf) {
    for (const [token, question] of this.#questions) {
      if (question.owner !== owner) continue;
      this.#questions.delete(token);
      question.reject(errorOf(question.peerId));
    }
  }

  #dispatch(kind, handle, a, b) {
    const link = this.links.get(handle);
    switch (kind) {
      case EVENTS.TEXT:
        return link?.text(a);
      case EVENTS.BINARY:
        return link?.binary(a);
      case EVENTS.FRAME:
        return link?.frame(a);
      case EVENTS.DRAINED:
        return link?.drained(a);
      case EVENTS.SENDING:
        return link?.progress('send', a, b);
      case EVENTS.RECEIVING:
        return link?.progress('receive', a, b);
      case EVENTS.OPEN: {
        const info = this.engine.parse(a);
        return this.peers.get(info.peer)?.roster.open(handle, info);
      }
      case EVENTS.CLOSED:
        return link?.closed(this.#error(a, link.remote));
      case EVENTS.RECONNECTING:
        return link?.interrupted();
      case EVENTS.RECONNECTED:
        return link?.resumed();
      case EVENTS.SETTLED:
        return this.#settle(handle, a, b);
      case EVENTS.REQUEST: {
        const info = this.engine.parse(a);
        return this.peers.get(info.peer)?.request(handle, info);
      }
      case EVENTS.REGISTERED:
        return this.peers.get(handle)?.registered();
      case EVENTS.OFFLINE:
        return this.peers.get(handle)?.offline(a, b);
      case EVENTS.TRANSFORM:
        return this.peers.get(handle)?.transform(a, b);
      case EVENTS.ERROR:
        return this.peers.get(handle)?.error(this.#error(a, b ?? undefined));
      case EVENTS.PEER_CLOSED:
        return this.peers.get(handle)?.ended(this.#error(a));
      default:
        // JOINED needs nothing: the roster has let go of that handle when the existing connection opened.
        return this.others?.(kind, handle, a);
    }
  }

  #error(failure, peerId) {
    return failure ? errorOf(this.engine.parse(failure), peerId) : null;
  }

  #settle(token, value, error) {
    const question = this.#questions.get(token);
    if (!question) return false;
    this.#questions.delete(token);
    if (error) question.reject(this.#error(error, question.peerId));
    else question.resolve(this.engine.parse(value));
    return true;
  }
}

module.exports = { Hub };
