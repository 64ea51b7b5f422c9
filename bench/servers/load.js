'use strict';
// Keeps a server busy: registers peers that send signals to each other.
//   node load.js linkup|peer URL

const { setTimeout: sleep } = require('node:timers/promises');
const { WebSocket } = require('ws');
const { answer } = require('../lib/child');

const [protocol, url] = process.argv.slice(2);

// Registrations, and signals, that are under way at a time.
const REGISTERING = 20;
const SIGNALS = 200;
const SIZE = 600;

/** How peers talk to a server. `register` is what they send first; `registered` and `isSignal` look at what comes. */
const { address, register, registered, signal } = {
  linkup: {
    address: () => url,
    register: (id) => ({ id: '1', message: { type: 'register', id } }),
    registered: (id, data) => JSON.parse(data).message === id,
    signal: (from, to) => ({ message: { type: 'signal', from, to, signal: '' } }),
  },
  peer: {
    address: (id) => `${url}/peerjs?key=peerjs&id=${id}&token=${id}`,
    register: () => undefined,
    registered: (_id, data) => JSON.parse(data).type === 'OPEN',
    signal: (src, dst) => ({ type: 'OFFER', src, dst, payload: '' }),
  },
}[protocol];

const sockets = [];
let routed = 0;
let flooding = false;

/** A registered peer. */
function open(n) {
  return new Promise((resolve, reject) => {
    const id = `peer-${n}`;
    const socket = new WebSocket(address(id), { perMessageDeflate: false });
    const hello = register(id);
    if (hello) socket.once('open', () => socket.send(JSON.stringify(hello)));
    socket.once('message', (data) => {
      if (!registered(id, data)) return reject(new Error(`refused: ${data}`));
      socket.on('message', () => arrived(n));
      resolve(socket);
    });
    socket.once('error', reject);
    socket.once('close', (code) => {
      console.error(`the server has closed a socket: ${code}`);
      process.exit(1);
    });
  });
}

/** The text of a signal, of 600 bytes. */
function textOf(from, to) {
  const frame = (filling) => JSON.stringify(signal(`peer-${from}`, `peer-${to}`)).replace('""', `"${filling}"`);
  return frame('x'.repeat(SIZE - frame('').length));
}

let texts;

/** A signal has come to peer `n`: it sends the next one, to its partner in the other half. */
function arrived(n) {
  routed++;
  if (flooding) sockets[n].send(texts[n]);
}

answer({
  async open({ count }) {
    const end = sockets.length + count;
    let next = sockets.length;
    const worker = async () => {
      while (next < end) {
        const n = next++;
        sockets[n] = await open(n);
      }
    };
    await Promise.all(Array.from({ length: REGISTERING }, worker));
  },

  async flood() {
    const half = sockets.length >> 1;
    texts = sockets.map((_, n) => textOf(n, n < half ? n + half : n - half));
    flooding = true;
    for (let n = 0; n < Math.min(SIGNALS, half); n++) sockets[n].send(texts[n]);
    await sleep(0);
  },

  sample: () => ({ at: performance.now(), routed }),
});
