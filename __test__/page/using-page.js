'use strict';
// Streams of linkup as a page has them, behind the face that the tests use in every runtime; in Node.js ../contract/using.js.

/** Reads and writes a stream of linkup, as a page has it. */
function using(stream) {
  const reader = stream.readable.getReader();
  const writer = stream.writable.getWriter();
  // Reading and writing say it, too.
  for (const { closed } of [reader, writer]) closed.catch(() => {});
  const use = {
    stream,
    write: (chunk) => writer.write(chunk),
    end: () => writer.close(),
    abort: (error) => writer.abort(error),
    read: async () => (await reader.read()).value ?? null,
    readAll: () => readAll(use),
  };
  return use;
}

async function readAll({ read }) {
  const chunks = [];
  for (let chunk = await read(); chunk !== null; chunk = await read()) chunks.push(chunk);
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

module.exports = { using };
