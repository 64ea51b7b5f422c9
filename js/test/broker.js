'use strict';
// A broker in memory: what docs/protocol.md says that a broker does, for sockets of this network. The rules are those of
// crates/broker; without its limits for the public.

const { isObject } = require('../check');
const { keyOfId } = require('../identity');

const MAX_FRAME = 64 * 1024;
const MAX_ID = 256;
/** Between pings; who is silent for two is dropped. */
const PING = 15000;
/** Seconds for which ICE servers are good. */
const TTL = 3600;
const TURN = { urls: ['turn:turn.test:3478'], username: 'linkup', credential: 'linkup' };

const GOING_AWAY = 1001;
const UNSUPPORTED = 1003;
const INVALID = 1007;
const TOO_BIG = 1009;
const TAKEN_OVER = 4001;

const failure = (code, message, details) => ({ code, message, details });
const nonsense = (message) => failure('ERR_PROTOCOL', message);

class Broker {
  running = true;
  #urls;
  // All that are open, and who has which id.
  #sessions = new Set();
  #owners = new Map();

  /**
   * @param {World} world
   * @param {{urls?: string[], relay: number, turn: boolean, authorize?: Function}} options without `urls`, all lead here
   * @param {(key: string, proof: string, challenge: string, id: string) => Promise<boolean>} proves
   */
  constructor(world, options, proves) {
    this.world = world;
    this.options = options;
    this.proves = proves;
    this.#urls = options.urls?.map((url) => new URL(url).href);
  }

