'use strict';
// The NAT laboratory: a small internet of network namespaces on one machine. Needs root on Linux, iproute2 and iptables.
//
//            peerA -- natA --\          /-- natB -- peerB
//                             -- pub --
//   (peerB may be behind natA, too)    \-- turn
//
// `pub` is the internet and has the broker with STUN and TURN; `turn` is another machine there, with TURN over TLS on port
// 443. Public addresses are those for documentation (RFC 5737, RFC 3849): TURN servers refuse private ones.

const { spawn, spawnSync } = require('node:child_process');
const { createHmac } = require('node:crypto');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { Child, root, selfSigned } = require('../node/helpers');

const NODES = ['pub', 'turn', 'natA', 'natB', 'peerA', 'peerB'];

/** Public addresses of `pub`: the broker's, another one, and the broker's of IPv6. */
const [BROKER, OTHER, BROKER6] = ['192.0.2.1', '192.0.2.3', '2001:db8::1'];

/** The address of `turn`. */
const TURN = '192.0.2.2';

/**
 * The networks of both sides. `wan`: between `pub` (.1) and the router (.2); `lan`: between the router (.1) and the peer
 * (.2); `open`: public addresses in the same place.
 */
const SIDES = {
  A: { wan: '198.51.100', lan: '10.1.0', open: '198.51.100.129', wan6: '2001:db8:a', lan6: '2001:db8:a:1' },
  B: { wan: '203.0.113', lan: '10.2.0', open: '203.0.113.129', wan6: '2001:db8:b', lan6: '2001:db8:b:1' },
};

/** Where peerB is when it is behind natA. */
const SECOND_LAN = '10.3.0';

/** The ways to a TURN server. */
const TURN_URLS = [
  `turn:${BROKER}:3478?transport=udp`,
  `turn:${BROKER}:3478?transport=tcp`,
  `turns:${TURN}:443?transport=tcp`,
];

/** What the credentials of both TURN servers are made with. */
const SECRET = 'north';

const OUT = 'FORWARD -i lan+ -o wan';
const MASQUERADE = 'POSTROUTING -o wan -j MASQUERADE';

/**
 * Kinds of routers: their rules of iptables for what they forward, and how they translate. Answers to what was let out
 * always come in. MASQUERADE keeps the port of the inside, the same one to all destinations: with the default filtering
 * that is a port-restricted cone.
 */
const KINDS = {
  /** No NAT, no filter: the peer has a public address. */
  none: () => ({ filter: ['FORWARD -j ACCEPT'], nat: [] }),
  /** Mapping and filtering independent of the endpoint (RFC 4787). */
  fullcone: ({ wan, lan }) => ({
    filter: [`${OUT} -j ACCEPT`, `FORWARD -i wan -p udp -d ${lan}.2 -j ACCEPT`],
    nat: [
      `POSTROUTING -o wan -j SNAT --to-source ${wan}.2`,
      `PREROUTING -i wan -p udp --dport 1024:65535 -j DNAT --to-destination ${lan}.2`,
    ],
  }),
  /** The same mapping; who has not been written to does not come in. */
  portrestricted: () => ({ filter: [`${OUT} -j ACCEPT`], nat: [MASQUERADE] }),
  /** Another port of the router for each destination. */
  symmetric: () => ({ filter: [`${OUT} -j ACCEPT`], nat: [`${MASQUERADE} --random-fully`] }),
  /** UDP does not leave. */
  noudp: () => ({ filter: [`${OUT} -p tcp -j ACCEPT`], nat: [MASQUERADE] }),
  /** Nothing leaves but TCP to port 443. */
  tcp443: () => ({ filter: [`${OUT} -p tcp --dport 443 -j ACCEPT`], nat: [MASQUERADE] }),
  /** The peer has nothing but a public address of IPv6, behind a firewall. */
  v6only: () => ({ filter: [], nat: [] }),
};

const TOOLS = ['ip', 'iptables', 'iptables-restore', 'ip6tables-restore', 'openssl'];

/** Why there can be no laboratory here, or false. In CI that is a failure, but on other systems. */
function obstacle({ delay = false } = {}) {
  if (process.platform !== 'linux') return 'the NAT laboratory needs Linux';
  let why = process.getuid() !== 0 && 'the NAT laboratory needs root';
  if (delay && !fs.existsSync('/dev/net/tun')) why ||= 'a network with delay needs /dev/net/tun';
  for (const tool of [...TOOLS, ...(delay ? ['cc'] : [])]) {
    if (spawnSync('which', [tool]).status !== 0) why ||= `the NAT laboratory needs the command ${tool}`;
  }
  if (why && process.env.CI) throw new Error(why);
  if (why) console.warn(`\n*** SKIPPED: ${why} ***\n`);
  return why;
}

