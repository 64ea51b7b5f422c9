// node examples/file-drop/send.js alice bob photo.jpg - as alice, sends files to bob: receive.js, or the page beside it
'use strict';

const { createReadStream } = require('node:fs');
const { stat } = require('node:fs/promises');
const path = require('node:path');
const { pipeline } = require('node:stream/promises');
const { createPeer } = require('../..');

/** Sends one file as a stream; resolves when the other side has all of it. */
async function sendFile(connection, file) {
  const { size } = await stat(file);
  const stream = connection.createStream('file', { name: path.basename(file), size });
  if (process.stderr.isTTY) {
    stream.on('progress', ({ bytes }) => process.stderr.write(`\r${file} ${Math.floor((100 * bytes) / (size || 1))}%`));
  }
  // The receiver says nothing in its direction; it ends it when the file is complete.
  await pipeline(createReadStream(file), stream, async (answer) => {
    for await (const _ of answer);
  });
  console.log(`sent ${file}, ${size} bytes`);
}

async function main([me, other, ...files]) {
  if (files.length === 0) throw new Error('node examples/file-drop/send.js YOUR-ID OTHER-ID FILE...');
  const peer = createPeer(me);
  peer.on('error', (error) => console.error(error.message));
  try {
    const connection = await peer.connect(other);
    for (const file of files) await sendFile(connection, file);
  } finally {
    await peer.close();
  }
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
