// node examples/chat.js alice bob - chat in the terminal: you are alice and talk to bob
'use strict';

const readline = require('node:readline');
const linkup = require('..');

const [me, other] = process.argv.slice(2);
if (!me || !other) {
  console.error('node examples/chat.js YOUR-ID OTHER-ID');
  process.exit(2);
}

const peer = linkup.createPeer(me);
peer.on('register', (id) => console.log(`You are ${id}. Type a line to send it to ${other}; Ctrl+D ends.`));
peer.on('message', ({ from, message }) => console.log(`${from}: ${message}`));
peer.on('error', (error) => console.error(error.message));

// One line after the other, so that the end of the input waits for what was typed before it.
const lines = readline.createInterface({ input: process.stdin });
let sent = Promise.resolve();
lines.on('line', (line) => {
  sent = sent.then(() => peer.send(other, line)).catch((error) => console.error(error.message));
});
lines.on('close', async () => {
  await sent;
  await peer.close();
});
