'use strict';
// The engine of Node.js: the addon's functions, and what js/ needs of Node.js itself. The one file that knows them.

const { MessageChannel } = require('node:worker_threads');
const { addon } = require('./addon');
const { createIdentity, isPair, loadIdentity } = require('./identity-native');
const { streamDuplex } = require('./stream-native');

const native = addon(() => require('../binding.js'));

// Node.js ends a process that waits for nothing but the addon: a timer of 24.8 days holds it.
const LONGEST = 2 ** 31 - 1;
let held = 0;
let timer;

/** Counts who keeps the process alive. */
function hold(change) {
  held += change;
  if (held > 0) timer ??= setInterval(() => {}, LONGEST);
  else timer = clearInterval(timer);
}

let bell;
let due;

/**
 * Runs `next` after a full turn of the event loop. Where nobody holds the process, an immediate would: messages that come without
 * end must not keep it. There a port wakes the loop, if something else keeps it going.
 */
function turn(next) {
  if (held > 0) return setImmediate(next);
  due = next;
  bell ??= makeBell();
  return bell.postMessage(null);
}

function makeBell() {
  const { port1, port2 } = new MessageChannel();
  // An immediate in between: a port would take its own next message in the same turn.
  port1.on('message', () => setImmediate(due).unref()).unref();
  return port2;
}

/** A function that runs `next` when all promises and ticks that are due have had their turn. */
function pause(next) {
  // A tick made inside a promise's job runs after all the other jobs, however many awaits those go through.
  const tick = () => process.nextTick(next);
  return () => queueMicrotask(tick);
}

function warn(message, code) {
  process.emitWarning(message, { type: 'LinkupWarning', code });
}

/** Where no broker is given. */
function defaultBroker() {
  const url = process.env.LINKUP_BROKER_URL;
  if (url) return { url, embedded: false, name: 'LINKUP_BROKER_URL' };
  return { url: 'ws://localhost:5000', embedded: true };
}

/** `options.identity.oidc`, where it is what oidc() of linkup/oidc takes. */
function oidc(options) {
  return require('../dist/oidc.cjs').oidc(options);
}

/** Options travel as JSON, and so does what events say. */
const createPeer = (mailbox, options) => native.createPeer(mailbox, JSON.stringify(options));
const { parse } = JSON;

module.exports = {
  ...native,
  createPeer,
  createIdentity,
  loadIdentity,
  isPair,
  oidc,
  parse,
  hold,
  pause,
  turn,
  warn,
  defaultBroker,
  stream: streamDuplex,
};
