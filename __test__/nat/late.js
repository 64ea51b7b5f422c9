'use strict';
// `node late.js URL PORT MS`: a way to the broker at URL on which the relayed addresses of peers take MS ms longer.

const { WebSocket, WebSocketServer } = require('ws');

const [url, port, ms] = process.argv.slice(2);

new WebSocketServer({ port: Number(port) }, () => console.log('listening')).on('connection', (peer) => {
  const broker = new WebSocket(url);
  const opened = new Promise((resolve) => broker.once('open', resolve));
  peer.on('message', async (data) => {
    const text = String(data);
    await opened;
    setTimeout(() => broker.send(text), text.includes('typ relay') ? Number(ms) : 0);
  });
  broker.on('message', (data) => peer.send(String(data)));
  peer.on('close', () => broker.terminate());
});
