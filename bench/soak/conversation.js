'use strict';
// One end of one connection in the soak: numbers what it sends, checks what it gets, and reports both when the connection has
// ended. Whether the reports of the two ends agree is judge.js' business.

const { randomUUID } = require('node:crypto');

const FILL = 'x';
const TRACED = 12;

/** What a binary message consists of, apart from its number. */
const byteOf = (n) => n % 251;

/** Message number `n` with so many bytes, or so; as JSON or binary. */
function compose(n, size, binary) {
  if (!binary) return { n, text: FILL.repeat(size) };
  const bytes = Buffer.alloc(4 + size, byteOf(n));
  bytes.writeUInt32BE(n);
  return bytes;
}

/** The number of a message; undefined where it is not what was sent. */
function numberOf(message) {
  if (Buffer.isBuffer(message)) {
    const n = message.readUInt32BE(0);
    const sound = message.length < 5 || (message[4] === byteOf(n) && message.at(-1) === byteOf(n));
    return sound ? n : undefined;
  }
  return message.text === undefined || message.text === FILL.repeat(message.text.length) ? message.n : undefined;
}

class Conversation {
  token = randomUUID();
  /** The other end's token. */
  theirs;
  sent = 0;
  /** How many the connection has taken for sure. */
  taken = 0;
  received = 0;
  /** How many of ours the remote has confirmed to have. */
  acked = 0;
  /** The first message that the connection did not take any more. */
  #refused = Number.POSITIVE_INFINITY;
  #pending = new Set();
  #failed;
  /** What happened to it in the end, for whoever has to find out why a message is missing. */
  #trace = [];

  /**
   * @param {object} on `failed(what, error)` where something is wrong, `allowed(error)` says whether an error may come, `over(report)`
   *   when it has ended, `bytes(n)` and `message()` count
   */
  constructor(connection, peerId, on) {
    this.connection = connection;
    this.on = on;
    this.#failed = (what, error) => on.failed(`${peerId} with ${connection.id}: ${what}`, error);
    connection.on('message', (message) => this.hear(message));
    connection.on('stream', (stream) => this.#read(stream));
    connection.on('error', (error) => this.#failed('error', error));
    for (const name of ['reconnecting', 'reconnected']) connection.on(name, () => this.note(name));
    connection.on('close', async ({ code, reason }) => {
      this.note(`closed: ${code} ${reason}`);
      // What is still to be settled is so in the same turn.
      await Promise.allSettled(this.#pending);
      const { token, theirs, taken, received, acked } = this;
      const sent = Math.min(this.sent, this.#refused);
      const report = { token, theirs, id: peerId, remote: connection.id, sent, taken, received, acked, code };
      on.over(this, { ...report, trace: this.#trace });
    });
    this.send(0, false);
  }

  get open() {
    return this.connection.state === 'open';
  }

  /** Remembers what happened, and when. */
  note(what) {
    if (this.#trace.length === TRACED) this.#trace.shift();
    this.#trace.push(`${new Date().toISOString().slice(17)} ${what}`);
  }

  /** Sends the next message; resolves when more can be sent. An abort ends the waiting for the remote, not the message. */
  async send(size, binary, options) {
    const n = this.sent++;
    const message = n === 0 ? { n, token: this.token } : compose(n, size, binary);
    this.note(`sends ${n}${options?.ack ? ', to be confirmed' : ''}, ${this.connection.state}`);
    const promise = this.connection.send(message, options);
    this.#pending.add(promise);
    try {
      await promise;
      if (options?.ack) this.acked = Math.max(this.acked, n + 1);
      this.taken = Math.max(this.taken, n + 1);
      if (n > this.#refused) this.#failed(`message ${n} was taken, and ${this.#refused} was not`);
    } catch (error) {
      this.note(`message ${n}: ${error.code}`);
      // An abort ends the waiting, not the message. Of one that was to be confirmed nobody knows whether it was sent.
      if (!options?.ack) this.#refused = Math.min(this.#refused, n);
      if (!this.on.allowed(error)) this.#failed('send', error);
    } finally {
      this.#pending.delete(promise);
    }
  }

  /** Reads so many messages in a loop, with a pause between them: the remote has to wait. */
  async loop(count, pause) {
    let last;
    for await (const message of this.connection) {
      const n = numberOf(message);
      if (last !== undefined && n !== last + 1) this.#failed(`the loop got message ${n} after ${last}`);
      last = n;
      if (--count <= 0) break;
      await pause();
    }
  }

  /** A stream of so many bytes there; destroyed when half of it is written, where it is to `break`. */
  stream(bytes, broken) {
    const stream = this.connection.createStream('soak', { bytes });
    stream.resume();
    return new Promise((resolve) => {
      stream.once('close', resolve);
      stream.on('error', (error) => this.on.allowed(error) || this.#failed('stream', error));
      const part = Buffer.alloc(Math.ceil(bytes / 2), FILL);
      stream.write(part, () => {
        if (broken) stream.destroy();
        else stream.end(part.subarray(0, bytes - part.length));
      });
    });
  }

  /** A message came. */
  hear(message) {
    const n = numberOf(message);
    if (n !== this.received) this.#failed(`message ${n} instead of ${this.received}`);
    if (n === 0) this.theirs = message.token;
    this.received += 1;
    this.note(`got ${n}`);
    this.on.message();
  }

  #read(stream) {
    let bytes = 0;
    stream.on('data', (chunk) => {
      bytes += chunk.length;
      this.on.bytes(chunk.length);
      if (chunk[0] !== FILL.charCodeAt(0) || chunk.at(-1) !== FILL.charCodeAt(0))
        this.#failed('other bytes in a stream');
    });
    stream.on('error', (error) => this.on.allowed(error) || this.#failed('stream of the remote', error));
    stream.on('end', () => {
      stream.end();
      // Whoever closes the connection ends its streams with what is written until then.
      if (bytes === stream.meta.bytes || (bytes < stream.meta.bytes && !this.open)) return;
      if (bytes > stream.meta.bytes) return this.#failed(`a stream of ${stream.meta.bytes} bytes has ${bytes}`);
      this.#mustClose(`a stream of ${stream.meta.bytes} bytes ended after ${bytes}`);
    });
  }

  /** That may be where the remote is closing: then this end hears of it. */
  #mustClose(what) {
    const timer = setTimeout(() => this.#failed(what), 30_000);
    this.connection.on('close', () => clearTimeout(timer));
  }
}

module.exports = { Conversation };
