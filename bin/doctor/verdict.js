'use strict';
// What the findings of examine.js mean, in words: a list of lines, and whether peers here will reach everybody. Pure.

/** Ways to say where TURN comes from. */
const GET_TURN =
  'Run the broker with TURN (npx linkup broker has it on by default), or name a TURN server with its --ice-url.';

/** Whether two peers have met that way. */
const isBy = (path, met) => met?.path === path;

const isTurn = ({ scheme }) => scheme === 'turn' || scheme === 'turns';

/** What went wrong with a broker, by what the engine says about it, and the advice. */
const BROKER_PROBLEMS = [
  [/refused/, ({ url }) => `Nothing listens at ${url}.`, () => 'Run a broker there: npx linkup broker'],
  [
    /lookup|not known|no such host|resolve/i,
    ({ url }) => `The name in ${url} is not known.`,
    () => "Look at its spelling, and at this network's name server (DNS).",
  ],
  [
    /no answer within|not answer within/,
    ({ url }) => `${url} does not answer.`,
    ({ port }) => `Look at whether it runs, and whether this network and its firewall let TCP to port ${port} through.`,
  ],
  [
    /unreachable/i,
    ({ url }) => `There is no way from this network to ${url}.`,
    () => "Look at this machine's network, and at the address.",
  ],
  [
    /certificate|tls/i,
    ({ url, reason }) => `The TLS of ${url} fails: ${reason}.`,
    () => 'Give the broker a certificate for its name from an authority that this machine trusts.',
  ],
];

function brokerLine({ url, code, reason, register, answer }) {
  if (register !== undefined) {
    const answers = answer === undefined ? 'does not find it afterwards' : `answers in ${answer} ms`;
    const found = `${url} registers a peer in ${register} ms and ${answers}.`;
    if (answer !== undefined) return { status: 'ok', found, means: 'Peers find each other here.' };
    const advice = 'Look at the log of the broker, and whether it is overloaded.';
    return { status: 'problem', found, means: 'Peers may not find each other.', advice };
  }
  const means = 'Without it peers do not find each other, and nothing else can be checked.';
  const line = (found, advice) => ({ status: 'problem', found, means, advice, ...(code && { code }) });
  if (code === undefined) return line(`${url} does not register a peer in time.`, 'Look at the log of the broker.');
  if (code !== 'ERR_BROKER_UNREACHABLE') {
    const isToken = code === 'ERR_NOT_AUTHORIZED';
    const advice = isToken ? 'Give the token that this broker wants: --token T' : 'Look at the log of the broker.';
    return line(`${url} refuses: ${reason}`, advice);
  }
  const { port, protocol } = new URL(url);
  const about = { url, reason, port: port || (protocol === 'wss:' ? 443 : 80) };
  const known = BROKER_PROBLEMS.find(([pattern]) => pattern.test(reason.replace(url, '')));
  if (known) return line(known[1](about), known[2](about));
  return line(`${url} is no broker: ${reason}`, 'Look at the address: is it that of linkup broker?');
}

/** The milliseconds in which a STUN server has answered over UDP, and as whom it sees us; undefined where it has not. */
function answerOf({ addresses }, nat) {
  for (const { answers = [] } of Object.values(nat)) {
    const answer = answers.find(({ server }) =>
      addresses.some(({ address, port }) => server.address === address && server.port === port),
    );
    if (answer) return answer;
  }
}

const UNKNOWN_NAME = "Look at the name's spelling, and at this network's name server (DNS).";

/** What keeps a server from being asked at all. */
function unasked({ url, usable, host, addresses }) {
  const status = 'problem';
  if (usable === undefined || !usable) {
    const found = `${url} is of no use to linkup.`;
    const means = 'Peers in Node.js pass over it.';
    return { status, found, means, advice: 'Name servers as stun:host:port, turn:host:port or turns:host:port.' };
  }
  if (addresses.length) return undefined;
  const found = `The name ${host} in ${url} has no address.`;
  return { status, found, means: 'Peers pass over it.', advice: UNKNOWN_NAME };
}

function stunLine(server, { nat, nats, reach }) {
  const answer = answerOf(server, nat);
  const { url, port } = server;
  if (answer) {
    const { address, port } = answer.mapped;
    const found = `${url} answers in ${answer.ms} ms and sees this machine as ${address}, port ${port}.`;
    return { status: 'ok', found, means: 'Peers learn from it at which address others see them.' };
  }
  const advice = nats.some(({ answers }) => answers.length > 0)
    ? `Look at whether it runs, and whether its firewall lets UDP to port ${port} in.`
    : `Let UDP to port ${port} out of this network, if you can; and look at whether the server runs.`;
  const means = 'Peers do not learn from it at which address others see them.';
  return { status: reach ? 'note' : 'problem', found: `${url} does not answer.`, means, advice };
}

