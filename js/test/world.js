'use strict';
// What all hosts of one network share: its time, its chance, its ways, and how two RTCPeerConnections find each other.

const { Paths } = require('./paths');
const { random } = require('./random');
const { Time } = require('./time');

const LETTERS = 'abcdefghijklmnopqrstuvwxyz0123456789';

class World {
  /** By what their descriptions are known. */
  connections = new Map();
  #hosts = 0;

  constructor({ seed, start, all, usual }) {
    this.random = random(seed);
    this.time = new Time(start, all);
    this.paths = new Paths(usual);
  }

  /** A text of so many letters and digits. */
  name(length) {
    return Array.from({ length }, () => LETTERS[Math.floor(this.random() * LETTERS.length)]).join('');
  }

  /** So many bytes of chance. */
  bytes(length) {
    return Uint8Array.from({ length }, () => this.random() * 256);
  }

  /** An address for one more host. */
  address() {
    this.#hosts += 1;
    return `10.${this.#hosts >> 16}.${(this.#hosts >> 8) & 255}.${this.#hosts & 255}`;
  }
}

module.exports = { World };
