'use strict';
// A page's WebSocket in the network, and what its broker sees of it: two wires, with a handshake and an end. Knows nothing of
// what is said.

const { BROKER } = require('./paths');
const { Wire } = require('./wire');

/** TCP, and then HTTP, has to be answered. */
const HANDSHAKES = 2;
/** What a browser says where nobody has said anything. */
const ABNORMAL = 1006;
/** Bytes of what is no message. */
const SMALL = 60;

/** The class for one host; `broker.take(socket)` gets those that have come up. */
function webSocketOf(host, broker) {
  const { world } = host;

  return class WebSocket {
    readyState = 0;
    onopen = null;
    onmessage = null;
    onclose = null;
    onerror = null;

    #up;
    #down;
    #session;

    constructor(url) {
      this.url = new URL(url).href;
      const way = () => (host.dead ? undefined : world.paths.direct(host.name, BROKER));
      this.#up = new Wire(world, way);
      this.#down = new Wire(world, way);
      this.#up.onmessage = (message) => this.#asked(message);
      this.#down.onmessage = (message) => this.#told(message);
      host.sockets.add(this);
      this.#up.send({ shake: 1 }, SMALL);
    }

    send(text) {
      if (this.readyState === 0) throw new Error('InvalidStateError: the socket is not open');
      if (this.readyState === 1) this.#up.send({ text }, Buffer.byteLength(text));
    }

    close() {
      if (this.readyState > 1) return;
      this.readyState = 2;
      this.#up.send({ close: 1005 }, SMALL);
    }

    /** The host is no more: its system closes the socket, or nobody does. */
    die() {
      const way = world.paths.direct(host.name, BROKER);
      const session = this.#session;
      this.#up.end();
      this.#down.end();
      if (way && session) world.time.after(way.latency, () => session.gone());
    }

    /** At the broker. */
    #asked({ shake, text, close, pong }) {
      if (shake) {
        if (!broker.answers(this.url)) return this.#end(ABNORMAL, '');
        if (shake === HANDSHAKES) this.#session = broker.take(this.#other());
        return this.#down.send({ shake }, SMALL);
      }
      if (close) this.#session?.gone();
      if (close) return this.#down.send({ code: close, reason: '' }, SMALL);
      this.#session?.heard();
      if (!pong) this.#session?.text(text);
    }

    /** What the broker has of it. */
    #other() {
      return {
        address: host.address,
        send: (text) => this.#down.send({ text }, Buffer.byteLength(text)),
        ping: () => this.#down.send({ ping: true }, SMALL),
        close: (code, reason) => this.#end(code, reason),
        /** Without a word. */
        drop: () => this.#end(ABNORMAL, ''),
      };
    }

    /** The broker's last word. */
    #end(code, reason) {
      this.#session = undefined;
      this.#down.send({ code, reason }, SMALL);
    }

    /** At the host. */
    #told({ shake, text, ping, code, reason }) {
      if (host.dead || this.readyState === 3) return;
      if (ping) this.#up.send({ pong: true }, SMALL);
      else if (code) {
        this.readyState = 3;
        host.sockets.delete(this);
        this.#up.end();
        this.#down.end();
        this.onclose?.({ code, reason });
      } else if (shake === HANDSHAKES) {
        if (this.readyState !== 0) return;
        this.readyState = 1;
        this.onopen?.({});
      } else if (shake) this.#up.send({ shake: shake + 1 }, SMALL);
      else if (this.readyState === 1) this.onmessage?.({ data: text });
    }
  };
}

module.exports = { webSocketOf };
