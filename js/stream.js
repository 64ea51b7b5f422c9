'use strict';
// One stream: bytes in both directions, each with its credit, and how they end. Knows the protocol's frames, and of the
// application's object only its face: see stream-native.js and page/stream.js. Whose turn it is, is streams.js' business.

const { utf8 } = require('./message');
const { throwLater } = require('./emitter');
const { LinkupError, connectionClosed } = require('./errors');
const { demand, u64, u64At } = require('./wire');

// Kinds of frames: docs/protocol.md.
const OPEN = 8;
const DATA = 9;
const END = 10;
const RESET = 11;
const CREDIT = 12;

/** Bytes of one DATA frame at most. */
const MAX_DATA = 65536;
/** Bytes that each side may send without the other having read, and how many were read when it hears of it. */
const WINDOW = 1024 * 1024;
const RENEWAL = WINDOW / 4;
/** Smaller pieces are put together where they wait: a remote could send very many. */
const SMALL = 4096;
/** Bytes between two events `progress`. */
const PROGRESS = 65536;
/** Characters of the reason of a RESET. */
const MAX_REASON = 1000;

class Stream {
  /** What the application holds. */
  object;

  #set;
  #face;
  // Until both sides have ended it or one has torn it: as long as the remote cares for its frames.
  #open = true;
  #failure;
  // What goes out: the chunk that the face waits for, and how much of it is gone.
  #chunk;
  #done;
  #at = 0;
  #sent = 0;
  #credit = WINDOW;
  #ended = false;
  // Bytes that still go where the connection is closing.
  #left = Number.POSITIVE_INFINITY;
  // What comes in: what the face has not asked for yet; the last piece may have room for more small ones.
  #kept = [];
  #room = 0;
  #wanted = false;
  #arrived = 0;
  #taken = 0;
  #allowed = WINDOW;
  #heardEnd = false;
  #allRead = false;
  #afterReading;
  #told = { send: 0, receive: 0 };