  /** Whether it is there, at that URL. */
  answers(url) {
    return this.running && (this.#urls?.includes(url) ?? true);
  }

  /** The ids that are registered. */
  get ids() {
    return [...this.#owners.keys()];
  }

  /** A socket has come up: what hears it. */
  take(socket) {
    const session = new Session(this, socket);
    this.#sessions.add(session);
    return session;
  }

  /** It ends, and forgets everything. */
  stop() {
    this.running = false;
    for (const session of [...this.#sessions]) session.close(GOING_AWAY, 'going away');
  }

  start() {
    this.running = true;
  }

  find(id) {
    return this.#owners.get(id);
  }

  /** Gives a session an id; an error where it is somebody else's. */
  register(session, id, secret) {
    const owner = this.#owners.get(id);
    if (owner && owner !== session) {
      if (!secret || owner.secret !== secret) {
        return failure(
          'ERR_ID_TAKEN',
          `the id ${JSON.stringify(id)} is taken: another peer that is connected now has it`,
        );
      }
      owner.id = undefined;
      owner.close(TAKEN_OVER, 'taken over');
    }
    if (session.id !== id) this.free(session);
    session.id = id;
    session.secret = secret ?? (owner === session ? session.secret : undefined);
    this.#owners.set(id, session);
  }

  /** Takes its id from a session; which that was. */
  free(session) {
    const { id } = session;
    if (id !== undefined) this.#owners.delete(id);
    session.id = undefined;
    return id ?? null;
  }

  forget(session) {
    this.free(session);
    this.#sessions.delete(session);
  }
}

/** One socket at the broker. */
class Session {
  id;
  secret;
  #broker;
  #socket;
  #heardAt;
  #timer;
  #challenge;
  #over = false;
  // One after the other: somebody may be asked meanwhile.
  #going = Promise.resolve();

  constructor(broker, socket) {
    this.#broker = broker;
    this.#socket = socket;
    this.#challenge = broker.world.name(43);
    this.heard();
    this.#timer = broker.world.time.after(PING, () => this.#look());
  }

  heard() {
    this.#heardAt = this.#broker.world.time.now;
  }

  /** The client has closed, or is gone. */
  gone() {
    if (this.#over) return;
    this.#over = true;
    this.#broker.world.time.cancel(this.#timer);
    this.#broker.forget(this);
  }

  close(code, reason) {
    this.gone();
    this.#socket.close(code, reason);
  }

  text(data) {
    this.#going = this.#going.then(() => this.#over || this.#hear(data));
  }

  #look() {
    const { time } = this.#broker.world;
    if (time.now - this.#heardAt >= 2 * PING) {
      this.gone();
      return this.#socket.drop();
    }
    this.#socket.ping();
    this.#timer = time.after(PING, () => this.#look());
  }

  async #hear(data) {
    if (typeof data !== 'string') return this.#refuse(UNSUPPORTED, 'binary', 'a frame is JSON text, not binary');
    if (Buffer.byteLength(data) > MAX_FRAME)
      return this.#refuse(TOO_BIG, 'too large', `a frame has at most ${MAX_FRAME} bytes`);
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      return this.#refuse(INVALID, 'not JSON', 'this is not JSON');
    }
    const id = typeof frame?.id === 'string' ? frame.id : null;
    const answer = await this.#answer(frame, id);
    if (this.#over || (id === null && !answer.error)) return;
    // Of an unknown peer a notification hears nothing.
    if (id === null && answer.error.code === 'ERR_PEER_NOT_FOUND') return;
    this.#say(id, answer);
  }

  #refuse(code, reason, message) {
    this.#say(null, { error: nonsense(message) });
    this.close(code, reason);
  }

  #say(id, { message = null, error = null }) {
    this.#socket.send(JSON.stringify({ id, message, error }));
  }

  async #answer(frame, id) {
    const { message } = isObject(frame) ? frame : {};
    if (!isObject(message) || typeof message.type !== 'string') {
      return { error: nonsense('`message` is an object with a `type`') };
    }
    const { type } = message;
    const named = { find: 'id', register: 'id', signal: 'to' }[type];
    if (named && !isId(message[named])) return { error: nonsense(`\`${named}\` is not the id of a peer`) };
    if (type === 'ping') return { message: 'pong' };
    if (type === 'find') return { message: this.#broker.find(message.id) ? message.id : null };
    if (type === 'register') return this.#register(message);
    if (type === 'unregister') return { message: this.#broker.free(this) };
    if (type === 'signal') return this.#signal(message);
    if (type === 'ice') return this.#ice(id);
    return { error: failure('ERR_UNSUPPORTED', `this broker knows no ${JSON.stringify(type.slice(0, 40))}`) };
  }

  async #register({ id, secret, token, proof }) {
    const { options, proves } = this.#broker;
    const key = keyOfId(id);
    if (key && !(typeof proof === 'string' && (await proves(key, proof, this.#challenge, id)))) {
      const details = { challenge: this.#challenge };
      return { error: failure('ERR_NOT_AUTHORIZED', 'this id is a key: its owner signs the challenge', details) };
    }
    const denied = options.authorize && (await this.#denied(id, token));
    if (denied) return { error: failure('ERR_NOT_AUTHORIZED', denied) };
    if (this.#over) return {};
    const error = this.#broker.register(this, id, secret);
    return error ? { error } : { message: id };
  }

  /** Why the application does not want it to register; as `authorize` of createBroker. */
  async #denied(id, token) {
    const otherwise = 'the broker does not let this peer register';
    try {
      const verdict = await this.#broker.options.authorize({ id, token, address: this.#socket.address });
      if (verdict === false || typeof verdict === 'string') return verdict || otherwise;
    } catch (error) {
      return String(error?.message ?? error ?? '') || otherwise;
    }
  }

  #signal({ to, signal }) {
    if (this.id === undefined) {
      return { error: failure('ERR_NOT_AUTHORIZED', 'register an id before you send signals') };
    }
    if (typeof signal !== 'string') return { error: nonsense('`signal` is missing') };
    const target = this.#broker.find(to);
    if (!target) {
      return { error: failure('ERR_PEER_NOT_FOUND', `nobody is registered with the id ${JSON.stringify(to)}`) };
    }
    target.pass({ type: 'signal', from: this.id, to, signal });
    return { message: to };
  }

  /** Somebody has sent a signal to it. */
  pass(message) {
    this.#socket.send(JSON.stringify({ message }));
  }

  #ice() {
    if (this.id === undefined) {
      return { error: failure('ERR_NOT_AUTHORIZED', 'register an id before you ask for ICE servers') };
    }
    const { relay, turn } = this.#broker.options;
    return { message: { iceServers: turn ? [TURN] : [], ttl: TTL, relay: relay || undefined } };
  }
}

const isId = (id) => typeof id === 'string' && id !== '' && Buffer.byteLength(id) <= MAX_ID;

module.exports = { Broker };
