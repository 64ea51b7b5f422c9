// node examples/game/host.mjs - the game's host, which alone decides what happens; index.html beside it is for its players
//
// linkup delivers every message, in order: that is what keys and chat need, and what old states of a game do not. So the
// host sends nothing more to a player who has not seen what was sent WINDOW ticks before, and when it has, the newest: whoever
// is slow gets fewer snapshots, not older ones. Unordered channels (`simplePeer.channelConfig`) are no way to that: what linkup
// itself says over the channel, and the players' keys, would get lost with the snapshots.
import { createPeer } from '../../index.mjs'; // in an application: from 'linkup'
import { HZ, MAX_PLAYERS, readInput, World, writeSnapshot } from './world.mjs';

/** Ticks from the newest snapshot that was sent to the newest that was seen: a quarter of a second, on the way and back. */
const WINDOW = 15;
const STEP = 1000 / HZ;

const world = new World();
const clients = new Set();

const peer = createPeer('game', { limits: { connections: MAX_PLAYERS } });
peer.on('register', () => console.log('the game runs'));
peer.on('error', (error) => console.error(error.message));
peer.on('connection', (connection) => {
  const number = world.join();
  const client = { connection, sent: world.tick, seen: world.tick };
  clients.add(client);
  connection.send({ number }).catch(() => {});
  connection.on('message', (message) => {
    const input = readInput(message);
    if (!input || input.seen > client.sent) return;
    client.seen = input.seen;
    world.players.get(number).keys = input.keys;
  });
  connection.on('close', () => {
    world.players.delete(number);
    clients.delete(client);
  });
});

let next = performance.now();
function tick() {
  world.step();
  const snapshot = writeSnapshot(world);
  for (const client of clients) {
    if (client.sent - client.seen > WINDOW) continue;
    client.sent = world.tick;
    // Where it cannot be sent, `close` is near.
    client.connection.send(snapshot).catch(() => {});
  }
  // By the clock, as timers are late; what was missed for long is not made up for.
  next = Math.max(next + STEP, performance.now() - STEP);
  setTimeout(tick, next - performance.now());
}
tick();
