// node examples/fleet/coordinator.js 1000000 2000000 - counts the primes below each number, on all workers there are: worker.js
'use strict';

const { createPeer } = require('../..');
const { Fleet } = require('./fleet');

async function main(numbers) {
  const peer = createPeer('coordinator', {
    // Anybody may call itself so. In an open network let in keys, `key:…`, and give each worker its `identity`.
    accept: { allow: [/^worker-/] },
    // Who is silent for so long has crashed. One that only computes is not: linkup answers from threads of its own.
    timeouts: { idle: 3000, resume: 5000 },
  });
  peer.on('register', () => console.log(`${numbers.length} jobs for whoever works`));
  peer.on('error', (error) => console.error(error.message));
  const fleet = new Fleet(peer, console.log);
  await Promise.all(
    numbers.map(async (below) => {
      try {
        console.log(`${await fleet.run({ below })} primes below ${below}`);
      } catch (error) {
        console.error(`${below}: ${error.message}`);
        process.exitCode = 1;
      }
    }),
  );
  await peer.close();
}

main(process.argv.slice(2).map(Number));
