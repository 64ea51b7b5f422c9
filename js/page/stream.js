'use strict';
// A stream as a page has it: a ReadableStream and a WritableStream. The face that stream.js moves bytes through; knows
// nothing of frames and credit.

const { Emitter } = require('../emitter');
const { bytesOf, utf8 } = require('../message');

/** Bytes that wait until a writer is told to. */
const HIGH_WATER_MARK = 128 * 1024;

/** A stream of a connection. Comes from `connection.createStream()` or the event `stream`. */
class StreamPair extends Emitter {
  constructor({ name, meta, connection }, readable, writable) {
    super();
    Object.assign(this, { name, meta, connection, readable, writable });
  }
}

/** The pair of a stream and its face. */
function streamPair(stream) {
  let reader;
  let writer;
  let pair;
  let over = false;

  const face = {
    writableLength: 0,

    push(chunk) {
      if (chunk) reader.enqueue(chunk);
      else reader.close();
      return reader.desiredSize > 0;
    },

    destroy(error) {
      if (over) return;
      over = true;
      reader.error(error);
      writer.error(error);
      stream.tear(error);
      if (error) pair.emit('error', error) || stream.unheard(error);
      pair.emit('close');
    },

    closed() {
      if (!over) pair.emit('close');
      over = true;
    },
  };

  /** The application gives one half up: so ends the other. */
  function abort(cause, other) {
    if (over) return;
    over = true;
    other.error(stream.tear(cause));
    pair.emit('close');
  }

  const encode = (chunk) => (typeof chunk === 'string' ? utf8(chunk) : bytesOf(chunk));

  const readable = new ReadableStream(
    {
      start: (controller) => {
        reader = controller;
      },
      pull: () => stream.pull(),
      cancel: (reason) => abort(reason, writer),
    },
    // What is not asked for stays where it is counted.
    { highWaterMark: 0 },
  );

  const writable = new WritableStream(
    {
      start(controller) {
        writer = controller;
        // `abort` below is called only when the write under way has ended, which may be never.
        const { signal } = controller;
        signal?.addEventListener('abort', () => abort(signal.reason, reader));
      },
      write(chunk) {
        const bytes = encode(chunk);
        if (!bytes) {
          const error = new TypeError('chunk: must be a string or a buffer');
          abort(error, reader);
          throw error;
        }
        return new Promise((resolve, reject) => {
          stream.write(bytes, (error) => {
            face.writableLength -= bytes.length;
            if (error) reject(error);
            else resolve();
          });
        });
      },
      close: () => stream.finish(),
      abort: (reason) => abort(reason, reader),
    },
    {
      highWaterMark: HIGH_WATER_MARK,
      size(chunk) {
        const size = encode(chunk)?.length ?? 0;
        face.writableLength += size;
        return size;
      },
    },
  );

  pair = new StreamPair(stream, readable, writable);
  return [pair, face];
}

module.exports = { streamPair };
