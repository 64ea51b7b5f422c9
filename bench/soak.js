// `npm run soak`: peers in several processes connect, send, close, abort and are killed by chance for an hour. Every
// message must arrive once and in order, nothing may hang, and memory, threads and files must stay as they are.
//
//   npm run soak -- --minutes 10 --processes 4 --seed 1
'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { parseArgs } = require('node:util');
const fs = require('node:fs');
const path = require('node:path');
const { createIdentity } = require('..');
const { Child } = require('./lib/child');
const { residentOf } = require('./lib/proc');
const { random } = require('../js/test/random');
const { linkupServer, startServer } = require('./lib/servers');
const { format } = require('./lib/table');
const { disagreements, growing } = require('./soak/judge');

const PROCESS = path.join(__dirname, 'soak/process.js');
const ROOT = path.join(__dirname, '..');
const HELP = `Lets peers connect, send, close, abort and die by chance, and fails where a message is lost or something grows.

  npm run soak -- [options]

  --minutes N     how long; 60 as a rule
  --processes N   processes with peers, half of which are killed again and again; 4 as a rule
  --seed N        what chance begins with; any number as a rule`;

const PEERS = 3;
const SAMPLE = 10_000;
/** Rounds end with a rest, at which everything must be as it was: often enough for three thirds. */
const ROUND = { least: 1500, most: 60_000, count: 20 };

/** Ms that a process lives until it is killed, where the round is that long: in each round one is. */
const LIVES = { least: 500, most: 4000 };
const MIB = 2 ** 20;

function options() {
  const fail = (why) => {
    console.error(`${why}\n\n${HELP}`);
    process.exit(2);
  };
  const number = { type: 'string' };
  try {
    const { values } = parseArgs({
      options: { minutes: number, processes: number, seed: number, help: { type: 'boolean', default: false } },
    });
    if (values.help) {
      console.log(HELP);
      process.exit(0);
    }
    const chosen = { minutes: 60, processes: 4, seed: Math.floor(Math.random() * 2 ** 32) };
    for (const name of Object.keys(chosen)) if (values[name] !== undefined) chosen[name] = Number(values[name]);
    if (!(chosen.minutes > 0)) fail('--minutes is a number above 0');
    if (!Number.isInteger(chosen.processes) || chosen.processes < 2) fail('--processes is a whole number from 2');
    if (!Number.isInteger(chosen.seed)) fail('--seed is a whole number');
    return chosen;
  } catch (error) {
    return fail(error.message);
  }
}

/** A process with peers; those that are not to stay are killed and started again. */
class Party {
  /** Its measurements at rest. */
  rests = [];

  constructor(soak, name, stays) {
    Object.assign(this, { soak, name, stays });
    this.ids = Array.from({ length: PEERS }, (_, n) => `${name}-${n}`);
    this.start();
  }

  start() {
    this.child = new Child(process.execPath, ['--expose-gc', PROCESS, this.soak.url], { limit: this.soak.limit });
  }

  begin() {
    const { everybody, chance } = this.soak;
    return this.child.ask('begin', { ids: this.ids, everybody, seed: Math.floor(chance() * 2 ** 32) });
  }

  /** Ends at once, in one way or the other, and is there again. */
  async die() {
    this.soak.killed.add(this.name);
    this.soak.totals.kills += 1;
    if (this.soak.chance() < 0.3) this.child.ask('exit').catch(() => {});
    else this.child.process.kill('SIGKILL');
    await this.child.exited;
    this.start();
    await this.begin();
  }

  async rest() {
    const { used, counts, reports, failures } = await this.child.ask('rest', { bound: this.bound });
    this.rests.push(used);
    for (const failure of failures) this.soak.fail(this.name, failure);
    for (const [what, count] of Object.entries(counts)) this.soak.totals[what] = (this.soak.totals[what] ?? 0) + count;
    return reports;
  }
}

class Soak {
  failures = [];
  totals = { kills: 0 };
  brokerRests = [];

  constructor({ minutes, processes, seed }) {
    this.chance = random(seed);
    this.ms = minutes * 60_000;
    this.limit = this.ms * 3 + 300_000;
    this.round = Math.min(ROUND.most, Math.max(ROUND.least, this.ms / ROUND.count));
    this.staying = Math.max(1, Math.ceil(processes / 2));
    this.leaving = processes - this.staying;
  }

  async run() {
    this.broker = await startServer(linkupServer(ROOT), { limit: this.limit });
    this.url = this.broker.url;
    const party = (kind, count, stays) =>
      Array.from({ length: count }, (_, n) => new Party(this, `${kind}${n}`, stays));
    this.parties = [];
    this.parties = [...party('stays', this.staying, true), ...party('leaves', this.leaving, false)];
    const ids = this.parties.flatMap((one) => one.ids);
    const identities = await Promise.all(ids.map(() => createIdentity()));
    this.everybody = Object.fromEntries(ids.map((id, n) => [id, identities[n]]));
    try {
      await this.anchor();
      for (const party of this.parties.filter(({ stays }) => stays)) party.bound = await party.child.ask('sample');
      const start = performance.now();
      this.started = start;
      const sampling = this.sampleUntil(start + this.ms);
      while (performance.now() < start + this.ms && this.failures.length === 0) await this.oneRound();
      this.over = true;
      await sampling;
      await this.letGo();
    } finally {
      await Promise.all([this.broker.child, ...this.parties.map(({ child }) => child)].map((child) => child.kill()));
    }
  }

