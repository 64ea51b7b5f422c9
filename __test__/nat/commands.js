'use strict';
// What a peer in the laboratory can be told to do, in Node.js and in a page: see peer.js. Touches neither.

/** Milliseconds between two numbers. */
const PACE = 5;

/** `say(what, about)` hears what happens. */
function commandsOf(linkup, id, options, say) {
  const peer = linkup.createPeer(id, options);
  let timer;
  let sent = 0;
  let received = 0;

  /** Says what comes. Numbers must come one after the other. */
  function follow(connection) {
    connection.on('close', ({ code }) => say('ended', { peer: connection.id, code, at: Date.now() }));
    for (const event of ['reconnecting', 'reconnected']) {
      connection.on(event, () => say(event, { peer: connection.id, path: connection.path, at: Date.now() }));
    }
    connection.on('message', async (message) => {
      if (message === 'hello') {
        say('heard', { path: connection.path });
        await connection.send('hello yourself');
      } else if (message.number !== undefined) {
        if (message.number !== received++) say('disorder', { number: message.number, expected: received - 1 });
        if (message.number === 0) say('flooded');
        if (message.last) say('complete', { count: received });
      }
    });
  }

  const commands = {
    async connect(to) {
      const start = performance.now();
      const connection = await peer.connect(to);
      const ms = Math.round(performance.now() - start);
      follow(connection);
      const answer = new Promise((resolve) => {
        connection.on('message', (message) => message === 'hello yourself' && resolve());
      });
      await connection.send('hello');
      await answer;
      const { path, localCandidate, remoteCandidate } = await connection.stats();
      const pair = [localCandidate, remoteCandidate].map(({ type, address }) => `${type} ${address}`).join(' - ');
      say('answered', { path: connection.path, ms, pair, measured: path });
    },
    async relayed(to) {
      while ((await peer.connections.get(to).stats()).path !== 'turn')
        await new Promise((resolve) => setTimeout(resolve, 50));
      say('relayed');
    },
    flood(to, pace = PACE) {
      const connection = peer.connections.get(to);
      say('flooding');
      timer = setInterval(
        () => connection.send({ number: sent++ }).catch(({ code }) => say('refused', { code })),
        pace,
      );
    },
    async stop(to) {
      clearInterval(timer);
      await peer.send(to, { number: sent++, last: true }, { ack: true });
      say('stopped', { count: sent });
    },
    async alive(to) {
      await peer.send(to, 'alive', { ack: true });
      say('alive', { at: Date.now() });
    },
    async path(to, path) {
      while (peer.connections.get(to).path !== path) await new Promise((resolve) => setTimeout(resolve, 50));
      say('path');
    },
    async close(to) {
      await peer.disconnect(to);
      say('closed');
    },
  };

  peer.on('register', () => say('registered'));
  peer.on('connection', follow);
  return commands;
}

globalThis.commandsOf = commandsOf;
if (typeof module !== 'undefined') module.exports = { commandsOf };
