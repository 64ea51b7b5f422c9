'use strict';
// Asks the broker, the STUN and the TURN servers, all within a time. Says what it finds as data; verdict.js knows what it means.

const { randomUUID } = require('node:crypto');
const { setTimeout } = require('node:timers/promises');
const engine = require('../../js/engine-native');
const { linkup } = require('../../js/linkup');
const { lookAt } = require('./nat');
const { meet, reach } = require('./relay');
const { serversOf, udpAddresses } = require('./servers');

/** Milliseconds after which nothing more is waited for, and no relay. */
const [TOTAL, RELAYS] = [9000, 8700];

/** Milliseconds for the TURN servers, before it is tried without: a peer takes four seconds until it gives up the search. */
const WAYS = 3500;

/** Milliseconds for the broker's socket, for one question to it, and for the end of all peers. */
const [BROKER, ANSWER, END] = [4000, 1500, 800];

/** Servers that are tried as relays: each makes two peers. */
const MOST_RELAYS = 8;

/** `promise` or, after `ms`, undefined. */
const inTime = (promise, ms) => Promise.race([promise, setTimeout(ms, undefined, { ref: false })]);

/**
 * Examines a broker and the servers that it names.
 *
 * @param {{url: string, token?: string}} broker
 * @returns {Promise<{broker: object, servers?: object[], withoutPath?: object, nat: object}>} `broker`: {url, register, answer},
 *   milliseconds, or {url, code, reason}; `servers`: those that it names, with `reach` and `relay` (relay.js); `withoutPath`: the
 *   same of two peers without any path, where no server relays; `nat`: by family 4 and 6 (nat.js), whose kind is 'unfinished' where it is not
 *   known in time. What else is not known in time is undefined
 */
async function examine({ url, token }) {
  const { hub, api } = linkup(engine);
  const found = { broker: { url }, servers: undefined, withoutPath: undefined, nat: {} };
  const signal = AbortSignal.timeout(RELAYS);
  const peers = [];

  /** A peer that is registered; rejects with why it is not. */
  async function register(options = {}) {
    const timeouts = { broker: BROKER, connect: TOTAL };
    const peer = api.createPeer(`doctor-${randomUUID()}`, { brokerUrl: url, token, timeouts, ...options });
    peers.push(peer);
    await new Promise((resolve, reject) => {
      peer.on('register', resolve);
      peer.on('error', reject);
      peer.on('offline', ({ reason }) => reject(Object.assign(new Error(reason), { code: 'ERR_BROKER_UNREACHABLE' })));
    });
    return peer;
  }

  async function lookup(name, ms) {
    return (
      (await inTime(
        hub.ask(undefined, undefined, (token) => engine.lookup(hub.mailbox, token, name)),
        ms,
      )) ?? []
    );
  }

  async function tryRelays() {
    const relays = found.servers.filter((server) => server.scheme?.startsWith('turn') && server.addresses.length);
    await Promise.all(
      relays.slice(0, MOST_RELAYS).map(async (server) => {
        const { url, username, credential } = server;
        server.reach = await reach(server);
        if (!server.reach.reached) return;
        const options = { iceServers: [{ urls: url, username, credential }], iceTransportPolicy: 'relay' };
        server.relay = await meet(() => register(options), signal);
      }),
    );
  }

  /** Whether two peers meet that tell each other no address: as where there is neither a direct path nor a relay. */
  async function tryWithoutPath() {
    const sdpTransform = (sdp) => sdp.replace(/^a=candidate:.*\r?\n/gm, '');
    const simplePeer = { trickle: false, iceCompleteTimeout: 1, sdpTransform };
    found.withoutPath = await meet(() => register({ simplePeer }), signal);
  }

  async function tryWays() {
    await inTime(tryRelays(), WAYS);
    if (!found.servers.some(({ relay }) => relay?.path === 'turn')) await tryWithoutPath();
  }

  async function look(family) {
    const addresses = udpAddresses(found.servers, family);
    if (addresses.length === 0) return;
    found.nat[family] = { kind: 'unfinished', answers: [] };
    found.nat[family] = await lookAt(family, addresses);
  }

  async function run() {
    const start = performance.now();
    const since = (start) => Math.round(performance.now() - start);
    let peer;
    try {
      peer = await register();
    } catch ({ code, message }) {
      found.broker = { url, code, reason: message };
      return;
    }
    found.broker.register = since(start);
    const asked = performance.now();
    if (await inTime(peer.find(peer.id), ANSWER)) found.broker.answer = since(asked);
    const [handle] = [...hub.peers].find(([, core]) => core.peer === peer);
    const list = await inTime(
      hub.ask(undefined, undefined, (token) => engine.iceServers(handle, token)),
      ANSWER,
    );
    if (!list) return;
    found.servers = await serversOf(list, lookup);
    await Promise.all([look(4), look(6), tryWays()]);
  }

  try {
    await inTime(run(), TOTAL);
    return found;
  } finally {
    // They give their relayed addresses back.
    await inTime(Promise.allSettled(peers.map((peer) => peer.close())), END);
  }
}

module.exports = { examine };
