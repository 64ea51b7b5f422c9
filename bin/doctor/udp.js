'use strict';
// A UDP socket that puts questions of STUN, again and again until there is an answer or the time is over. Failures to send
// are silence, too.

const dgram = require('node:dgram');
const { once } = require('node:events');
const { read, write } = require('./stun');

/** Milliseconds after the first packet at which the next ones go out; then every second. */
const AGAIN = [200, 500, 1000];

/** Resolves with what `start` calls its argument with, or after `ms` with undefined. `start` returns what ends it. */
function within(ms, start) {
  return new Promise((resolve) => {
    const finish = (value) => {
      clearTimeout(timer);
      stop();
      resolve(value);
    };
    const timer = setTimeout(finish, ms);
    const stop = start(finish);
  });
}

class UdpSocket {
  #socket;
  #listeners = new Set();

  /** Opens one of `family`, 4 or 6; undefined where this machine has none. */
  static async open(family) {
    const socket = dgram.createSocket({ type: `udp${family}`, ipv6Only: family === 6 });
    try {
      socket.bind();
      await once(socket, 'listening');
    } catch {
      socket.close();
      return undefined;
    }
    return new UdpSocket(socket);
  }

  constructor(socket) {
    this.#socket = socket;
    socket.on('error', () => {});
    socket.on('message', (packet, from) => {
      for (const listener of this.#listeners) listener(packet, from);
    });
  }

  get port() {
    return this.#socket.address().port;
  }

  send(packet, { address, port }) {
    // What cannot be sent is not answered.
    this.#socket.send(packet, port, address, () => {});
  }

  /** Calls `send` again and again until `answer(packet, from)` is not undefined for what comes; for `ms` at most. */
  hear(answer, ms, send) {
    return within(ms, (finish) => {
      const listener = (packet, from) => {
        const value = answer(packet, from);
        if (value !== undefined) finish(value);
      };
      this.#listeners.add(listener);
      send();
      const timers = [...AGAIN.map((after) => setTimeout(send, after)), setInterval(send, 1000)];
      return () => {
        for (const timer of timers) clearTimeout(timer);
        this.#listeners.delete(listener);
      };
    });
  }

  /** Asks a server; resolves with its answer, also a refusal, and the milliseconds until then as `ms`. */
  async ask(to, ms, type, attributes = [], login = undefined) {
    const { id, packet } = write(type, attributes, login);
    const start = performance.now();
    const answer = (packet) => {
      const message = read(packet);
      return message?.id === id && message.type & 0x100 ? message : undefined;
    };
    const message = await this.hear(answer, ms, () => this.send(packet, to));
    return message && { ...message, ms: Math.round(performance.now() - start) };
  }

  close() {
    this.#socket.close();
  }
}

module.exports = { UdpSocket, within };