/** What it means that a TURN server does not relay, or is not there. */
function withoutIt({ relays, reach }) {
  if (relays) return 'Peers here take another TURN server.';
  if (reach) return 'Peers without a direct path connect over the broker itself, which is slow.';
  return 'Peers without a direct path do not reach each other.';
}

const RELAY_MEANS = {
  udp: 'Peers between which there is no direct path reach each other through it.',
  tcp: 'Peers in networks that let no UDP out reach others through it.',
};

function turnLine(server, about) {
  const { url, port, transport, secure, reach, relay } = server;
  const elsewhere = about.reach ? 'note' : 'problem';
  if (isBy('turn', relay)) {
    const found = `${url} relays: two peers connect in ${relay.connect} ms, a message arrives in ${relay.message} ms.`;
    return { status: 'ok', found, means: RELAY_MEANS[transport], connect: relay.connect, message: relay.message };
  }
  const means = withoutIt(about);
  if (!reach) {
    const advice = 'Ask again; only a few are tried, for some seconds.';
    return { status: elsewhere, found: `${url} is not tried: there was no time for it.`, means, advice };
  }
  if (!reach.reached) {
    const why = { ECONNREFUSED: 'Nothing listens there.', ENETUNREACH: 'This network has no way to it.' }[reach.error];
    const found = `${url} cannot be reached${why ? `. ${why}` : `: no answer.`}`;
    const over = transport === 'udp' ? 'UDP' : 'TCP';
    const advice = `Let ${over} to port ${port} out of this network and in at the server's firewall, and look at whether the server runs.`;
    return { status: elsewhere, found, means, advice };
  }
  const error = relay?.error;
  if (secure && reach.untrusted) {
    const found = `${url} has a certificate that this machine does not trust (${reach.untrusted}).`;
    const advice = 'Give it a certificate for its name from an authority; for one of your own set SSL_CERT_FILE.';
    return { status: 'problem', found, means, advice };
  }
  const said = error?.details?.servers?.find((asked) => asked.error)?.error;
  if (said) {
    const found = `${url} refuses to relay: ${said}`;
    return { status: 'problem', found, means, advice: error.details.advice, code: error.code };
  }
  if (error && !['ERR_ABORTED', 'ERR_CONNECT_TIMEOUT'].includes(error.code)) {
    const advice = error.details?.advice ?? 'Look at the log of the TURN server.';
    return {
      status: 'problem',
      found: `${url} answers, but does not relay: ${error.message}`,
      means,
      advice,
      code: error.code,
    };
  }
  const advice = 'Look at the log of the TURN server, and which addresses it relays to.';
  return { status: elsewhere, found: `${url} answers, but relays nothing in time.`, means, advice };
}

/** Whether UDP leaves this network. */
function udpLine({ udp, relays, reach, nats, asked }) {
  if (!asked) return undefined;
  if (!udp && nats.some(({ kind }) => kind === 'unfinished')) {
    const found = 'Whether UDP leaves this network is not known in time.';
    const advice = 'Ask again; everything here is slow.';
    return { status: 'note', found, means: 'Direct connections may work.', advice };
  }
  if (udp) return { status: 'ok', found: 'UDP leaves this network.', means: 'Peers can try to connect directly.' };
  if (nats.some(({ inside }) => inside)) {
    const found = 'UDP reaches the servers, which are on this machine or in this network.';
    return { status: 'ok', found, means: 'From here nothing is known about UDP to the internet.' };
  }
  const found = 'UDP does not leave this network: no server answers over it.';
  const means = reach
    ? `No direct connections: everything goes ${relays ? 'through a TURN server over TCP' : 'over the broker itself, which is slow'}.`
    : 'Neither direct connections nor relayed ones: peers here reach nobody outside.';
  const advice = relays
    ? 'It works; let UDP out of this network for faster, direct connections.'
    : 'Let UDP out of this network, or give the broker TURN over TLS on port 443: --turn-port 443 --tls-cert F --tls-key F';
  return { status: reach ? 'note' : 'problem', found, means, advice };
}

