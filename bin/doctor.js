// `linkup doctor`: says what works between this machine, a broker, and the peers of other networks, and what to do about the rest.
'use strict';

const { parseArgs } = require('node:util');

const HELP = `Checks whether peers on this machine will reach everybody, and says what to do where they will not.

  linkup doctor [BROKER] [--json] [--token T]

  BROKER    the broker's URL, as for the option brokerUrl; without it LINKUP_BROKER_URL, else ws://localhost:5000
  --json    prints the same as one JSON object: {ok, broker, summary, checks: [{check, status, found, means, advice}]}
  --token   sent to the broker when registering, as the option token

It takes 10 seconds at most, and looks at:
  broker    whether a peer can register, and how long it takes
  udp       whether UDP leaves this network: without it there are no direct connections
  nat       what the router does. None, or a cone NAT: direct connections with most networks. A symmetric NAT, which has
            another port for everybody: only with open ones, and through TURN with the rest
  stun      each STUN server that the broker names: it tells peers how others see them
  turn      each TURN server and transport that the broker names: two peers connect through it and send a message
  relay     whether peers connect over the broker itself, where there is neither a direct path nor TURN

Each line is "ok", a "note" that does no harm, or a "problem". Exit code: 0 where peers on this network will reach
everybody, 1 where something will not work, 2 for wrong arguments.`;

/** Where no broker is given, as for createPeer. */
const defaultBroker = () => process.env.LINKUP_BROKER_URL || 'ws://localhost:5000';

function isBrokerUrl(text) {
  return URL.canParse(text) && /^wss?:$/.test(new URL(text).protocol);
}

/** {url, token, json, help} of a command line; throws a sentence. */
function read(args) {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { json: { type: 'boolean' }, token: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
  });
  if (positionals.length > 1) throw new Error(`there is one broker, not ${positionals.length}`);
  const url = positionals[0] ?? defaultBroker();
  if (!isBrokerUrl(url)) throw new Error(`the broker is a URL such as ws://localhost:5000, not ${url}`);
  return { ...values, url };
}

/** The lines for people. */
function text({ summary, checks }) {
  const lines = checks.map(({ check, status, found, means, advice }) => {
    const head = `${status.padEnd(7)}  ${check.padEnd(6)}  `;
    const rest = [means, ...(advice ? [`Advice: ${advice}`] : [])];
    return [head + found, ...rest.map((line) => ' '.repeat(head.length) + line)].join('\n');
  });
  return [...lines, '', summary].join('\n');
}

/** Runs with the arguments of a command line; ends the process. */
async function main(args) {
  let wanted;
  try {
    wanted = read(args);
  } catch (error) {
    console.error(`linkup doctor: ${error.message}\nTry: linkup doctor --help`);
    process.exitCode = 2;
    return;
  }
  if (wanted.help) {
    console.log(HELP);
    return;
  }
  const { url, token, json } = wanted;
  let verdict;
  try {
    const { examine } = require('./doctor/examine');
    const { judge } = require('./doctor/verdict');
    verdict = judge(await examine({ url, token }));
  } catch (error) {
    const found = `The doctor fails: ${error.message}.`;
    const advice = 'Report it as a bug of linkup.';
    const checks = [{ check: 'doctor', status: 'problem', found, means: 'Nothing is known.', advice }];
    verdict = { ok: false, summary: 'Not everything will work.', checks };
  }
  const said = json ? JSON.stringify({ broker: url, ...verdict }, null, 2) : text(verdict);
  // Nothing that is still under way, such as a peer that closes, holds up the end.
  process.stdout.write(`${said}\n`, () => process.exit(verdict.ok ? 0 : 1));
}

module.exports = { main, text };
