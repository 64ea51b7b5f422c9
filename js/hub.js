'use strict';
// The switchboard of one process, worker or page: gives each event of the engine to the one whom it concerns.
// Knows handles and tokens; what an event means is the business of peer-core.js, roster.js and link.js.

const { deliver } = require('./delivery');
const { connectionClosed, parseError } = require('./errors');

const REGISTERED = 1;
const OFFLINE = 2;
const OPEN = 3;
const CLOSED = 5;
const SETTLED = 6;
const REQUEST = 7;
const TRANSFORM = 8;
const ERROR = 9;
const PEER_CLOSED = 10;
const TEXT = 11;
const BINARY = 12;
const DRAINED = 13;

class Hub {
  peers = new Map();
  links = new Map();
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
    switch (kind) {
      case TEXT:
        return this.links.get(handle)?.text(a);
      case BINARY:
        return this.links.get(handle)?.message(a);
      case DRAINED:
        return this.links.get(handle)?.drained();
      case OPEN: {
        const info = JSON.parse(a);
        return this.peers.get(info.peer)?.roster.open(handle, info);
      }
      case CLOSED: {
        const link = this.links.get(handle);
        return link?.closed(parseError(a, link.remote));
      }
      case SETTLED:
        return this.#settle(handle, a, b);
      case REQUEST: {
        const info = JSON.parse(a);
        return this.peers.get(info.peer)?.request(handle, info);
      }
      case REGISTERED:
        return this.peers.get(handle)?.registered();
      case OFFLINE:
        return this.peers.get(handle)?.offline(a, b);
      case TRANSFORM:
        return this.peers.get(handle)?.transform(a, b);
      case ERROR:
        return this.peers.get(handle)?.error(parseError(a, b ?? undefined));
      case PEER_CLOSED:
        return this.peers.get(handle)?.ended(parseError(a));
      default:
        // JOINED needs nothing: the roster has let go of that handle when the existing connection opened.
        return false;
    }
  }

  #settle(token, value, error) {
    const question = this.#questions.get(token);
    if (question === undefined) return false;
    this.#questions.delete(token);
    if (error === null) question.resolve(JSON.parse(value));
    else question.reject(parseError(error, question.peerId));
    return true;
  }
}

module.exports = { Hub };
