// node examples/file-drop/receive.js bob inbox - as bob, puts what others send into the folder inbox; more ids: only from those
'use strict';

const fs = require('node:fs/promises');
const path = require('node:path');
const { Transform } = require('node:stream');
const { pipeline } = require('node:stream/promises');
const { createPeer } = require('../..');
const { safeName } = require('./safe-name');

const MAX_BYTES = 10 * 1024 ** 3;

/** Makes a file of that name, or `name (1)` and so on: never one that is there already, nor what a link points to. */
async function create(folder, name) {
  const { name: stem, ext } = path.parse(name);
  for (let n = 0; ; n++) {
    const file = path.join(folder, n === 0 ? name : `${stem} (${n})${ext}`);
    try {
      return { file, handle: await fs.open(file, 'wx') };
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
  }
}

/** Passes on as many bytes as were announced, neither more nor fewer. */
function exactly(size) {
  let bytes = 0;
  return new Transform({
    transform(chunk, _encoding, done) {
      bytes += chunk.length;
      done(bytes > size ? new Error(`more than the ${size} bytes that were announced`) : null, chunk);
    },
    flush: (done) => done(bytes < size ? new Error(`only ${bytes} of ${size} bytes`) : null),
  });
}

/** Receives one file; what is incomplete does not stay. */
async function receiveFile(stream, folder) {
  const { name, size } = stream.meta ?? {};
  if (stream.name !== 'file' || typeof name !== 'string') throw new Error('this is no file');
  if (!Number.isSafeInteger(size) || size < 0 || size > MAX_BYTES) throw new Error('too large');
  const { file, handle } = await create(folder, safeName(name));
  try {
    await pipeline(stream, exactly(size), handle.createWriteStream());
  } catch (error) {
    await fs.rm(file, { force: true });
    throw error;
  }
  return { file, size };
}

async function main([me, folder = '.', ...senders]) {
  if (!me) throw new Error('node examples/file-drop/receive.js YOUR-ID [FOLDER [SENDER-ID...]]');
  await fs.mkdir(folder, { recursive: true });
  // An id is what the broker says. `key:` and a public key in its place is whoever has that key.
  const peer = createPeer(me, senders.length > 0 ? { accept: { allow: senders } } : {});
  peer.on('register', (id) => console.log(`${id} is waiting for files`));
  peer.on('error', (error) => console.error(error.message));
  peer.on('connection', (connection) => {
    connection.on('stream', async (stream) => {
      stream.on('error', (error) => console.error(`from ${connection.id}: ${error.message}`));
      try {
        const { file, size } = await receiveFile(stream, folder);
        console.log(`received ${file}, ${size} bytes, from ${connection.id}`);
        // So the sender knows that we have it.
        stream.end();
      } catch (error) {
        // So it knows why not.
        stream.destroy(error);
      }
    });
  });
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
