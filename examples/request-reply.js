// node examples/request-reply.js - a service that answers questions, and a client that asks; each could be a process
'use strict';

const linkup = require('..');

/** A peer that answers requests `{id, question}` with `{id, answer}`. */
function startService(id, answer) {
  const peer = linkup.createPeer(id);
  peer.on('connection', (connection) => {
    connection.on('message', async ({ id, question }) => {
      await connection.send({ id, answer: await answer(question) });
    });
  });
  return peer;
}

/** A function that asks the service: any number of questions may be under way at once. */
async function connectClient(peer, service) {
  const connection = await peer.connect(service);
  const waiting = new Map();
  let last = 0;
  connection.on('message', ({ id, answer }) => {
    waiting.get(id)?.resolve(answer);
    waiting.delete(id);
  });
  connection.on('close', ({ reason }) => {
    for (const { reject } of waiting.values()) reject(new Error(`the service is gone: ${reason}`));
    waiting.clear();
  });
  return (question) =>
    new Promise((resolve, reject) => {
      const id = ++last;
      waiting.set(id, { resolve, reject });
      connection.send({ id, question }).catch(reject);
    });
}

async function main() {
  const service = startService('squares', (n) => n * n);
  await new Promise((resolve) => service.once('register', resolve));

  const client = linkup.createPeer('client');
  const ask = await connectClient(client, 'squares');
  console.log(await Promise.all([1, 2, 3].map(ask)));

  await client.close();
  await service.close();
}

main();
