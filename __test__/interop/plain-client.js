// A client of the documented broker messages and nothing else, over `ws`, as somebody would write it from the specification.
'use strict';

const { randomUUID } = require('node:crypto');
const WebSocket = require('ws');

/** Registers `id`; `request(message)` resolves with the response, `signal(to, data)` sends, `onsignal(from, data)` hears. */
async function plainClient(url, id) {
  const socket = new WebSocket(url);
  const waiting = new Map();
  const client = {
    socket,
    onsignal: () => {},
    request(message) {
      const uuid = randomUUID();
      socket.send(JSON.stringify({ id: uuid, message }));
      return new Promise((resolve) => waiting.set(uuid, resolve));
    },
    signal: (to, data) =>
      socket.send(JSON.stringify({ message: { type: 'signal', from: id, to, signal: JSON.stringify(data) } })),
  };
  socket.on('message', (text) => {
    const frame = JSON.parse(text);
    if (frame.id) waiting.get(frame.id)?.(frame);
    else if (frame.message?.type === 'signal') client.onsignal(frame.message.from, JSON.parse(frame.message.signal));
  });
  await new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject));
  client.registered = await client.request({ type: 'register', id });
  return client;
}

module.exports = { plainClient };
