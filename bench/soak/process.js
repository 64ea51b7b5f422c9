'use strict';
// One process of the soak: some peers that do by chance what peers do, until they are told to rest. It checks what it can
// see alone, and hands over the rest.
//   node --expose-gc process.js BROKER-URL

const { setTimeout: sleep } = require('node:timers/promises');
const linkup = require('../..');
const { answer } = require('../lib/child');
const { countsOfSelf } = require('../lib/proc');
const { random } = require('../../js/test/random');
const { Conversation } = require('./conversation');

const [brokerUrl] = process.argv.slice(2);
// Short, as remotes are killed all the time.
const timeouts = { connect: 10_000, idle: 3000, close: 3000, resume: 4000 };
/** What may happen where others close, abort and are killed; whatever else comes is a failure. */
const EXPECTED = new Set([
  ...['ERR_ABORTED', 'ERR_CLOSE_TIMEOUT', 'ERR_CONNECTION_CLOSED', 'ERR_CONNECTION_LOST', 'ERR_CONNECT_TIMEOUT'],
  ...['ERR_PEER_CLOSED', 'ERR_PEER_NOT_FOUND', 'ERR_ID_TAKEN'],
]);
/** Whatever takes longer hangs: all of the timeouts, and a busy machine. */
const HANGS = 60_000;
/** Lives of one peer at the same time. */
const LIVES = 2;

const failures = [];
let counts;
let reports;
let chance = random(0);
let resting = true;
let all = [];
// The keys by id: who is killed or replaced comes back as the same.
let identities = {};
/** The peers of a round by id, the conversations by connection. */
const peers = new Map();
const conversations = new Map();
let anchor;
let lives = [];

/** Something is wrong; `error` is linkup's that says so, if there is one. */
function fail(what, error) {
  const text = `${what}${error ? `: ${error.stack}` : ''}`.split('\n').slice(0, 6).join('\n');
  if (failures.length < 20) failures.push({ text, code: error?.code, peerId: error?.peerId });
}

process.on('uncaughtException', (error) => fail('uncaught', error));
const below = (n) => Math.floor(chance() * n);
const pick = (list) => list[below(list.length)];

function allowed(error) {
  counts[error.code] = (counts[error.code] ?? 0) + 1;
  return EXPECTED.has(error.code) && error instanceof linkup.LinkupError;
}

const on = {
  failed: fail,
  allowed,
  message: () => {
    counts.messages += 1;
  },
  bytes: (n) => {
    counts.streamed += n;
  },
  over: (conversation, report) => {
    conversations.delete(conversation.connection);
    reports.push(report);
  },
};

function conversationOf(connection, peer) {
  let conversation = conversations.get(connection);
  if (!conversation) {
    conversation = new Conversation(connection, peer.id, on);
    conversations.set(connection, conversation);
    counts.connections += 1;
  }
  return conversation;
}

function create(id) {
  const peer = linkup.createPeer(id, { brokerUrl, timeouts, identity: identities[id] });
  peer.on('connection', (connection) => conversationOf(connection, peer));
  peer.on('message', ({ from, message }) => {
    // A call that was given up here may have come up all the same, when nobody waited for it any more.
    const connection = peer.connections.get(from);
    if (!conversations.has(connection)) conversationOf(connection, peer).hear(message);
  });
  peer.on('error', (error) => allowed(error) || fail(id, error));
  peers.set(id, peer);
  return peer;
}

const ACTIONS = {
  /** Some messages to somebody, perhaps a call that is given up; perhaps the last one is waited for. */
  async talk(peer) {
    const signal = chance() < 0.1 ? AbortSignal.timeout(below(20)) : undefined;
    const connection = await peer.connect(pick(all.filter((id) => id !== peer.id)), { signal });
    const conversation = conversationOf(connection, peer);
    for (let left = below(30); left > 0 && conversation.open; left--) {
      const size = chance() < 0.05 ? below(300_000) : below(300);
      await conversation.send(size, chance() < 0.3);
    }
    if (conversation.open && chance() < 0.3) {
      const signal = chance() < 0.3 ? AbortSignal.timeout(below(5)) : undefined;
      await conversation.send(100, false, { ack: true, signal });
    }
  },

  async stream(peer) {
    const conversation = open(peer);
    if (conversation) await conversation.stream(1 + below(600_000), chance() < 0.2);
  },

  /** Reads in a loop; nobody waits for it, as perhaps nothing comes. */
  async loop(peer) {
    const slow = open(peer)?.loop(below(50), () => sleep(below(3)));
    slow?.catch((error) => allowed(error) || fail('loop', error));
  },

  async close(peer) {
    const conversation = open(peer);
    if (conversation)
      await (chance() < 0.5 ? conversation.connection.close() : peer.disconnect(conversation.connection.id));
  },

  async ask(peer) {
    await peer.find(pick(all));
    await open(peer)?.connection.stats();
  },

  /** The peer ends, and another one has its id. */
  async replace(peer) {
    for (const connection of peer.connections.values()) conversations.get(connection)?.note('its peer is closed');
    await peer.close().finally(() => {
      if (!resting && peers.get(peer.id) === peer) create(peer.id);
    });
  },
};

