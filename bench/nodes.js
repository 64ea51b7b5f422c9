// `npm run bench:nodes -- --nodes 3 --sockets 50000`: how brokers that share a Redis carry many sockets. A process has as
// many descriptors as `ulimit -n` says: give it enough nodes.
'use strict';

const http = require('node:http');
const net = require('node:net');
const path = require('node:path');
const { once } = require('node:events');
const { setTimeout: sleep } = require('node:timers/promises');
const { parseArgs } = require('node:util');
const tools = require('../scripts/tools');
const { Child } = require('./lib/child');
const { buildLoad, flood, startLoad } = require('./lib/load');
const { cpuOf, residentOf } = require('./lib/proc');
const { startServer } = require('./lib/servers');

const BROKER = path.join(tools.root, 'target/release/linkup-broker');
const LIMIT = 900_000;
/** Sockets of one load: it has descriptors, too. */
const PER_LOAD = 18_000;
const RATE = 2000;

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '2' },
    sockets: { type: 'string', default: '10000' },
    seconds: { type: 'string', default: '10' },
  },
});
const [nodes, sockets, seconds] = [values.nodes, values.sockets, values.seconds].map(Number);

async function startRedis() {
  const free = net.createServer().listen(0, '127.0.0.1');
  await once(free, 'listening');
  const port = String(free.address().port);
  free.close();
  const args = ['--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
  const redis = new Child('redis-server', args, { limit: LIMIT });
  await redis.prints(/ready to accept connections/i);
  return { redis, url: `redis://127.0.0.1:${port}` };
}

function startNode(redis) {
  const shared = redis ? ['--redis', redis.url, '--redis-lease', '30'] : [];
  return startServer([BROKER, '--log', 'warn', '--no-turn', ...shared], { limit: LIMIT });
}

/** Resolves when it gives ids: a new Redis has none for a lease. */
async function ready({ url }) {
  for (;;) {
    const [response] = await once(http.get(`${url.replace('ws:', 'http:')}/readyz`), 'response');
    response.resume();
    if (response.statusCode === 200) return;
    await sleep(200);
  }
}

async function main() {
  buildLoad('--bin', 'linkup-broker');
  const redis = nodes > 1 ? await startRedis() : undefined;
  const brokers = await Promise.all(Array.from({ length: nodes }, () => startNode(redis)));
  await Promise.all(brokers.map(ready));
  const count = Math.ceil(sockets / PER_LOAD);
  const urls = brokers.map(({ url }) => url);
  const loads = Array.from({ length: count }, () => startLoad('linkup', urls, { limit: LIMIT }));
  const servers = [...brokers.map(({ child }) => child.pid), ...(redis ? [redis.redis.pid] : [])];
  const look = (of) => servers.map(of);
  const since = (before, of, per) => look(of).map((now, n) => ((now - before[n]) / per).toFixed(1));
  const tell = (what, numbers) => console.log(`${what}: ${numbers.join(' ')}`);
  console.log(`${nodes} brokers${redis ? ', and Redis: the last number' : ''}; ${sockets} sockets from ${count} loads`);

  await Promise.all(loads.map((load) => load.ask('open', { count: 2 * nodes })));
  const [resident, accepting] = [look(residentOf), look(cpuOf)];
  const start = Date.now();
  const share = Math.ceil(sockets / count / 2) * 2;
  await Promise.all(loads.map((load) => load.ask('open', { count: share })));
  const each = (share * count) / nodes;
  tell('CPU us per accept + register', since(accepting, cpuOf, each));
  console.log(`registrations/s in all: ${((share * count * 1000) / (Date.now() - start)).toFixed(0)}`);
  tell('bytes of RSS per socket', since(resident, residentOf, each));

  const resting = look(cpuOf);
  await sleep(seconds * 1000);
  tell('% of a core at rest', since(resting, cpuOf, seconds * 10_000));

  const pacing = look(cpuOf);
  const paced = await loads[0].ask('pace', { rate: RATE, ms: seconds * 1000 });
  tell(
    `ms that one of ${RATE}/s takes, p50 p99 max`,
    [paced.p50, paced.p99, paced.max].map((ms) => ms.toFixed(2)),
  );
  tell('CPU us per signal', since(pacing, cpuOf, paced.sent));

  const full = await flood(loads[0], servers, { warm: 1000, window: seconds * 1000 });
  console.log(`signals/s at full load: ${full.rate.toFixed(0)}`);
  tell(
    'CPU us per signal',
    full.cpu.map((each) => each.toFixed(1)),
  );
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
