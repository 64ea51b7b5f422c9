'use strict';
// The engine of Node.js: the addon's functions, and what js/ needs of Node.js itself. The one file that knows them.

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
  turn: setImmediate,
  warn,
  defaultBroker,
  stream: streamDuplex,
};