/** What kind of NAT there is, for one family of addresses. */
function natLine(family, { kind, mapped, filtering, inside }, { relays, reach }) {
  const version = family === '6' ? ' over IPv6' : '';
  const more = { nat: kind, family: Number(family), ...(mapped && { mapped }), ...(filtering && { filtering }) };
  const line = (status, found, means, advice) => ({ status, found, means, ...(advice && { advice }), ...more });
  if (kind === 'none') {
    const wall = filtering === 'by port' ? ', behind a firewall that lets in only who was written to' : '';
    return line(
      'ok',
      `No NAT${version}: ${mapped} is an address of this machine${wall}.`,
      'Direct connections work with every network that lets UDP out.',
    );
  }
  if (kind === 'cone') {
    const wall = { 'by port': ', port-restricted', 'by address at most': ', not port-restricted' }[filtering] ?? '';
    const found = `A cone NAT${version}${wall}: all others see ${mapped}.`;
    const means =
      filtering === 'by address at most'
        ? 'Direct connections work with nearly every network.'
        : 'Direct connections work with most networks; with symmetric NATs it takes TURN.';
    return line('ok', found, means);
  }
  if (kind === 'symmetric') {
    const found = `A symmetric NAT${version}: everybody sees another port, one of them ${mapped}.`;
    const means = `Direct connections work only with open networks; with all others it takes TURN${relays ? '' : ', and there is none'}.`;
    return relays ? line('ok', found, means) : line(reach ? 'note' : 'problem', found, means, GET_TURN);
  }
  if (inside) {
    return line(
      'note',
      `The NAT${version} is not known: the servers are on this machine or in this network, and see no NAT.`,
      'From here nothing is known about peers outside.',
      'Ask a broker on the internet: npx linkup doctor wss://…',
    );
  }
  return line(
    'note',
    `The kind of NAT${version} is not known: only one server says how it sees this machine (${mapped}).`,
    'Direct connections may work.',
    'Name a second STUN server with --ice-url of the broker to know more.',
  );
}

/** Where there is no TURN server at all. */
function noTurnLine(servers, about) {
  const found = servers
    ? `The broker names no ${servers.length ? '' : 'STUN and no '}TURN server.`
    : 'The broker does not say which STUN and TURN servers there are.';
  const symmetric = about.nats.some(({ kind }) => kind === 'symmetric');
  const means =
    symmetric && !about.reach ? 'With the symmetric NAT here, only open networks are reached.' : withoutIt(about);
  return { status: about.reach ? 'note' : 'problem', found, means, advice: GET_TURN };
}

/** Where peers without a direct path meet over the broker itself. */
function withoutPathLine(withoutPath) {
  if (!isBy('broker', withoutPath)) return undefined;
  const found = `Two peers without a direct path connect over the broker itself in ${withoutPath.connect} ms.`;
  return { status: 'ok', found, means: 'Where there is no other way, peers reach each other, encrypted, but slowly.' };
}

/** Where a relay sends to us, but nobody sends to it. */
function unreachedLine(relayed) {
  const found = `The relayed address ${relayed} does not answer over UDP.`;
  const means = 'Through this relay only peers are reached that use it, too.';
  const advice =
    "Open the relayed ports (49152-65535 unless told otherwise, UDP) in the TURN server's firewall, and let UDP to them out of this network.";
  return { status: 'note', found, means, advice };
}

/**
 * Judges what `examine` has found.
 *
 * @returns {{ok: boolean, summary: string, checks: {check: string, status: 'ok' | 'note' | 'problem', found: string,
 *   means: string, advice?: string}[]}}
 */
function judge({ broker, servers, withoutPath, nat }) {
  const checks = [];
  const add = (check, line) => line && checks.push({ check, ...line });
  add('broker', brokerLine(broker));
  if (broker.register !== undefined) {
    const all = servers ?? [];
    const nats = Object.values(nat);
    const relays = all.some(({ relay }) => isBy('turn', relay));
    const about = {
      nat,
      nats,
      /** Whether a TURN server relays, and whether peers reach each other at all without a direct path. */
      relays,
      reach: relays || isBy('broker', withoutPath),
      udp: nats.some(({ answers, inside }) => answers.length > 0 && !inside),
      asked: all.some(({ transport, addresses }) => transport === 'udp' && addresses.length),
    };
    add('udp', udpLine(about));
    for (const [family, found] of Object.entries(nat)) {
      // No way out by one family is no news where there is another.
      if (found.answers.length > 0) add('nat', natLine(family, found, about));
    }
    for (const server of all) {
      const line = unasked(server) ?? (isTurn(server) ? turnLine : stunLine)(server, about);
      add(isTurn(server) ? 'turn' : 'stun', { url: server.url, ...line });
    }
    for (const { relayed } of nats) {
      if (relayed) add('turn', unreachedLine(relayed));
    }
    if (!all.some(isTurn)) add('turn', noTurnLine(servers, about));
    add('relay', withoutPathLine(withoutPath));
  }
  const problems = checks.filter(({ status }) => status === 'problem').length;
  const summary = problems
    ? `Not everything will work: ${problems === 1 ? 'there is a problem' : `there are ${problems} problems`}.`
    : 'Peers on this network will reach everybody who uses this broker.';
  return { ok: problems === 0, summary, checks };
}

module.exports = { judge };