  fail(name, { text, code, peerId }) {
    // Who is killed while two sides agree on encryption is taken for one who cannot.
    if (code === 'ERR_PROTOCOL' && this.wasKilled(peerId)) return;
    this.failures.push(`${name}: ${text}`);
  }

  /** Whether the process of the peer with that id was killed in this round. */
  wasKilled(id) {
    return this.killed.has(id?.split('-')[0]);
  }

  /** A connection that is there all the time, between the first two processes that stay. */
  async anchor() {
    this.anchored = this.parties.filter(({ stays }) => stays).slice(0, 2);
    if (this.anchored.length < 2) this.anchored = [];
    const [called, caller] = this.anchored;
    await called?.child.ask('hold', { id: 'anchor-called' });
    await caller?.child.ask('hold', { id: 'anchor-calls', to: 'anchor-called' });
  }

  async letGo() {
    const [called, caller] = this.anchored;
    if (!caller) return;
    const ends = await Promise.all([caller.child.ask('letGo'), called.child.ask('letGo')]);
    for (const { failures } of ends) for (const failure of failures) this.fail('anchor', failure);
    const reports = ends.map(({ report }) => report);
    this.failures.push(...disagreements(reports, () => false));
    for (const { id, code } of reports)
      if (code !== null) this.failures.push(`${id}: the connection ended with ${code}`);
    this.totals.anchored = reports.reduce((sum, { received }) => sum + received, 0);
  }

  async oneRound() {
    this.killed = new Set();
    const leaving = this.parties.filter(({ stays }) => !stays);
    const end = performance.now() + this.round;
    await Promise.all(this.parties.map((party) => party.begin()));
    for (;;) {
      // Every few seconds one dies; the next one only when that one is back.
      const pause = LIVES.least + this.chance() * Math.min(LIVES.most, this.round - 2 * LIVES.least);
      await sleep(Math.max(0, Math.min(end - performance.now(), pause)));
      if (performance.now() >= end) break;
      await leaving[Math.floor(this.chance() * leaving.length)]?.die();
    }
    const reports = (await Promise.all(this.parties.map((party) => party.rest()))).flat();
    this.failures.push(...disagreements(reports, (id) => this.wasKilled(id)));
    this.brokerRests.push(this.brokerUses());
  }

  brokerUses() {
    const { pid } = this.broker.child;
    const count = (folder) => fs.readdirSync(`/proc/${pid}/${folder}`).length;
    return { threads: count('task'), files: count('fd'), rss: residentOf(pid) };
  }

  /** A line each 10 s: what those that stay use, and the broker. */
  async sampleUntil(end) {
    const staying = this.parties.filter(({ stays }) => stays);
    console.log(line(['s', ...staying.map(({ name }) => name), 'broker', 'messages', 'connections', 'kills']));
    while (!this.over && performance.now() < end) {
      const uses = await Promise.all(staying.map(({ child }) => child.ask('sample')));
      const { messages = 0, connections = 0, kills } = this.totals;
      const seconds = (performance.now() - this.started) / 1000;
      console.log(line([format(seconds, 0), ...[...uses, this.brokerUses()].map(text), messages, connections, kills]));
      await sleep(Math.min(SAMPLE, Math.max(0, end - performance.now())));
    }
  }

  verdict() {
    const staying = this.parties.filter(({ stays }) => stays);
    const measured = [...staying.map(({ name, rests }) => [name, rests]), ['broker', this.brokerRests]];
    console.log('\nat rest, after the first round, in the middle and in the end:');
    for (const [name, rests] of measured)
      console.log(line([name, ...[rests[0], rests[rests.length >> 1], rests.at(-1)].map(text)]));
    const totals = Object.entries(this.totals).map(([what, count]) => `${format(count, 0)} ${what}`);
    console.log(`\n${totals.join(', ')}`);
    return [...this.failures, ...measured.flatMap(([name, rests]) => growing(name, rests, this.ms))];
  }
}

const text = ({ rss, threads, files }) => `${format(rss / MIB, 1)} MiB ${threads} threads ${files} files`;
const line = (cells) => `| ${cells.map((cell) => String(cell).padStart(6)).join(' | ')} |`;

async function main() {
  const chosen = options();
  console.log(`npm run soak -- --minutes ${chosen.minutes} --processes ${chosen.processes} --seed ${chosen.seed}\n`);
  const soak = new Soak(chosen);
  await soak.run();
  const failures = soak.verdict();
  for (const failure of failures.slice(0, 50)) console.error(`FAILED: ${failure}`);
  console.log(failures.length === 0 ? '\nall well' : `\n${failures.length} failures`);
  process.exitCode = failures.length === 0 ? 0 : 1;
}

main().catch((error) => {
  console.error(error, error?.cause ?? '');
  process.exit(1);
});
