'use strict';
// createBroker: a broker inside this process. Knows the addon's two functions for it; what a broker does is in Rust.

const { check, checkNames, checkText } = require('./check');
const { Emitter } = require('./emitter');
const { turnOptions } = require('./turn-options');

const DEFAULT_PORT = 5000;
const NAMES = ['port', 'host', 'files', 'origins', 'turn'];

/** A broker server. Comes from `createBroker()`. */
class Broker extends Emitter {
  #hub;
  #handle;
  #addresses = [];
  #turnAddresses = [];
  #held = false;
  #ready;
  #awaited = false;
  #closing;

  constructor(hub, settings) {
    super();
    this.#hub = hub;
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
    return address && `ws://${address.replace(/^(0\.0\.0\.0|\[::\]):/, 'localhost:')}`;
  }

  /** Stops listening and ends all sockets. */
  close() {
    this.#closing ??= this.#close();
    return this.#closing;
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
    const { handle, addresses, turnAddresses } = await this.#hub.ask(this, undefined, (token) => {
      engine.createBroker(mailbox, token, text);
    });
    this.#handle = handle;
    this.#addresses = addresses;
    this.#turnAddresses = turnAddresses;
    this.emit('listening');
    return this;
  }

  async #close() {
    try {
      await this.#ready;
    } catch {
      return;
    }
    this.#hold(true);
    const { engine, mailbox } = this.#hub;
    await this.#hub.ask(this, undefined, (token) => engine.closeBroker(mailbox, token, this.#handle));
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

/** `createBroker` over the mailbox of `hub`. */
function brokers(hub) {
  return function createBroker(options = {}) {
    checkNames(options, NAMES);
    const { port = Number(process.env.PORT || DEFAULT_PORT), host, files, origins } = options;
    check(
      Number.isInteger(port) && port >= 0 && port < 65536,
      'options.port',
      'must be a whole number from 0 to 65535',
    );
    if (host !== undefined) checkText(host, 'options.host');
    if (files !== undefined) checkText(files, 'options.files');
    if (origins !== undefined) {
      check(Array.isArray(origins), 'options.origins', 'must be a list of origins');
      for (const origin of origins) checkText(origin, 'options.origins');
    }
    return new Broker(hub, { port, host, files, origins, turn: turnOptions(options.turn) });
  };
}

module.exports = { brokers, Broker };
