'use strict';
// The streams of one connection: their numbers, how many there may be, and whose turn it is to send. Knows the engine's
// `frame` and the event FRAME; what one stream may do is stream.js' business.

const { utf8 } = require('./message');
const { throwLater } = require('./emitter');
const { LinkupError, unsupported } = require('./errors');
const { checkName, readMetadata } = require('./options');
const { OPEN, RESET, Stream } = require('./stream');
const { VIOLATION, demand, u32At } = require('./wire');

/** Streams that the remote may have open. */
const MAX_THEIRS = 128;
/** Answers to a remote that opens streams and reads nothing of what it gets, until that is enough. */
const MAX_ANSWERS = 10000;
/** Where the platform has none. */
const NONE_HERE = 'no streams here';

class Streams {
  #all = new Map();
  // Those that have something to send, in the order of their turns.
  #turns = new Set();
  #pumping = false;
  // The engine wants no more data until DRAINED.
  #full = false;
  #answers = 0;
  // The numbers of the next one of ours and of the last one of the remote's.
  #next;
  #last = -1;
  #theirs = 0;
  #concluded;

  /**
   * @param {Link} link
   * @param {boolean} even whether the even numbers are ours
   */
  constructor(link, even) {
    this.link = link;
    this.#next = even ? 0 : 1;
  }

  /** `Connection.createStream()`. */
  create(about) {
    const { engine } = this.link.roster;
    if (!engine.stream) throw new LinkupError('ERR_UNSUPPORTED', NONE_HERE, { peerId: this.link.remote });
    const stream = this.#add(this.#next, true, about);
    this.#next += 2;
    if (this.frame(OPEN, stream.id, utf8(JSON.stringify(about)), true) === -4) {
      // Whoever made it can listen before.
      queueMicrotask(() => stream.fail(unsupported('streams', this.link.remote)));
    }
    return stream.object;
  }

  /** Bytes that wait for their turn. */
  get queued() {
    let bytes = 0;
    for (const stream of this.#all.values()) bytes += stream.queued;
    return bytes;
  }

  /** A frame came; true where it reached the application. */
  heard(frame) {
    const body = frame.subarray(5);
    const id = u32At(frame, 1);
    try {
      if (frame[0] === OPEN) return this.#opened(id, body);
      // Where there is none, it has ended while this was under way.
      return this.#all.get(id)?.heard(frame[0], body);
    } catch (error) {
      // Listeners of a stream run in here, too.
      if (error !== VIOLATION) throw error;
      return this.#broke();
    }
  }

  /** The engine takes data again. */
  drained() {
    this.#full = false;
    this.#answers = 0;
    this.#pump();
    return false;
  }

  /** A stream has data to send. */
  ready(stream) {
    this.#turns.add(stream);
    this.#pump();
  }

  /** Hands a frame to the engine, which takes all: only data has to wait. */
  frame(kind, id, body, mine) {
    const { roster, handle } = this.link;
    const outcome = roster.engine.frame(handle, kind, id, body);
    // Also where it takes none any more: the event that says so is on its way.
    if (outcome !== 0) this.#full = true;
    if (outcome === 1 && !mine && ++this.#answers === MAX_ANSWERS) this.#broke();
    return outcome;
  }

  forget(stream) {
    this.#turns.delete(stream);
    if (this.#all.delete(stream.id) && !stream.mine) this.#theirs -= 1;
    this.settled();
  }

  /**
   * Sends what is written and an END after it. A promise, where that takes time: of an error, where it takes more than
   * so many ms.
   */
  conclude(ms) {
    this.#concluded = () => {};
    for (const stream of [...this.#all.values()]) stream.conclude();
    if (this.#late === 0) return;
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(this.#lateError()), ms);
      this.#concluded = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Perhaps that was the last one. */
  settled() {
    if (this.#concluded && this.#late === 0) this.#concluded();
  }

  /** The connection has ended. */
  closed(failure) {
    for (const stream of [...this.#all.values()]) stream.lost(failure);
  }

  /** How many have not sent their END. */
  get #late() {
    return [...this.#all.values()].filter(({ ended }) => !ended).length;
  }

  #lateError() {
    const streams = this.#late;
    const about = { peerId: this.link.remote, details: { unconfirmed: 0, streams } };
    return new LinkupError('ERR_CLOSE_TIMEOUT', `the remote did not read ${streams} streams in time`, about);
  }

  #add(id, mine, about) {
    const stream = new Stream(this, id, mine, about);
    this.#all.set(id, stream);
    return stream;
  }

  #opened(id, body) {
    demand(id % 2 !== this.#next % 2 && id > this.#last);
    this.#last = id;
    let about;
    try {
      about = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
    } catch {}
    demand(typeof about?.name === 'string');
    const { connection, roster } = this.link;
    let reason;
    if (this.#concluded || connection.listenerCount('stream') === 0) reason = 'nobody listens to streams';
    else if (this.#theirs === MAX_THEIRS) reason = 'too many streams';
    else if (!roster.engine.stream) reason = NONE_HERE;
    if (reason) {
      this.frame(RESET, id, utf8(reason));
      return false;
    }
    this.#theirs += 1;
    return connection.emit('stream', this.#add(id, false, about).object);
  }

  #broke() {
    return this.link.broke(new LinkupError('ERR_PROTOCOL', VIOLATION.message, { peerId: this.link.remote }));
  }

  /** A frame of each stream that has something to send, again and again. */
  #pump() {
    if (this.#pumping) return;
    this.#pumping = true;
    for (const stream of this.#turns) {
      if (this.#full) break;
      // It comes back as the last one.
      this.#turns.delete(stream);
      try {
        stream.step();
      } catch (error) {
        throwLater(error);
      }
    }
    this.#pumping = false;
  }
}

/** The arguments of `createStream`, checked: what the remote gets. */
function checkStream(name, meta) {
  checkName(name, 'name');
  return { name, meta: readMetadata(meta, 'meta') };
}

module.exports = { Streams, checkStream };
