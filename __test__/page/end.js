'use strict';
// One end of a pair of peers, in a page or in Node.js: what a test asks of it and what it answers is JSON. What was wrong
// is told as a list of texts, empty as a rule.

const { CORPUS, MIB, SIZES, bytesOf } = require('../contract/corpus');

const BURST = 50;
const PIECE = 64 * 1024;
/** Of a stream each way, and of one that is not read for a while. */
const STREAM = 5 * MIB;
const WALL = 4 * MIB;
const BESIDE = 200;

/** The n-th message of a burst: JSON in odd rounds, binary in even ones. */
const burstMessage = (round, n) => (round % 2 ? `${n}`.padEnd(PIECE, 'x') : bytesOf(PIECE, n));

const sameBytes = (one, two) => one?.length === two.length && two.every((byte, i) => byte === one[i]);

const same = (one, two) => (typeof two === 'string' ? one === two : sameBytes(one, two));

async function hash(bytes) {
  return [...new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))].join();
}

class End {
  #using;
  #checks = new Set();
  #streams = new Map();
  #wall;
  #bursts = [];
  #remotes = new Map();
  #errors = [];
  #met = 0;

  /**
   * `runtime`: linkup, brokerUrl, and `using`, which reads and writes a stream. `known`: keys of other ends; the rest are
   * options of the peer.
   */
  constructor({ linkup, brokerUrl, using }, id, { known, identity, ...options } = {}) {
    this.#using = using;
    const knows = known && { known: new Map(Object.entries(known)) };
    this.peer = linkup.createPeer(id, { brokerUrl, identity: { ...identity, ...knows }, ...options });
    this.peer.on('connection', (connection) => this.#adopt(connection));
    this.peer.on('error', ({ code, peerId }) => {
      this.#errors.push([peerId, code]);
      for (const check of [...this.#checks]) check();
    });
    this.registered = new Promise((resolve) => this.peer.once('register', resolve));
  }

  async ready() {
    await this.registered;
  }

  async connect(to, options) {
    this.#adopt(await this.peer.connect(to, options));
  }

  /** Waits for the call. */
  async called() {
    await this.#until(() => this.connection);
  }

  close() {
    return this.peer.close();
  }

  #adopt(connection) {
    this.#met += 1;
    this.connection = connection;
    this.messages = [];
    this.progress = [];
    const on = (name, listener) =>
      connection.on(name, (event) => {
        listener(event);
        for (const check of [...this.#checks]) check();
      });
    on('message', (message) => this.messages.push(message));
    on('progress', (event) => this.progress.push(event));
    on('close', () => {});
    on('stream', (stream) => this.#streams.set(stream.name, this.#using(stream)));
    for (const check of [...this.#checks]) check();
  }

  /** Resolves when `test` holds; asked at each event. */
  #until(test) {
    return new Promise((resolve) => {
      const check = () => {
        if (!test()) return;
        this.#checks.delete(check);
        resolve();
      };
      this.#checks.add(check);
      check();
    });
  }

  // Bursts: 50 messages, then close().

  /** Calls so many times; in each connection one side sends a burst. What was wrong. */
  async callBursts(to, count, sends) {
    const wrong = [];
    for (let round = 0; round < count; round++) {
      wrong.push(...(await this.#burst(await this.peer.connect(to), round, sends)));
    }
    return wrong;
  }

  /** The other side of that. */
  async takeBursts(sends) {
    this.peer.on('connection', (connection) => {
      this.#bursts.push(this.#burst(connection, this.#bursts.length, sends));
    });
  }

  async bursts() {
    return (await Promise.all(this.#bursts)).flat();
  }

  async #burst(connection, round, sends) {
    const closed = new Promise((resolve) => connection.once('close', resolve));
    const heard = [];
    connection.on('message', (message) => heard.push(message));
    if (sends) {
      const sent = [];
      for (let n = 0; n < BURST; n++) sent.push(connection.send(burstMessage(round, n)));
      const problems = await Promise.all([connection.close(), ...sent]).then(
        () => [],
        ({ message }) => [`round ${round}: ${message}`],
      );
      if (problems.length > 0) return problems;
    }
    const { code } = await closed;
    const right = heard.every((message, n) => same(message, burstMessage(round, n)));
    if (code === null && right && heard.length === (sends ? 0 : BURST)) return [];
    const numbers = heard.map((message) => [...Array(BURST).keys()].find((n) => same(message, burstMessage(round, n))));
    return [`round ${round}: ${heard.length} messages, closed by ${code}: ${numbers}`];
  }

  // The corpus.

  async sendCorpus() {
    for (const value of CORPUS) await this.connection.send(value);
    for (const size of SIZES) await this.connection.send(bytesOf(size, size + 1));
  }

  async hearCorpus() {
    await this.#until(() => this.messages.length === CORPUS.length + SIZES.length);
    const wrong = [];
    for (const value of CORPUS) {
      const [text, got] = [value, this.messages.shift()].map((each) => JSON.stringify(each));
      if (text !== got) wrong.push(`${text.slice(0, 100)} came as ${got?.slice(0, 100)}`);
    }
    for (const size of SIZES) {
      if (!sameBytes(this.messages.shift(), bytesOf(size, size + 1))) wrong.push(`${size} bytes`);
    }
    return wrong;
  }

  // Progress and acknowledgements.

  /** Resolves with the events `progress` when the other side has 5 MiB. */
  async sendLong(binary) {
    const message = binary ? bytesOf(5 * MIB) : 'x'.repeat(5 * MIB - 2);
    await this.connection.send(message, { ack: true });
    return this.progress.splice(0);
  }

  /** The same of the receiver. */
  async hearLong() {
    await this.#until(() => this.messages.length > 0);
    const { length } = this.messages.shift();
    return { length, progress: this.progress.splice(0) };
  }

  // Streams: `both`, which the caller makes, takes 5 MiB each way; each side makes a `wall to …` that the other leaves alone.

  /** How far the wall has got when everything else is through, and what was wrong. */
  async stream(calls) {
    const { id } = this.peer;
    const { connection } = this;
    this.#wall = this.#using(connection.createStream(`wall to ${connection.id}`, { size: WALL }));
    const progress = { written: 0 };
    const building = this.#write(this.#wall, bytesOf(WALL, 7), progress);
    if (calls) this.#streams.set('both', this.#using(connection.createStream('both')));
    await this.#until(() => this.#streams.has('both') && this.#streams.has(`wall to ${id}`));
    const both = this.#streams.get('both');
    const [bytes] = await Promise.all([
      both.readAll(),
      this.#write(both, bytesOf(STREAM, calls ? 1 : 2), {}),
      this.#talk(),
      this.#until(() => this.messages.length === BESIDE),
    ]);
    const wrong = [];
    if ((await hash(bytes)) !== (await hash(bytesOf(STREAM, calls ? 2 : 1)))) wrong.push(`${bytes.length} wrong bytes`);
    if (!this.messages.every((message, i) => message.i === i)) wrong.push('messages in the wrong order');
    this.building = building;
    return { wrong, written: progress.written, waits: connection.bufferedAmount };
  }

  /** Reads the other side's wall, so that it goes on, and waits for ours. */
  async readWall() {
    const theirs = this.#streams.get(`wall to ${this.peer.id}`);
    const [bytes] = await Promise.all([theirs.readAll(), this.building]);
    await Promise.all([theirs.end(), this.#wall.readAll()]);
    return (await hash(bytes)) === (await hash(bytesOf(WALL, 7)));
  }

  async #write({ write, end }, bytes, progress) {
    for (let i = 0; i < bytes.length; i += PIECE) {
      await write(bytes.subarray(i, i + PIECE));
      progress.written = i + PIECE;
    }
    await end();
  }

  async #talk() {
    for (let i = 0; i < BESIDE; i++) await this.connection.send({ i, text: 'x'.repeat(1000) });
  }

  // A flood to a page that is busy.

  /** Sends so many messages, as soon as it is told to; the most that waited, and the longest wait, in bytes and ms. */
  async flood(to, count, bytes) {
    const connection = await this.peer.connect(to);
    await new Promise((resolve) => connection.once('message', resolve));
    const text = 'x'.repeat(bytes);
    let [waited, most] = [0, 0];
    for (let n = 0; n < count; n++) {
      const start = performance.now();
      const sent = connection.send({ n, at: Date.now(), text }, { ack: n === count - 1 });
      most = Math.max(most, connection.bufferedAmount);
      await sent;
      waited = Math.max(waited, performance.now() - start);
    }
    return { waited, most };
  }

  /** Lets them all flood it, and is busy for so many ms. What came from each; `early`: bytes sent meanwhile. */
  async drown(from, count, ms) {
    const senders = new Map(from.map((id) => [id, { heard: 0, ordered: true, early: 0 }]));
    let woke = 0;
    const callers = [];
    await new Promise((resolve) => {
      this.peer.on('connection', (connection) => {
        callers.push(connection);
        if (callers.length === from.length) for (const caller of callers) caller.send('go');
      });
      this.peer.on('message', ({ from, message }) => {
        const sender = senders.get(from);
        sender.ordered &&= message.n === sender.heard;
        sender.heard += 1;
        if (message.at < woke) sender.early += message.text.length;
        if (woke === 0) {
          const end = Date.now() + ms;
          while (Date.now() < end);
          woke = end;
        }
        if ([...senders.values()].every(({ heard }) => heard === count)) resolve();
      });
    });
    return Object.fromEntries(senders);
  }

  // Somebody who suffers from hostile remotes, and a friend who hears whether it is still there.

  /** From now on everybody's codes of errors and ends are kept, streams are taken and not read, and messages echoed. */
  async suffer() {
    const meet = (connection) => {
      const codes = [];
      const words = [];
      const keep = (list) => (item) => {
        if (item) list.push(item);
        for (const check of [...this.#checks]) check();
      };
      this.#remotes.set(connection.id, { connection, codes, words });
      connection.on('error', ({ code }) => keep(codes)(code));
      connection.on('close', ({ code }) => keep(codes)(code));
      connection.on('stream', () => {});
      connection.on('message', (message) => {
        connection.send(message).catch(() => {});
        keep(words)(message);
      });
    };
    this.meet = meet;
    this.peer.on('connection', meet);
  }

  /** Calls a remote that will be hostile. */
  async reach(id) {
    this.meet(await this.peer.connect(id));
  }

  /** The codes that ended the connection with a remote, each once. */
  async fate(id) {
    await this.#until(() => this.#remotes.get(id)?.connection.state === 'closed');
    return [...new Set(this.#remotes.get(id).codes)];
  }

  /** The first message of a remote. */
  async word(id) {
    await this.#until(() => this.#remotes.get(id)?.words.length > 0);
    return this.#remotes.get(id).words[0];
  }

  /** Sends a message to who echoes. */
  async echo(message) {
    await this.connection.send(message);
    await this.#until(() => this.messages.length > 0);
    return this.messages.shift();
  }

  async state() {
    return this.peer.state;
  }

  // A broker that attacks.

  /** The code that a call is refused with; null where it is not. */
  async refusal(to, options) {
    return this.peer.connect(to, options).then(
      () => null,
      ({ code }) => code,
    );
  }

  /** The code of the first event `error` about a remote. */
  async complaint(about) {
    const find = () => this.#errors.find(([id]) => id === about);
    await this.#until(find);
    return find()[1];
  }

  /** How many connections there were, the key of the last one's remote, and whether that is open. */
  async met() {
    return [this.#met, this.connection?.identity.publicKey ?? null, this.connection?.state ?? null];
  }

  async say(message) {
    await this.connection.send(message, { ack: true });
  }

  async hear() {
    await this.#until(() => this.messages.length > 0);
    return this.messages.shift();
  }

  async hangUp() {
    await this.connection.close();
  }

  async hungUp() {
    await this.#until(() => this.connection.state === 'closed');
  }
}

module.exports = { End };
