'use strict';
// What one writes in an evening: linkup's register and signal over the package ws, with no limits and no checks.

const { WebSocketServer } = require('ws');
const { port, host } = require('./arguments');

const sockets = new Map();
const server = new WebSocketServer({ port, host });

server.on('listening', () => console.log(`ws listening on ws://${host}:${server.address().port}`));

server.on('connection', (socket) => {
  let own;

  function register(request, { id }) {
    const taken = sockets.has(id);
    if (!taken) {
      own = id;
      sockets.set(id, socket);
    }
    const answer = { id: request, message: taken ? null : id, error: taken ? { code: 'ERR_ID_TAKEN' } : null };
    socket.send(JSON.stringify(answer));
  }

  function signal({ to, signal }) {
    sockets.get(to)?.send(JSON.stringify({ message: { type: 'signal', from: own, to, signal } }));
  }

  socket.on('message', (data) => {
    try {
      const { id, message } = JSON.parse(data);
      if (message.type === 'register') register(id, message);
      else if (message.type === 'signal') signal(message);
    } catch {
      socket.close(1007);
    }
  });
  socket.on('error', () => {});
  socket.on('close', () => sockets.delete(own));
});