/** Takes a laboratory down when its standard input ends: whatever happens to us, also SIGKILL, it ends then. */
const GUARD = `
  read nothing
  for namespace in $NAMESPACES; do kill -9 $(ip netns pids $namespace); done
  for namespace in $NAMESPACES; do ip netns delete $namespace; done
  rm -rf $FOLDER
`;

/** Runs a command, with `input` as its standard input; throws with what it printed. */
function must(input, command, ...args) {
  const { status, stderr, error } = spawnSync(command, args, { input, encoding: 'utf8', timeout: 30_000 });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stderr.trim()}\n${input}`);
}

/** Rules as iptables-restore takes them. What is not allowed vanishes without an answer, as with most routers. */
function rules({ filter, nat = [] }) {
  const lines = (all) => all.map((rule) => `-A ${rule}\n`).join('');
  const answers = 'FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT';
  const chains = ':INPUT DROP\n:FORWARD DROP\n';
  return `*nat\n${lines(nat)}COMMIT\n*filter\n${chains}${lines([answers, ...filter])}COMMIT\n`;
}

/** Of both TURN servers, good for a minute. */
function credentials() {
  const username = `${Math.floor(Date.now() / 1000) + 60}:anyone`;
  return { username, credential: createHmac('sha1', SECRET).update(username).digest('base64') };
}

/** A running peer.js. */
class Peer {
  #heard = {};

  constructor(child) {
    this.child = child;
  }

  /** What it says about `what`, each time the next. Throws where a command fails. */
  async said(what, ms) {
    const index = this.#heard[what] ?? 0;
    this.#heard[what] = index + 1;
    let count = 0;
    const test = (line) => line.startsWith('failed ') || (line.startsWith(`${what} `) && count++ === index);
    const line = await this.child.line({ test, toString: () => what }, ms);
    if (line.startsWith('failed ')) throw new Error(line);
    return JSON.parse(line.slice(what.length));
  }

  /** Has it do something; resolves with what it then says. */
  ask(command, what, ms) {
    const said = this.said(what, ms);
    this.child.process.stdin.write(`${command}\n`);
    return said;
  }

  kill() {
    return this.child.kill();
  }
}

let count = 0;

/** A laboratory. It ends with this process at the latest. */
class Lab {
  #prefix = `linkup-nat-${process.pid}-${++count}`;
  #folder = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-nat-'));
  #guard;
  #certificate;
  #broker;
  /** Where the peer of a side reaches the broker. */
  #urls = {};

  constructor() {
    const NAMESPACES = NODES.map((node) => this.namespace(node)).join(' ');
    const env = { ...process.env, NAMESPACES, FOLDER: this.#folder };
    // A process group of its own: Ctrl+C does not reach it.
    this.#guard = spawn('sh', ['-c', GUARD], { env, detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
    this.#guard.unref();
    this.#guard.stdin.unref();
  }

  /** Makes one, with the broker. `delay`: ms each way between the internet and a router, by side; needs a C compiler. */
  static async open({ delay } = {}) {
    const lab = new Lab();
    try {
      await lab.#build(delay);
      await lab.#serve();
    } catch (error) {
      await lab.close();
      throw error;
    }
    return lab;
  }

  /** The namespace of a node. */
  namespace(node) {
    return `${this.#prefix}-${node}`;
  }

  /** Commands of iproute2 in a node. */
  #ip(node, ...commands) {
    must(commands.join('\n'), 'ip', '-n', this.namespace(node), '-batch', '-');
  }

  #in(node, input, ...command) {
    must(input, 'ip', 'netns', 'exec', this.namespace(node), ...command);
  }

  async #build(delay) {
    for (const node of NODES) {
      must('', 'ip', 'netns', 'add', this.namespace(node));
      this.#ip(node, 'link set lo up');
    }
    for (const node of ['pub', 'natA', 'natB']) {
      this.#in(node, '', 'sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1');
    }
    this.#cable('pub', 'turn', 'turn', 'eth0');
    this.#ip(
      'pub',
      ...[BROKER, OTHER].map((address) => `addr add ${address}/32 dev lo`),
      `addr add ${BROKER6}/128 dev lo`,
      `route add ${TURN}/32 dev turn`,
    );
    this.#ip('turn', `addr add ${TURN}/32 dev eth0`, 'route add default dev eth0');
    // `turn` asks for every address on its cable, `pub` answers for all that it has a route to.
    this.#in('pub', '', 'sysctl', '-qw', 'net.ipv4.conf.turn.proxy_arp=1');
    // Private addresses lead nowhere on the internet, and nobody says so.
    const drop = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'].map(
      (block) => `-A PREROUTING -d ${block} -j DROP\n`,
    );
    this.#in('pub', `*raw\n${drop.join('')}COMMIT\n`, 'iptables-restore');
    for (const side of ['A', 'B']) await this.#buildSide(side, delay?.[side]);
    this.#cable('natA', 'lan2', 'peerB', 'lan2');
    this.#ip('natA', `addr add ${SECOND_LAN}.1/24 dev lan2`);
  }

  async #buildSide(side, delay) {
    const { wan, lan, open, wan6, lan6 } = SIDES[side];
    const [router, peer, out] = [`nat${side}`, `peer${side}`, `wan${side}`];
    if (delay) await this.#wire('pub', out, router, 'wan', delay);
    else this.#cable('pub', out, router, 'wan');
    this.#cable(router, 'lan', peer, 'lan');
    this.#ip(
      'pub',
      `addr add ${wan}.1/24 dev ${out}`,
      `addr add ${wan6}::1/64 dev ${out} nodad`,
      `route add ${wan}.128/25 via ${wan}.2`,
      `route add ${lan6}::/64 via ${wan6}::2`,
    );
    this.#ip(
      router,
      `addr add ${wan}.2/24 dev wan`,
      `addr add ${wan6}::2/64 dev wan nodad`,
      `addr add ${lan}.1/24 dev lan`,
      `addr add ${open}/25 dev lan`,
      `addr add ${lan6}::1/64 dev lan nodad`,
      `route add default via ${wan}.1`,
      `route add default via ${wan6}::1`,
    );
    // Routers find each other by ICMPv6.
    const filter = ['INPUT -p ipv6-icmp -j ACCEPT', `${OUT} -j ACCEPT`];
    this.#in(router, rules({ filter }), 'ip6tables-restore');
  }

  /** A cable between two nodes, with the names of its ends there. */
  #cable(one, oneEnd, two, twoEnd) {
    const ends = [oneEnd, 'netns', this.namespace(one), 'type', 'veth', 'peer', 'name', twoEnd];
    must('', 'ip', 'link', 'add', ...ends, 'netns', this.namespace(two));
    this.#ip(one, `link set ${oneEnd} up`);
    this.#ip(two, `link set ${twoEnd} up`);
  }

  /** A cable that takes its time, in ms each way. */
  async #wire(one, oneEnd, two, twoEnd, delay) {
    const program = path.join(this.#folder, 'wire');
    if (!fs.existsSync(program)) must('', 'cc', '-O2', '-w', '-o', program, path.join(root, 'bench/lib/wire.c'), '-lm');
    const config = `${program}-${oneEnd}.conf`;
    fs.writeFileSync(config, `both delay=${delay}\n`);
    const ends = [`${this.namespace(one)}:${oneEnd}`, `${this.namespace(two)}:${twoEnd}`];
    await new Child(program, [...ends, config]).line('ready');
    this.#ip(one, `link set ${oneEnd} up`);
    this.#ip(two, `link set ${twoEnd} up`);
  }

  /** Makes the router of a side one of KINDS, and gives the peer behind it its address. */
  route(side, kind) {
    const { lan, open, lan6 } = SIDES[side];
    this.#in(`nat${side}`, rules(KINDS[kind](SIDES[side])), 'iptables-restore');
    if (kind === 'none') this.#address(side, 'lan', `${open.replace('129', '130')}/25`, open);
    else if (kind === 'v6only') this.#address(side, 'lan', `${lan6}::2/64`, `${lan6}::1`);
    else this.#address(side, 'lan', `${lan}.2/24`, `${lan}.1`);
  }

  /** Puts both peers behind natA, in two networks that reach each other. */
  routeBoth(kind) {
    this.route('A', kind);
    this.#in('natA', '', 'iptables', '-A', 'FORWARD', '-i', 'lan+', '-o', 'lan+', '-j', 'ACCEPT');
    this.#address('B', 'lan2', `${SECOND_LAN}.2/24`, `${SECOND_LAN}.1`);
  }

  /** The one address of a peer, and its way out. */
  #address(side, device, address, router) {
    const devices = side === 'A' ? ['lan'] : ['lan', 'lan2'];
    const v6 = address.includes(':');
    this.#ip(
      `peer${side}`,
      ...devices.map((each) => `addr flush dev ${each} scope global`),
      `addr add ${address} dev ${device}${v6 ? ' nodad' : ''}`,
      `route replace default via ${router}`,
    );
    this.#urls[side] = v6 ? `ws://[${BROKER6}]:443` : `ws://${BROKER}:443`;
  }

  /** Gives the peer of a side another address in the same network, as another Wi-Fi would. */
  move(side, last = 77) {
    const { lan } = SIDES[side];
    this.#address(side, 'lan', `${lan}.${last}/24`, `${lan}.1`);
  }

  /** Gives the router of a side another public address, as a provider does every night. What it had translated is over. */
  renumber(side, last = 9) {
    const { wan } = SIDES[side];
    this.#ip(
      `nat${side}`,
      'addr flush dev wan scope global',
      `addr add ${wan}.${last}/24 dev wan`,
      `route add default via ${wan}.1`,
    );
    this.#ip('pub', `route replace ${wan}.128/25 via ${wan}.${last}`);
  }

  /** The broker's process ends at once. */
  async killBroker() {
    await this.#broker.kill();
  }

  /** From now on nothing passes the router of a side, or everything that it lets through again. */
  blackhole(side, on) {
    this.#in(`nat${side}`, '', 'iptables', on ? '-I' : '-D', 'FORWARD', '-j', 'DROP');
  }

  /** From now on no UDP passes the internet between the two sides, or it does again. Servers are reached all the same. */
  part(on) {
    const nets = Object.values(SIDES).map(({ wan }) => `${wan}.0/24`);
    for (const [from, to] of [nets, nets.toReversed()]) {
      const rule = ['FORWARD', '-p', 'udp', '-s', from, '-d', to, '-j', 'DROP'];
      this.#in('pub', '', 'iptables', on ? '-I' : '-D', ...rule);
    }
  }

  /** Runs a file of Node.js in a node. */
  run(node, args, env = {}) {
    return new Child('ip', ['netns', 'exec', this.namespace(node), process.execPath, ...args], { env });
  }

  /**
   * Starts the broker in `pub`, on port 443 of all addresses, with STUN and TURN over UDP and TCP on port 3478, and the
   * TURN server in `turn`, over TLS on port 443. Peers are told of both.
   */
  async #serve() {
    const { key, certificate } = selfSigned(this.#folder, TURN);
    this.#certificate = certificate;
    await Promise.all([
      this.startBroker(),
      this.#serveIn('turn', '--host', TURN, '--turn-port', '443', '--tls-cert', certificate, '--tls-key', key),
    ]);
  }

  async #serveIn(node, ...flags) {
    const child = this.run(node, [path.join(root, 'bin/linkup.js'), 'broker', ...flags, '--turn-secret', SECRET]);
    await child.line('listening on');
    return child;
  }

  /** The broker begins, or begins again and knows nobody. */
  async startBroker() {
    this.#broker = await this.#serveIn('pub', '--port', '443', '--turn-port', '3478', '--ice-url', TURN_URLS[2]);
  }

  /** Starts a peer (peer.js) behind the router of a side, in Node.js or in a page of a browser. */
  async peer(side, id, { browser, ...options } = {}) {
    const all = JSON.stringify({ brokerUrl: this.#urls[side], ...options });
    const args = [path.join(__dirname, 'peer.js'), id, all, ...(browser ? [browser] : [])];
    const peer = new Peer(this.run(`peer${side}`, args, { SSL_CERT_FILE: this.#certificate }));
    await peer.said('registered', 60_000);
    return peer;
  }

  /**
   * Runs `linkup doctor --json` behind the router of a side. `port`: of another broker in `pub`; `resolver`: a file that it
   * has for /etc/resolv.conf.
   */
  doctor(side, { port = 443, resolver } = {}) {
    const url = this.#urls[side].replace(/443$/, port);
    const command = [process.execPath, path.join(root, 'bin/linkup.js'), 'doctor', url, '--json'];
    // `ip netns exec` gives each command mounts of its own.
    const mount = ['sh', '-c', 'mount --bind "$0" /etc/resolv.conf && exec "$@"', resolver];
    const args = ['netns', 'exec', this.namespace(`peer${side}`), ...(resolver ? mount : []), ...command];
    return new Child('ip', args, { env: { SSL_CERT_FILE: this.#certificate } });
  }

  /** Ends what runs in the laboratory, and takes it down. */
  async close() {
    const gone = once(this.#guard, 'exit');
    this.#guard.ref();
    this.#guard.stdin.end();
    await gone;
  }
}

module.exports = { Lab, obstacle, credentials, KINDS, TURN_URLS, BROKER, BROKER6, OTHER };
