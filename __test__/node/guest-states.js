'use strict';
// The states in which linkup's host may end: each function brings linkup into one of them, and resolves when events have
// said that it is there. Knows the public API only; how it ends then is the business of guest.js.

const dgram = require('node:dgram');
const { once } = require('node:events');
const net = require('node:net');
const path = require('node:path');
const { threadId } = require('node:worker_threads');
const { WebSocketServer } = require('ws');
const linkup = require('../../index.js');

const never = () => new Promise(() => {});
// The default of limits.highWaterMark.
const MARK = 1024 * 1024;
// RFC 8489, section 5: the type of the message that an ICE check is.
const BINDING_REQUEST = 0x0001;

/** What one state is made of: everything in it can be let go of, so that the environment ends by itself. */
class Room {
  #things = new Set();
  #released = false;

  /** `broker`: its URL; undefined where linkup is to look after that. `remote`: a peer in another process, and its pid. */
  constructor({ broker, folder, remote }) {
    Object.assign(this, { broker, folder, remote });
  }

  /** Notes what keeps the environment alive. */
  keep(thing) {
    this.#things.add(thing);
    if (this.#released) thing.unref();
    return thing;
  }

  /** Lets all of it go, and what comes later. */
  release() {
    this.#released = true;
    for (const thing of this.#things) thing.unref();
  }

  peer(name, options) {
    const id = `${name}-${process.pid}-${threadId}`;
    const peer = this.keep(linkup.createPeer(id, { brokerUrl: this.broker, ...options }));
    // What becomes of the others while one ends is not the question.
    peer.on('error', () => {});
    return peer;
  }

  /** Two peers that are registered. */
  async two(ofA, ofB) {
    const peers = [this.peer('a', ofA), this.peer('b', ofB)];
    await Promise.all(peers.map((peer) => once(peer, 'register')));
    return peers;
  }

  /** Two peers, and both ends of their connection. */
  async connected() {
    const [a, b] = await this.two();
    const came = once(b, 'connection');
    const here = await a.connect(b.id);
    const [there] = await came;
    return { a, b, here, there };
  }

  /** A server of TCP; calls `heard` with each socket. Its port. */
  async listen(heard) {
    const server = this.keep(net.createServer((socket) => heard(this.keep(socket))));
    await once(server.listen(0, 'localhost'), 'listening');
    return server.address().port;
  }
}

/** More than the mark waits to be sent, as the remote does not read. */
async function backlog(room) {
  const { a, b, here, there } = await room.connected();
  // A loop that asks for nothing holds the sender up.
  there[Symbol.asyncIterator]();
  const sent = [];
  do {
    for (let n = 0; n < 20; n++) sent.push(here.send(Buffer.alloc(100_000), { ack: true }));
    // By the time the broker has answered, the other side has taken what it takes.
    await a.find(b.id);
  } while (here.bufferedAmount <= 2 * MARK);
  for (const promise of sent) promise.catch(() => {});
  return { a, b, here };
}

const pump = async (connection) => {
  for (;;) await connection.send({ n: 1, text: 'x'.repeat(500) });
};

const STATES = {
  async 'a peer is just created'(room) {
    room.peer('a');
  },

  async 'the broker does not answer the handshake, and a find waits'(room) {
    await new Promise((resolve, reject) => {
      room
        .listen(resolve)
        .then((port) => {
          const peer = room.peer('a', { brokerUrl: `ws://localhost:${port}` });
          peer.find('b').catch(() => {});
        })
        .catch(reject);
    });
  },

  async 'a peer is registered'(room) {
    await once(room.peer('a'), 'register');
  },

  async 'the broker has been asked for a peer'(room) {
    const server = new WebSocketServer({ port: 0, host: 'localhost' });
    room.keep(server._server);
    await once(server, 'listening');
    const asked = new Promise((resolve) => {
      server.on('connection', (socket, request) => {
        room.keep(request.socket);
        socket.on('message', (text) => {
          const { id, message } = JSON.parse(text);
          if (message.type === 'find') resolve();
          else socket.send(JSON.stringify({ id, message: message.id ?? null, error: null }));
        });
      });
    });
    const peer = room.peer('a', { brokerUrl: `ws://localhost:${server.address().port}` });
    await once(peer, 'register');
    for (const promise of [peer.find('b'), peer.connect('c')]) promise.catch(() => {});
    await asked;
  },

  async 'a call is under way: ICE checks are sent'(room) {
    // Both sides are told of no other address than that of a socket which hears the checks and never answers.
    const deaf = dgram.createSocket('udp4');
    await once(deaf.bind(0), 'listening');
    const { port } = deaf.address();
    const elsewhere = (sdp) => sdp.replace(/^(a=candidate:(?:\S+ ){5})\d+/gm, `$1${port}`);
    const simplePeer = { trickle: false, sdpTransform: elsewhere };
    const [a, b] = await room.two({ simplePeer }, { simplePeer });
    const heard = once(deaf, 'message');
    a.connect(b.id).catch(() => {});
    const [packet] = await heard;
    // Node.js itself aborts where a worker is terminated while a socket of dgram's hears something (v20: UDPWrap::OnRecv).
    deaf.close();
    if (packet.readUInt16BE(0) !== BINDING_REQUEST) throw new Error(`not a check: ${packet.toString('hex')}`);
  },

  async 'a caller waits to be accepted'(room) {
    await new Promise((resolve, reject) => {
      const accept = () => {
        resolve();
        return never();
      };
      room.two({}, { accept }).then(([a, b]) => a.send(b.id, 'let me in').catch(() => {}), reject);
    });
  },

  async 'the ICE servers are being fetched'(room) {
    await new Promise((resolve) => {
      const iceServers = () => {
        resolve();
        return never();
      };
      const peer = room.peer('a', { iceServers });
      peer.connect('b').catch(() => {});
    });
  },

  async 'an identity is being loaded'(room) {
    const file = path.join(room.folder, `${process.pid}-${threadId}.key`);
    for (const promise of [linkup.loadIdentity(file), linkup.createIdentity()])
      promise.then((identity) => room.peer('a', { identity }));
  },

  async 'a connection is open, and nothing happens'(room) {
    await room.connected();
  },

  async 'messages and numbers are asked for'(room) {
    const { here, there } = await room.connected();
    const loop = here[Symbol.asyncIterator]();
    loop.next().catch(() => {});
    await there.stats();
    here.stats().catch(() => {});
  },

  async 'messages go both ways'(room) {
    const { here, there } = await room.connected();
    await Promise.all([here, there].map((connection) => arrivals(connection, 200)));
  },

  async 'streams go both ways'(room) {
    const { here, there } = await room.connected();
    const heard = once(there, 'stream');
    const mine = here.createStream('film', { size: 2 ** 40 });
    mine.write('the first bytes');
    const [theirs] = await heard;
    const chunk = Buffer.alloc(64 * 1024);
    const full = [mine, theirs].map((stream) => {
      const write = () => {
        while (stream.write(chunk));
      };
      stream.on('drain', write).on('error', () => {});
      write();
      return new Promise((resolve) => {
        let bytes = 0;
        stream.on('data', ({ length }) => {
          bytes += length;
          if (bytes > MARK) resolve();
        });
      });
    });
    await Promise.all(full);
  },

  async 'more than the mark waits to be sent'(room) {
    await backlog(room);
  },

  async 'a connection is closing'(room) {
    const { a, b, here } = await backlog(room);
    here.close().catch(() => {});
    await a.find(b.id);
    if (here.state !== 'closing') throw new Error(`it is ${here.state}`);
  },

  async 'a peer is closing'(room) {
    const { a, b } = await backlog(room);
    // Whoever waits for its end shall see it: it holds the environment until `timeouts.close`.
    a.close().catch(() => {});
    if (!(await b.find(a.id))) throw new Error('it has closed before');
  },

  async 'the way is lost, and another one is looked for'(room) {
    const peer = room.peer('a');
    const connection = await peer.connect(room.remote.id);
    const lost = once(connection, 'reconnecting');
    process.kill(room.remote.pid, 'SIGSTOP');
    for (const promise of [connection.send('wait'), peer.find('b')]) promise.catch(() => {});
    await lost;
  },

  async 'a broker of its own asks about a registration'(room) {
    await new Promise((resolve, reject) => {
      const authorize = ({ id }) => {
        if (!id.startsWith('b')) return true;
        resolve();
        return never();
      };
      const broker = room.keep(linkup.createBroker({ port: 0, host: 'localhost', authorize }));
      broker.ready
        .then(async () => {
          const [a] = ['a', 'b'].map((name) => room.peer(name, { brokerUrl: broker.url }));
          await once(a, 'register');
        })
        .catch(reject);
    });
  },

  async 'the embedded broker serves, with messages both ways'(room) {
    room.broker = undefined;
    const { here, there } = await room.connected();
    await Promise.all([here, there].map((connection) => arrivals(connection, 20)));
  },
};

/** Sends without end, and resolves when so many messages have come. */
function arrivals(connection, count) {
  pump(connection).catch(() => {});
  return new Promise((resolve) => {
    let left = count;
    connection.on('message', () => {
      left -= 1;
      if (left === 0) resolve();
    });
  });
}

module.exports = { STATES, Room };