  /**
   * @param {Streams} set
   * @param {number} id
   * @param {boolean} mine whether this side opened it
   * @param {{name: string, meta?: any}} about
   */
  constructor(set, id, mine, { name, meta }) {
    this.#set = set;
    this.id = id;
    this.mine = mine;
    this.name = name;
    this.meta = meta;
    this.connection = set.link.connection;
    [this.object, this.#face] = set.link.roster.engine.stream(this);
  }

  // What the face calls.

  /** Sends a chunk that stays as it is until `done(error?)` is called; one at a time. */
  write(bytes, done) {
    const failure = this.#failure ?? (this.#ended ? connectionClosed(this.connection.id) : undefined);
    if (failure || bytes.length === 0) return done(failure);
    this.#chunk = bytes;
    this.#done = done;
    this.#set.ready(this);
  }

  /** Everything is written. */
  finish() {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#open) this.#frame(END);
    this.#progress('send', this.#sent, 1);
    this.#settle();
  }

  /** The reader wants more: `face.push` gets it now or when it is there. */
  pull() {
    this.#wanted = true;
    while (this.#wanted && this.#kept.length > 0) this.#give(this.#kept.shift());
    this.#finishReading();
  }

  /**
   * The application's object is no more. `read`: after the remote's last byte, so that there is nothing to tear off.
   *
   * @returns {LinkupError} what is to be said to who still uses it
   */
  tear(reason, read) {
    if (!reason && read && !this.#chunk) this.finish();
    // What a closing connection has ended arrives, whatever becomes of it here.
    else if (this.#open && !(this.#ended && this.#left === 0)) {
      this.#frame(RESET, utf8(String(reason?.message ?? reason ?? '').slice(0, MAX_REASON)));
    }
    this.#over();
    const about = { peerId: this.connection.id, cause: reason ?? undefined };
    this.#failure ??= new LinkupError('ERR_ABORTED', 'the stream was given up', about);
    this.#kept = [];
    this.#chunk = undefined;
    const done = this.#done;
    this.#done = undefined;
    done?.(this.#failure);
    return this.#failure;
  }

  /** An error that nobody listens to. That the connection has ended is no news. */
  unheard(error) {
    const { roster, state } = this.#set.link;
    if (state !== 'closed') roster.core.error(error);
  }

  // What the set calls.

  /** Bytes that wait here and in the application's object. */
  get queued() {
    return this.#face.writableLength - this.#at;
  }

  get ended() {
    return this.#ended;
  }

  /** Sends the next frame of data, if there is credit for one. */
  step() {
    const from = this.#at;
    const size = Math.min(this.#chunk.length - from, MAX_DATA, this.#credit - this.#sent);
    if (size === 0) return;
    this.#at += size;
    this.#sent += size;
    this.#left -= size;
    this.#frame(DATA, this.#chunk.subarray(from, this.#at));
    this.#progress('send', this.#sent, PROGRESS);
    if (this.#at < this.#chunk?.length) this.#set.ready(this);
    else this.#written();
  }

  /** A frame of it came; true where it reached the application. */
  heard(kind, body) {
    if (kind === DATA) {
      this.#arrived += body.length;
      demand(this.#arrived <= this.#allowed && !this.#heardEnd);
      if (this.#wanted) this.#give(body);
      else this.#keep(body);
      return false;
    }
    if (kind === CREDIT) {
      demand(body.length === 8);
      const credit = u64At(body, 0);
      demand(credit >= this.#credit);
      this.#credit = credit;
      if (this.#chunk) this.#set.ready(this);
      return false;
    }
    if (kind === END) {
      demand(body.length === 0 && !this.#heardEnd);
      this.#heardEnd = true;
      this.#finishReading();
      this.#settle();
    } else {
      const reason = new TextDecoder().decode(body) || 'the remote ended the stream';
      this.fail(new LinkupError('ERR_ABORTED', reason, { peerId: this.connection.id }));
    }
    return true;
  }

  /** It has ended; `gently`: what the application's object has may still be read. */
  fail(error, gently = false) {
    this.#over();
    this.#failure = error;
    this.#face.destroy(error, gently);
  }

  /** The connection has ended: where the remote's last byte is here, everything may still be read. */
  lost(failure) {
    const error = this.#ended && this.#heardEnd ? null : failure;
    if (!this.#heardEnd || this.#allRead) return this.fail(error, true);
    this.#over();
    this.#failure = failure;
    this.#afterReading = () => this.fail(error, true);
  }

  /** The connection closes: what is written goes out, and nothing after it. */
  conclude() {
    this.#left = this.queued;
    if (this.#left === 0) this.finish();
  }

  #frame(kind, body) {
    this.#set.frame(kind, this.id, body, this.mine);
  }

  #written() {
    const done = this.#done;
    this.#chunk = undefined;
    this.#done = undefined;
    this.#at = 0;
    if (this.#left === 0) this.finish();
    done?.();
  }

  #give(bytes) {
    this.#taken += bytes.length;
    this.#room = this.#kept.length > 0 ? this.#room : 0;
    const allowed = this.#taken + WINDOW;
    if (this.#open && !this.#heardEnd && allowed - this.#allowed >= RENEWAL) {
      this.#allowed = allowed;
      this.#frame(CREDIT, new Uint8Array(u64(allowed)));
    }
    this.#progress('receive', this.#taken, PROGRESS);
    // The face may pull while it is pushed to.
    this.#wanted = false;
    if (this.#face.push(bytes)) this.#wanted = true;
  }

  #keep(bytes) {
    const { length } = bytes;
    if (length >= SMALL) {
      this.#room = 0;
      this.#kept.push(bytes);
      return;
    }
    if (this.#room < length) {
      this.#room = MAX_DATA;
      this.#kept.push(new Uint8Array(MAX_DATA).subarray(0, 0));
    }
    const last = this.#kept.pop();
    const grown = new Uint8Array(last.buffer, 0, last.length + length);
    grown.set(bytes, last.length);
    this.#kept.push(grown);
    this.#room -= length;
  }

  #finishReading() {
    if (!this.#heardEnd || this.#allRead || this.#kept.length > 0) return;
    this.#allRead = true;
    this.#progress('receive', this.#taken, 1);
    this.#face.push(null);
    this.#settle();
    this.#afterReading?.();
  }

  #settle() {
    // A closing connection keeps it until it has closed.
    if (this.#ended && this.#heardEnd && this.#left > 0) this.#over();
    if (this.#ended && this.#allRead) this.#face.closed();
    this.#set.settled();
  }

  #over() {
    this.#open = false;
    this.#set.forget(this);
  }

  #progress(direction, bytes, step) {
    if (bytes - this.#told[direction] < step) return;
    this.#told[direction] = bytes;
    const size = this.meta?.size;
    // The size is that of what its opener sends.
    const total = typeof size === 'number' && this.mine === (direction === 'send') ? size : undefined;
    try {
      this.object.emit('progress', { direction, bytes, total });
    } catch (error) {
      throwLater(error);
    }
  }
}

module.exports = { OPEN, RESET, Stream };
