// The game that host.mjs and index.html play: dots that move in a field. What it is, and how it is written in bytes; knows
// nothing of connections, clocks or screens.

/** Steps a second. */
export const HZ = 60;
export const WIDTH = 640;
export const HEIGHT = 360;
/** Units in a step. */
const SPEED = 3;
/** The keys of a player, as bits. */
export const KEYS = { ArrowLeft: 1, ArrowRight: 2, ArrowUp: 4, ArrowDown: 8 };
/** A number is one byte. */
export const MAX_PLAYERS = 255;

const bit = (keys, name) => (keys & KEYS[name] ? SPEED : 0);
const between = (least, value, most) => Math.min(Math.max(value, least), most);

export class World {
  tick = 0;
  players = new Map();

  /** A new player: its number. */
  join() {
    let number = 1;
    while (this.players.has(number)) number += 1;
    this.players.set(number, { number, x: WIDTH / 2, y: HEIGHT / 2, keys: 0 });
    return number;
  }

  step() {
    this.tick += 1;
    for (const player of this.players.values()) {
      const { x, y, keys } = player;
      player.x = between(0, x + bit(keys, 'ArrowRight') - bit(keys, 'ArrowLeft'), WIDTH);
      player.y = between(0, y + bit(keys, 'ArrowDown') - bit(keys, 'ArrowUp'), HEIGHT);
    }
  }
}

/** A snapshot: the tick, and of each player the number and where it is. */
export function writeSnapshot({ tick, players }) {
  const bytes = new DataView(new ArrayBuffer(4 + 5 * players.size));
  bytes.setUint32(0, tick);
  let at = 4;
  for (const { number, x, y } of players.values()) {
    bytes.setUint8(at, number);
    bytes.setUint16(at + 1, x);
    bytes.setUint16(at + 3, y);
    at += 5;
  }
  return bytes;
}

export function readSnapshot({ buffer, byteOffset, byteLength }) {
  const bytes = new DataView(buffer, byteOffset, byteLength);
  const players = new Map();
  for (let at = 4; at < byteLength; at += 5) {
    players.set(bytes.getUint8(at), { x: bytes.getUint16(at + 1), y: bytes.getUint16(at + 3) });
  }
  return { tick: bytes.getUint32(0), players };
}

/** What a player says: its keys, and the newest tick that it has seen. */
export function writeInput(keys, seen) {
  const bytes = new DataView(new ArrayBuffer(5));
  bytes.setUint8(0, keys);
  bytes.setUint32(1, seen);
  return bytes;
}

/** Undefined where it is none: players are programs of strangers. */
export function readInput(message) {
  if (!(message instanceof Uint8Array) || message.length !== 5) return;
  const bytes = new DataView(message.buffer, message.byteOffset, 5);
  return { keys: bytes.getUint8(0), seen: bytes.getUint32(1) };
}
