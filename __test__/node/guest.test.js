// A guest in the process: in whatever state linkup is, its host may end in whatever way, at once and with the exit code that
// it would have without linkup. guest-states.js has the states, guest.js is the host.
'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { test, before, after } = require('node:test');
const { loopback, node, script, startBroker, within } = require('./helpers');
const { STATES } = require('./guest-states');

const GUEST = path.join(__dirname, 'guest.js');
// Processes at the same time.
const TOGETHER = 4;
// What may pass between the end and the process's: on a busy machine, too.
const SOON = 3000;
// A peer that closes holds its host until `timeouts.close`.
const CLOSING = 5000;

const EMBEDDED = 'the embedded broker serves, with messages both ways';
const SLOW = 'a peer is closing';
const LOST = 'the way is lost, and another one is looked for';

let broker;
let folder;
before(async () => {
  broker = await startBroker();
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-guest-'));
});
after(async () => {
  await broker.close();
  fs.rmSync(folder, { recursive: true });
});

/** A peer in a process of its own, which a guest stops: `{id, pid}`. */
async function remoteFor(name) {
  const child = script(
    `linkup.createPeer(process.argv[1], { brokerUrl: process.env.BROKER }).on('register', () => console.log('registered'));`,
    { env: { BROKER: broker.url }, args: [name] },
  );
  await child.line('registered');
  return { id: name, pid: child.process.pid, kill: () => child.kill() };
}

/** Runs `use` with what a guest of that kind needs around it. */
async function surrounded({ state, end }, use) {
  if (state === EMBEDDED) {
    const net = loopback();
    try {
      return await use({ folder }, net.run);
    } finally {
      net.remove();
    }
  }
  const remote = state === LOST ? await remoteFor(`remote-${end}`) : undefined;
  try {
    return await use({ folder, broker: broker.url, remote: remote && { id: remote.id, pid: remote.pid } }, node);
  } finally {
    await remote?.kill();
  }
}

const boundOf = ({ state, end }) => SOON + (state === SLOW && end === 'natural' ? CLOSING : 0);
// Those that take seconds first: the others go on meanwhile.
const ORDER = [LOST, SLOW, ...Object.keys(STATES).filter((state) => state !== LOST && state !== SLOW)];

/** Ends a process in that state: what was wrong with how it ended. */
function endProcess(cell, expected) {
  return surrounded(cell, async (surroundings, run) => {
    const child = run([GUEST, JSON.stringify({ ...cell, ...surroundings })]);
    await child.line('reached', 30_000);
    const start = performance.now();
    if (cell.end === 'signal') child.process.kill('SIGTERM');
    const { code, signal, output } = await within(child.exited, 30_000, `end of ${JSON.stringify(cell)}`);
    const ms = performance.now() - start;
    const [wantedCode, wantedSignal, printed] = expected;
    if (code !== wantedCode || signal !== wantedSignal || !printed.test(output) || ms > boundOf(cell))
      return [{ ...cell, code, signal, ms, output }];
    return [];
  });
}

/** All of `items`, a few at a time. */
async function each(items, work) {
  const waiting = [...items];
  const results = [];
  const line = async () => {
    while (waiting.length > 0) results.push(...(await work(waiting.shift())));
  };
  await Promise.all(Array.from({ length: TOGETHER }, line));
  return results;
}

for (const [end, what, expected] of [
  ['exit', 'process.exit(7)', [7, null, /^reached\n$/]],
  ['throw', 'an uncaught exception', [1, null, /^reached\n(.*\n)*Error: mine/]],
  ['signal', 'SIGTERM', [null, 'SIGTERM', /^reached\n$/]],
  ['natural', 'nothing left to do', [0, null, /^reached\n$/]],
]) {
  test(`a process ends by ${what} in every state`, async () => {
    const cells = ORDER.map((state) => ({ state, end }));
    assert.deepEqual(await each(cells, (cell) => endProcess(cell, expected)), []);
  });
}

const WORKER_ENDS = {
  terminate: { code: 1, error: undefined },
  exit: { code: 7, error: undefined },
  throw: { code: 1, error: 'mine' },
  natural: { code: 0, error: undefined },
};

/** Ends workers in those states, all in one process; fails where one or the process itself did not end well. */
async function endWorkers(cells, run, surroundings) {
  const child = run([GUEST, JSON.stringify(cells.map((cell) => ({ ...cell, ...surroundings(cell) })))]);
  const { code, signal, output } = await within(child.exited, 120_000, () => `the workers\n${child.output}`);
  assert.deepEqual([code, signal], [0, null], output);
  assert.match(output, /all ended/);
  const ended = child.lines.filter((line) => line.startsWith('ended: ')).map((line) => JSON.parse(line.slice(7)));
  assert.equal(ended.length, cells.length, output);
  const wrong = ended.filter((worker) => {
    const { code, error } = WORKER_ENDS[worker.end];
    return !worker.reached || worker.code !== code || worker.error !== error || worker.ms > boundOf(worker);
  });
  assert.deepEqual(wrong, []);
}

test('a worker ends in every way in every state, and the others go on', async () => {
  const states = ORDER.filter((state) => state !== EMBEDDED);
  const cells = states.flatMap((state) => Object.keys(WORKER_ENDS).map((end) => ({ state, end })));
  const remotes = new Map();
  try {
    for (const end of Object.keys(WORKER_ENDS)) remotes.set(end, await remoteFor(`worker-remote-${end}`));
    await endWorkers(cells, node, ({ state, end }) => {
      const { id, pid } = remotes.get(end);
      return { folder, broker: broker.url, remote: state === LOST ? { id, pid } : undefined };
    });
  } finally {
    for (const remote of remotes.values()) await remote.kill();
  }
});

test('a worker ends in every way as the owner of the embedded broker', async () => {
  const net = loopback();
  try {
    const cells = Object.keys(WORKER_ENDS).map((end) => ({ state: EMBEDDED, end }));
    await endWorkers(cells, net.run, () => ({ folder }));
  } finally {
    net.remove();
  }
});
