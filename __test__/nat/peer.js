'use strict';
// A peer in the laboratory: `node peer.js ID OPTIONS`. Does what the lines of its standard input say, and says as lines
// `WHAT {JSON}` what happens; ends with its standard input.
//
//   connect ID    connects and asks for an answer: `answered {path, ms, …}`, or `failed {code}`
//   relayed ID    waits until the statistics say that a relay is between: `relayed {}`
//   flood ID      sends numbers, one after the other: `flooding {}`; the other side says `flooded {}` when they come
//   stop ID       sends the last number: `stopped {count}`; the other side says `complete {count}`
//   close ID      closes the connection: `closed {}`

const readline = require('node:readline');
const linkup = require('../..');

/** Milliseconds between two numbers. */
const PACE = 5;

const [id, options] = process.argv.slice(2);
const peer = linkup.createPeer(id, JSON.parse(options));
const say = (what, about = {}) => console.log(`${what} ${JSON.stringify(about)}`);

let timer;
let sent = 0;
let received = 0;

/** Says what comes. Numbers must come one after the other. */
function follow(connection) {
  connection.on('close', ({ code }) => say('ended', { peer: connection.id, code, at: Date.now() }));
  connection.on('message', async (message) => {
    if (message === 'hello') {
      say('heard', { path: connection.path });
      await connection.send('hello yourself');
    } else if (message.number !== undefined) {
      if (message.number !== received++) say('disorder', { number: message.number, expected: received - 1 });
      if (message.number === 0) say('flooded');
      if (message.last) say('complete', { count: received });
    }
  });
}

const commands = {
  async connect(to) {
    const start = performance.now();
    const connection = await peer.connect(to);
    const ms = Math.round(performance.now() - start);
    follow(connection);
    const answer = new Promise((resolve) => {
      connection.on('message', (message) => message === 'hello yourself' && resolve());
    });
    await connection.send('hello');
    await answer;
    const { path, localCandidate, remoteCandidate } = await connection.stats();
    const pair = [localCandidate, remoteCandidate].map(({ type, address }) => `${type} ${address}`).join(' - ');
    say('answered', { path: connection.path, ms, pair, measured: path });
  },
  async relayed(to) {
    while ((await peer.connections.get(to).stats()).path !== 'turn')
      await new Promise((resolve) => setTimeout(resolve, 50));
    say('relayed');
  },
  flood(to) {
    const connection = peer.connections.get(to);
    say('flooding');
    timer = setInterval(() => connection.send({ number: sent++ }).catch(({ code }) => say('refused', { code })), PACE);
  },
  async stop(to) {
    clearInterval(timer);
    await peer.send(to, { number: sent++, last: true }, { ack: true });
    say('stopped', { count: sent });
  },
  async close(to) {
    await peer.disconnect(to);
    say('closed');
  },
};

peer.on('register', () => say('registered'));
peer.on('connection', follow);
readline
  .createInterface({ input: process.stdin })
  .on('line', (line) => {
    const [command, ...args] = line.split(' ');
    Promise.resolve(commands[command](...args)).catch(({ code, message }) => say('failed', { command, code, message }));
  })
  .on('close', () => process.exit());
