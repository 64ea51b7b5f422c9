'use strict';
// A stream as Node.js has it: a Duplex. The face that stream.js moves bytes through; knows nothing of frames and credit.

const { Duplex } = require('node:stream');
const { LinkupError } = require('./errors');

/** Two pieces as large as they travel. */
const HIGH_WATER_MARK = 128 * 1024;

/** A stream of a connection. Comes from `connection.createStream()` or the event `stream`. */
class StreamDuplex extends Duplex {
  #stream;

  constructor(stream) {
    super({ highWaterMark: HIGH_WATER_MARK });
    this.#stream = stream;
    // Whatever a remote does must not end this process, as an error does that nobody listens to.
    this.on('error', (error) => {
      if (this.listenerCount('error') > 1) return;
      if (!(error instanceof LinkupError)) throw error;
      stream.unheard(error);
    });
  }

  /** What the side that opened it called it. */
  get name() {
    return this.#stream.name;
  }

  /** What that side said about it. */
  get meta() {
    return this.#stream.meta;
  }

  /** The connection that it belongs to. */
  get connection() {
    return this.#stream.connection;
  }

  _read() {
    this.#stream.pull();
  }

  _write(chunk, _encoding, done) {
    this.#stream.write(chunk, done);
  }

  _final(done) {
    this.#stream.finish();
    done();
  }

  _destroy(error, done) {
    const { readableEnded } = this;
    // So says a `for await` that has read everything, while the other direction is open: that is no error.
    const harmless = readableEnded && error?.code === 'ABORT_ERR' && error.cause === undefined;
    const reason = harmless ? null : error;
    this.#stream.tear(reason, readableEnded);
    done(reason);
  }
}

/** The Duplex of a stream and its face. */
function streamDuplex(stream) {
  const duplex = new StreamDuplex(stream);
  let complete = false;
  const face = {
    get writableLength() {
      return duplex.writableLength;
    },

    push(chunk) {
      const more = duplex.push(chunk);
      if (chunk === null) {
        complete = true;
        // Where nothing is left to read, nobody has to ask for the end.
        duplex.read(0);
      }
      return more;
    },

    destroy(error, gently) {
      if (gently && complete && !duplex.readableEnded) duplex.once('end', () => duplex.destroy(error));
      else duplex.destroy(error);
    },

    /** A Duplex sees for itself that both directions are over. */
    closed() {},
  };
  return [duplex, face];
}

module.exports = { streamDuplex };
