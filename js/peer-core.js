'use strict';
// What happens to one peer: registered, offline, asked by callers, closed. Knows the engine's handle of the peer and the
// application's functions; its connections are the roster's business.

const { LinkupError } = require('./errors');
const { iceServersOf } = require('./ice');
const { Logins } = require('./logins');
const { stranger } = require('./identity');
const { checkId } = require('./options');
const { Roster } = require('./roster');
const { deferred, inTime } = require('./waiting');

class PeerCore {
  state = 'connecting';
  handle = undefined;
  /** True from `close()` on. */
  finished = false;

  // A promise where the ICE servers have to be fetched first.
  #created;
  #held = false;
  #closing;
  #ended;
  // The end of a connection while the peer closes.
  #lost;
  // Rejects when the peer is closed.
  #leaving = deferred();
  #warned = new Set();
  #logins;

  /**
   * @param {Hub} hub
   * @param {object} settings from options.js
   */
  constructor(hub, settings, makePeer) {
    this.hub = hub;
    this.settings = settings;
    this.id = settings.engine.id;
    this.roster = new Roster(this, settings.engine.limits);
    this.#logins = new Logins(settings);
    this.peer = makePeer(this);
    const { iceServers, oidc } = settings;
    if (iceServers || oidc?.token !== undefined) this.#created = this.#prepare(iceServers);
    else this.#create();
    this.hold(true);
  }

  /** `Peer.ref()` and `Peer.unref()`: whether it keeps the process alive. */
  hold(wanted) {
    if (wanted === this.#held || this.finished) return;
    this.#held = wanted;
    this.hub.engine.hold(wanted ? 1 : -1);
  }

  /** `Peer.find()`. */
  async find(id) {
    checkId(id, 'id');
    if (this.finished) throw this.closedError(id);
    await this.#created;
    return this.hub.ask(this, id, (token) => this.hub.engine.find(this.handle, token, id));
  }

  /** `Peer.close()`. */
  close() {
    if (!this.#closing) {
      this.#closing = this.#close();
      // Whoever awaits it hears of a failure; a remote that vanished must not crash those who do not.
      this.#closing.catch(() => {});
    }
    return this.#closing;
  }

  /** What calls on a closed peer reject with. */
  closedError(peerId) {
    return new LinkupError('ERR_PEER_CLOSED', 'the peer is closed', { peerId });
  }

  registered() {
    if (this.finished) return false;
    this.state = 'registered';
    return this.peer.emit('register', this.id);
  }

  offline(reason, retryIn) {
    if (this.finished || this.state === 'offline') return false;
    this.state = 'offline';
    return this.peer.emit('offline', { reason, retryIn });
  }

  /** Something that no promise reports: the event, or a warning where nobody listens. Never an exception. */
  error(error) {
    if (this.peer.emit('error', error)) return true;
    // Once a code: a remote or a broker must not be able to flood the log.
    if (!this.#warned.has(error.code)) this.hub.engine.warn(`peer ${this.id}: ${error.message}`, error.code);
    this.#warned.add(error.code);
    return false;
  }

  /** A remote wants to connect; or it is `wanted`, and only its login is to be judged. */
  async request(handle, { from, metadata, key, login, wanted }) {
    const { accept } = this.settings;
    let code = null;
    let reason = '';
    try {
      if ((this.keyOf(from) ?? key) !== key) throw stranger(from);
      const identity = await this.#logins.judge(handle, key, login);
      const verdict = this.finished
        ? 'the peer is closing'
        : wanted || (await accept?.({ from, metadata: metadata ?? undefined, identity }));
      if (typeof verdict === 'string' || verdict === false) throw verdict || 'denied';
    } catch (error) {
      code = error?.code === 'ERR_IDENTITY_MISMATCH' ? error.code : 'ERR_DENIED';
      reason = String(error?.message ?? error ?? '') || 'denied';
    }
    this.hub.engine.answer(handle, code, reason);
  }

  /** The key that a remote is known by. */
  keyOf(id) {
    return this.settings.known?.get(id) ?? undefined;
  }

  /** Who a remote has proved to be whose connection is open. */
  identityOf(handle, { remote, key }) {
    const { known } = this.settings;
    if (key && known && known.get(remote) === undefined) known.set(remote, key);
    return this.#logins.identity(handle, key);
  }

  /** A description that the application wants to change. */
  async transform(transport, sdp) {
    try {
      const changed = await this.settings.sdpTransform(sdp);
      if (typeof changed !== 'string') throw new TypeError('must return a string');
      this.hub.engine.transformed(this.handle, transport, changed);
    } catch (cause) {
      // Without an answer the attempt fails: sending what the application wanted changed could reveal an address.
      this.#report('ERR_INVALID_MESSAGE', 'options.simplePeer.sdpTransform', cause);
    }
  }

  /** A connection has ended with an error. */
  lost(error) {
    if (this.finished) this.#lost ??= error;
  }

  /** The engine is done with this peer. */
  ended(error) {
    this.roster.ended(error);
    this.hub.forget(this, (peerId) => this.closedError(peerId));
    this.hub.peers.delete(this.handle);
    // The same, with the remote's id.
    this.#ended(error && this.#lost?.code === error.code ? this.#lost : error);
    return true;
  }

  #create() {
    const { engine } = this.hub;
    this.handle = engine.createPeer(this.hub.mailbox, this.settings.engine);
    this.hub.peers.set(this.handle, this);
    this.roster.startAll();
  }

  /** Fetches what has to be there before the peer starts. */
  async #prepare(iceServers) {
    const { engine } = this.settings;
    try {
      if (iceServers) engine.iceServers = iceServersOf(await this.#soon(iceServers()), 'options.iceServers');
    } catch (cause) {
      this.#report('ERR_ICE_FAILED', 'options.iceServers', cause);
    }
    engine.login = await this.#login();
    this.#create();
  }

  /** What an application's function promises, unless that takes longer than a call may, or the peer is closed meanwhile. */
  #soon(promise) {
    return inTime(Promise.race([promise, this.#leaving.promise]), this.settings.engine.timeouts.connect);
  }

  /** The application's own ID token, and another one before it expires. */
  async #login() {
    try {
      const renew = async () => {
        const token = await this.#login();
        if (token !== undefined && !this.finished) this.hub.engine.login(this.handle, token);
      };
      return await this.#soon(this.#logins.token(renew));
    } catch (cause) {
      this.#report('ERR_NOT_AUTHORIZED', 'options.identity.oidc.token', cause);
    }
  }

  #report(code, what, cause) {
    if (this.finished) return;
    this.error(new LinkupError(code, `${what} failed: ${cause?.message ?? cause}`, { cause }));
  }

  async #close() {
    const { engine } = this.hub;
    // Also after `unref()`: whoever waits for the end shall see it.
    this.hold(true);
    this.finished = true;
    this.state = 'closed';
    this.#logins.stop();
    const pending = this.roster.closing();
    this.#leaving.reject(this.closedError());
    await this.#created;
    const results = await Promise.allSettled(pending);
    const late = results.map(({ value }) => value).find((error) => error !== undefined);
    const error = await new Promise((resolve) => {
      this.#ended = resolve;
      engine.closePeer(this.handle);
    });
    engine.hold(-1);
    if (error ?? late) throw error ?? late;
  }
}

module.exports = { PeerCore };
