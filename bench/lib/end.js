'use strict';
// One process of a pair: loads a contender and does with its connections what the works ask for.
//   node end.js CONTENDER caller|called BROKER-URL

const { setImmediate: turn } = require('node:timers/promises');
const { answer } = require('./child');
const { bulk, small, SIZES } = require('./payloads');
const { countsOfSelf } = require('./proc');
const { quantile } = require('./statistics');

const [name, role, broker] = process.argv.slice(2);
const contender = require(`../contenders/${name}.js`);

// A sender that never has to wait still lets its process do other things, after so many ms.
const BURST = 5;

/** The ends by number, each `{end, channel, hear}`; the works other than W1 and W5 use number 0. */
const ends = new Map();
let bytes = 0;
let onMessage = (size) => {
  bytes += size;
};

const say = answer(
  {
    /** Makes ready to connect, which is not measured: for linkup, both peers register. */
    async prepare({ n }) {
      const signalling = { send: (data) => say({ n, data }), hear: undefined };
      const end = await contender.prepare({ role, n, broker, signalling, receive: (size) => onMessage(size) });
      ends.set(n, { end, signalling });
    },

    /** Connects; ms until messages can flow. */
    async connect({ n }) {
      const entry = ends.get(n);
      const start = performance.now();
      entry.channel = await entry.end.connect();
      return performance.now() - start;
    },

    close({ n }) {
      ends.get(n).end.close();
      ends.delete(n);
    },

    /** Sends messages of a kind from now on, as fast as the contender takes them. Returns what is to be noted. */
    async flood({ kind }) {
      const { channel } = ends.get(0);
      const { payload, note } = await payloadOf(kind, channel);
      flood(channel, payload).catch((error) => {
        console.error(error);
        process.exit(1);
      });
      return note;
    },

    /** Answers each message with one of the same size. */
    async echo() {
      const { channel } = ends.get(0);
      const { payload } = await payloadOf('small', channel);
      onMessage = () => channel.send(payload);
    },

    /** Sends a message, waits for the answer, and so on: quantiles of the round trips in microseconds. */
    async pingpong({ warm, window }) {
      const { channel } = ends.get(0);
      const { payload } = await payloadOf('small', channel);
      await trips(channel, payload, warm);
      const times = await trips(channel, payload, window);
      return { p50: quantile(times, 0.5) * 1000, p95: quantile(times, 0.95) * 1000, count: times.length };
    },

    /** What this process has received and used until now. */
    sample({ collect = false }) {
      if (collect) global.gc();
      const { user, system } = process.cpuUsage();
      return { at: performance.now(), bytes, cpu: user + system, rss: process.memoryUsage.rss(), ...countsOfSelf() };
    },
  },
  ({ n, data }) => ends.get(n)?.signalling.hear(data),
);

/** What to send. A contender that takes objects gets one, the others its text. */
async function payloadOf(kind, channel) {
  if (kind === 'small') return { payload: contender.objects ? JSON.parse(small) : small };
  const instead = await channel.instead?.(bulk);
  return instead ?? { payload: bulk };
}

async function flood(channel, payload) {
  for (let i = 0, since = performance.now(); ; i++) {
    const wait = channel.send(payload);
    if (wait !== undefined) await wait;
    // To look at the clock at each message would be part of what is measured.
    if (i % 16 === 0 && performance.now() - since > BURST) {
      await turn();
      since = performance.now();
    }
  }
}

/** Round trips for so many ms: the ms that each took. */
async function trips(channel, payload, window) {
  const times = [];
  let got;
  let heard = 0;
  // Some contenders hand a message over in parts.
  onMessage = (size) => {
    heard += size;
    if (heard < SIZES.small) return;
    heard = 0;
    got();
  };
  for (const end = performance.now() + window; performance.now() < end; ) {
    const start = performance.now();
    const back = new Promise((resolve) => {
      got = resolve;
    });
    channel.send(payload);
    await back;
    times.push(performance.now() - start);
  }
  return times;
}
