'use strict';
// createBroker: a broker inside this process. Knows the addon's functions for it; what a broker does is in Rust.

const { brokerOptions } = require('./broker-options');
const { checkNames, checkNumbers } = require('./check');
const { Emitter } = require('./emitter');
const { LinkupError } = require('./errors');
const EVENTS = require('./events');

const DENIED = 'the broker does not let this peer register';

/** A broker server. Comes from `createBroker()`. */
class Broker extends Emitter {
  #hub;
  #handle;
  #addresses = [];
  #turnAddresses = [];
  #scheme = 'ws';
  #held = false;
  #ready;
  #awaited = false;
  #begun;
  #ended;
  #closing;

  constructor(hub, settings, begun, ended) {
    super();
    this.#hub = hub;
    this.#begun = begun;
    this.#ended = ended;
    this.#hold(true);
    this.#ready = this.#listen(settings);
    this.#ready.catch((error) => this.#failed(error));
  }

  /** Resolves with the broker when it listens. */
  get ready() {
    this.#awaited = true;
    return this.#ready;
  }

  /** The addresses that it listens on, as 'host:port'. */
  get addresses() {
    return [...this.#addresses];
  }

  /** The addresses on which STUN and TURN listen, as 'host:port', for UDP and TCP. */
  get turnAddresses() {
    return [...this.#turnAddresses];
  }

  /** The port that it listens on. */
  get port() {
    const address = this.#addresses[0];
    return address === undefined ? undefined : Number(address.slice(address.lastIndexOf(':') + 1));
  }

  /** The URL for `options.brokerUrl` of peers on this machine. */
  get url() {
    const address = this.#addresses[0];
    return address && `${this.#scheme}://${address.replace(/^(0\.0\.0\.0|\[::\]):/, 'localhost:')}`;
  }

  /** Stops listening and ends all sockets; with `drain`, tells the peers before to move on, for so many ms at most. */
  close(options = {}) {
    checkNames(options, ['drain']);
    const { drain } = checkNumbers(options, { drain: 0 }, 'options');
    this.#closing ??= this.#close(drain);
    return this.#closing;
  }

  /** Reads the certificates again. */
  async reload() {
    await this.#ready;
    try {
      this.#hub.engine.reloadBroker(this.#handle);
    } catch (cause) {
      throw new LinkupError('ERR_UNSUPPORTED', `the certificates are as they were: ${cause.message}`, { cause });
    }
  }

  /** Keeps the process alive while it listens: the default. */
  ref() {
    this.#hold(true);
    return this;
  }

  /** Lets the process end although it listens. */
  unref() {
    this.#hold(false);
    return this;
  }

  async #listen(settings) {
    const { engine, mailbox } = this.#hub;
    const text = JSON.stringify(settings);
    const { addresses, turnAddresses, tls } = await this.#hub.ask(this, undefined, (token) => {
      this.#handle = engine.createBroker(mailbox, token, text);
      this.#begun(this.#handle);
    });
    this.#addresses = addresses;
    this.#turnAddresses = turnAddresses;
    if (tls) this.#scheme = 'wss';
    this.emit('listening');
    return this;
  }

  async #close(drain) {
    try {
      await this.#ready;
    } catch {
      return;
    }
    this.#hold(true);
    const { engine, mailbox } = this.#hub;
    await this.#hub.ask(this, undefined, (token) => engine.closeBroker(mailbox, token, this.#handle, drain));
    this.#ended(this.#handle);
    this.#hold(false);
    this.emit('close');
  }

  #failed(error) {
    this.#hold(false);
    if (!this.emit('error', error) && !this.#awaited) this.#hub.engine.warn(error.message, error.code);
  }

  #hold(wanted) {
    if (wanted === this.#held) return;
    this.#held = wanted;
    this.#hub.engine.hold(wanted ? 1 : -1);
  }
}

/** Asks the application about a registration, and tells the addon: what is neither true nor nothing denies. */
async function decide(engine, question, authorize, { id, token, origin, address }) {
  let reason = null;
  try {
    const request = { id, token: token ?? undefined, origin: origin ?? undefined, address };
    const verdict = await authorize(request);
    if (verdict === false || typeof verdict === 'string') reason = verdict || DENIED;
  } catch (error) {
    reason = String(error?.message ?? error ?? '') || DENIED;
  }
  engine.authorized(question, reason);
}

/** `createBroker` over the mailbox of `hub`. */
function brokers(hub) {
  const { engine } = hub;
  // Who decides, by the handles of the brokers.
  const deciding = new Map();
  hub.others = (kind, question, info) => {
    if (kind !== EVENTS.AUTHORIZE) return false;
    const asked = engine.parse(info);
    const authorize = deciding.get(asked.broker);
    if (authorize) decide(engine, question, authorize, asked);
    else engine.authorized(question, 'the broker closes');
    return true;
  };
  return function createBroker(options = {}) {
    const settings = brokerOptions(options);
    const { authorize } = options;
    const begun = (handle) => authorize && deciding.set(handle, authorize);
    return new Broker(hub, settings, begun, (handle) => deciding.delete(handle));
  };
}

module.exports = { brokers, Broker };
