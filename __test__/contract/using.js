'use strict';
// Streams of linkup as Node.js has them, behind the face that the tests use in every runtime; in a page ../page/using-page.js.

/** Reads and writes a stream of linkup, as this runtime has it: each returns a promise. */
function using(stream) {
  const chunks = stream.iterator({ destroyOnReturn: false });
  // Reading and writing say it, too.
  stream.on('error', () => {});
  const use = {
    stream,
    write: (chunk) =>
      new Promise((resolve, reject) => stream.write(chunk, (error) => (error ? reject(error) : resolve()))),
    end: () => new Promise((resolve) => stream.end(resolve)),
    abort: async (error) => void stream.destroy(error),
    /** The next bytes; null at the end. */
    read: async () => (await chunks.next()).value ?? null,
    readAll: () => readAll(use),
  };
  return use;
}

/** All bytes until the end. */
async function readAll({ read }) {
  const chunks = [];
  for (let chunk = await read(); chunk !== null; chunk = await read()) chunks.push(chunk);
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

module.exports = { using };
