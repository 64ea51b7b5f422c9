'use strict';
// A relayed address at a TURN server over UDP (RFC 8656). To the NAT before us it is a second server, at another port: one
// that answers, and one that can send where nobody has written to it.

const { TYPES, ATTRIBUTES, UDP, IPV6, addressIn, covered, errorCode, read, write } = require('./stun');

const { DATA, FAMILY, LIFETIME, NONCE, PEER, REALM, RELAYED, TRANSPORT } = ATTRIBUTES;

class Allocation {
  #socket;
  #server;
  #login;
  #ms;

  constructor(socket, server, login, ms, relayed) {
    this.#socket = socket;
    this.#server = server;
    this.#login = login;
    this.#ms = ms;
    /** The relayed address, {address, port}. */
    this.relayed = relayed;
  }

  /** Asks `server` ({address, port, username, credential}); undefined where it gives none. `ms`: for one answer. */
  static async open(socket, server, family, ms) {
    const wanted = [[TRANSPORT, UDP], ...(family === 6 ? [[FAMILY, IPV6]] : [])];
    const asked = await socket.ask(server, ms, TYPES.ALLOCATE, wanted);
    const [realm, nonce] = [asked?.attributes.get(REALM), asked?.attributes.get(NONCE)];
    if (!asked || errorCode(asked) !== 401 || !realm || !nonce) return undefined;
    const { username, credential } = server;
    const login = { username, credential, realm, nonce };
    const given = await socket.ask(server, ms, TYPES.ALLOCATE, wanted, login);
    const relayed = given && !errorCode(given) && addressIn(given, RELAYED);
    return relayed ? new Allocation(socket, server, login, ms, relayed) : undefined;
  }

  /** Whether the server relays to and from that address. */
  async permit(peer) {
    const answer = await this.#ask(TYPES.PERMISSION, [[PEER, covered(peer)]]);
    return answer !== undefined && !errorCode(answer);
  }

  /** Has the server send `text` to `peer`; resolves with true where it comes to `socket`. */
  reaches(peer, socket, text, ms) {
    const data = Buffer.from(text);
    const { packet } = write(TYPES.SEND, [
      [PEER, covered(peer)],
      [DATA, data],
    ]);
    const arrived = (packet) => packet.equals(data) || undefined;
    return socket.hear(arrived, ms, () => this.#socket.send(packet, this.#server));
  }

  /** Sends `text` to the relayed address; resolves with the {address, port} it comes from there, undefined where it does not. */
  seen(text, ms) {
    const data = Buffer.from(text);
    const arrived = (packet) => {
      const message = read(packet);
      const is = message?.type === TYPES.DATA && message.attributes.get(DATA)?.equals(data);
      return is ? addressIn(message, PEER) : undefined;
    };
    return this.#socket.hear(arrived, ms, () => this.#socket.send(data, this.relayed));
  }

  /** Gives it back. */
  async close() {
    await this.#ask(TYPES.REFRESH, [[LIFETIME, Buffer.alloc(4)]]);
  }

  #ask(type, attributes) {
    return this.#socket.ask(this.#server, this.#ms, type, attributes, this.#login);
  }
}

module.exports = { Allocation };
