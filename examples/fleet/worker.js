// node examples/fleet/worker.js - works for the coordinator, whenever there is one; start as many as you like, anywhere
'use strict';

const { randomUUID } = require('node:crypto');
const { setTimeout: pause } = require('node:timers/promises');
const { createPeer } = require('../..');

const RETRY_MS = 1000;

/** The work: how many primes there are below a number. */
function countPrimes({ below }) {
  if (!Number.isSafeInteger(below)) throw new TypeError(`${below} is no number to count to`);
  let count = 0;
  for (let n = 2; n < below; n++) {
    let divisor = 2;
    while (divisor * divisor <= n && n % divisor !== 0) divisor += 1;
    if (divisor * divisor > n) count += 1;
  }
  return count;
}

async function main() {
  const peer = createPeer(`worker-${randomUUID()}`);
  peer.on('error', (error) => console.error(error.message));
  for (;;) {
    try {
      const connection = await peer.connect('coordinator');
      console.log(`${peer.id} works for ${connection.id}`);
      for await (const { job } of connection) {
        console.log('job', JSON.stringify(job));
        await connection.send(answer(job));
      }
    } catch (error) {
      // Not there yet, or it has crashed.
      if (error.code !== 'ERR_PEER_NOT_FOUND') console.error(error.message);
    }
    await pause(RETRY_MS);
  }
}

/** What the coordinator hears: `{result}` or `{error}`. */
function answer(job) {
  try {
    return { result: countPrimes(job) };
  } catch (error) {
    return { error: error.message };
  }
}

main();
