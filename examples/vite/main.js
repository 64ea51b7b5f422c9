import { createPeer } from 'linkup';

const log = (line) => document.querySelector('#log').append(`${line}\n`);

// Vite serves the page, and another server is the broker.
const peer = createPeer(`vite-${Math.random().toString(36).slice(2, 6)}`, { brokerUrl: 'ws://localhost:5000' });

peer.on('register', (id) => log(`You are ${id}.`));
peer.on('message', ({ from, message }) => log(`${from}: ${message}`));
peer.on('error', (error) => log(error.message));

document.querySelector('#send').onclick = () => {
  peer.send('echo', 'Is there anybody?').catch((error) => log(error.message));
};