const CHOICES = Object.entries({ talk: 50, stream: 15, loop: 5, close: 10, ask: 5, replace: 2 }).flatMap(
  ([name, weight]) => Array.from({ length: weight }, () => name),
);

/** An open conversation of the peer. */
function open(peer) {
  const connection = pick([...peer.connections.values()].filter(({ state }) => state === 'open'));
  return connection && conversationOf(connection, peer);
}

/** What a peer with that id does, until it is to rest. */
async function live(id) {
  while (!resting) {
    const name = pick(CHOICES);
    counts.actions += 1;
    const hangs = setTimeout(() => fail(`${id}: ${name} hangs`), HANGS);
    try {
      await ACTIONS[name](peers.get(id));
    } catch (error) {
      if (!allowed(error)) fail(`${id}: ${name}`, error);
    }
    clearTimeout(hangs);
    await sleep(below(20));
  }
}

/** A conversation that lasts as long as the soak: `id` calls `to`, where it is to. */
async function hold({ id, to }) {
  const peer = linkup.createPeer(id, { brokerUrl });
  peer.on('error', (error) => fail(id, error));
  await new Promise((resolve) => peer.once('register', resolve));
  anchor = { peer };
  const held = (connection) => {
    anchor.conversation = new Conversation(connection, id, { ...on, over: (_, report) => anchor.over(report) });
    anchor.ended = new Promise((resolve) => {
      anchor.over = resolve;
    });
    anchor.chatting = chat(anchor.conversation);
  };
  if (to) held(await peer.connect(to));
  else peer.on('connection', held);
}

async function chat(conversation) {
  while (!['closing', 'closed'].includes(conversation.connection.state)) {
    await conversation.send(below(1000), chance() < 0.5, { ack: true });
    await sleep(below(50));
  }
}

/** What the process uses when everything has ended: no more than `bound`, where there is one, or what it is after a while. */
async function settled(bound) {
  for (const end = performance.now() + 12_000; ; await sleep(20)) {
    const used = countsOfSelf();
    const low = !bound || (used.threads <= bound.threads && used.files <= bound.files);
    if ((low && conversations.size === 0) || performance.now() > end) return used;
  }
}

const take = () => {
  const taken = { counts, reports, failures: failures.splice(0) };
  reports = [];
  counts = { actions: 0, connections: 0, messages: 0, streamed: 0 };
  return taken;
};
take();

answer({
  hold,

  begin({ ids, everybody, seed }) {
    chance = random(seed);
    all = Object.keys(everybody);
    identities = everybody;
    resting = false;
    for (const id of ids) create(id);
    lives = ids.flatMap((id) => Array.from({ length: LIVES }, () => live(id)));
  },

  sample: () => ({ ...countsOfSelf(), rss: process.memoryUsage.rss() }),

  /** Closes everything but the anchor, and tells what there was and what is left. */
  async rest({ bound }) {
    resting = true;
    const closing = [...peers.values()].map((peer) =>
      peer.close().catch((error) => allowed(error) || fail('close', error)),
    );
    await Promise.all([...lives, ...closing]);
    peers.clear();
    const used = await settled(bound);
    if (conversations.size > 0) fail(`${conversations.size} connections of closed peers have not closed`);
    global.gc();
    const { rss, heapUsed } = process.memoryUsage();
    return { ...take(), used: { ...used, rss, heap: heapUsed } };
  },

  /** Ends the conversation that lasted. */
  async letGo() {
    const { conversation, peer } = anchor;
    await conversation.connection.close();
    const report = await anchor.ended;
    await peer.close();
    return { report, failures: failures.splice(0) };
  },

  exit: () => process.exit(0),
});
