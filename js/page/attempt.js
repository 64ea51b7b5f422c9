'use strict';
// From the wish for a connection to an open transport: our own calls, and what both sides of an attempt share. What the
// remote says is read in signaling.js. The same rules in Rust: crates/core/src/attempt.rs.

const EVENTS = require('../events');
const { Books, Link } = require('./books');
const { uuid } = require('./random');
const { isRelay } = require('./relay');
const { failure } = require('./signal');
const {
  ANSWERING,
  ASKING,
  CALLING,
  CLOSING,
  CONNECTING,
  JUDGING,
  LINKUP,
  PLAIN,
  RESUMING,
  WAITING,
} = require('./states');

/** How often a peer that may be on its way back to the broker is asked for. */
const ASK_AGAIN_AFTER = 100;
/**
 * How often an attempt that is not through says everything again: a signal is lost where the broker, or the socket that it
 * was to leave by, dies at that moment, and nobody says so.
 */
const REPEAT_AFTER = 2000;

class Attempts extends Books {
  /** The link of a call, which the application will hear of. */
  connect(remote, pinned) {
    const known = this.current(remote);
    if (known) {
      // The remote was faster. Where its connection is open, the event that says so is on its way.
      if (known.isAttempt) {
        // Its attempt becomes ours. Calling is accepting.
        known.wanted = true;
        if (!known.key) known.pinned ??= pinned;
        known.stop('end');
        this.limit(known);
        if (known.login) this.ask(known);
        else this.accept(known);
      }
      return known;
    }
    const { connections } = this.options.limits;
    let error;
    if (this.closing) error = failure('ERR_PEER_CLOSED', 'the peer is closed');
    else if (this.links.size >= connections && !this.#evictCaller()) {
      const message = `this peer has ${connections} connections (limits.connections)`;
      error = failure('ERR_DENIED', message);
    }
    if (error) {
      const link = new Link(this, remote, true);
      this.put(EVENTS.CLOSED, link, error);
      return link;
    }
    const link = this.insert(remote, true);
    link.pinned ??= pinned;
    this.begin(link);
    return link;
  }

  /** Makes room for a call of our own: strangers' attempts must not keep us from calling. */
  #evictCaller() {
    const link = this.find((link) => !link.isKnown);
    if (link) this.end(link, null, 'ERR_DENIED', 'too many connections');
    return link;
  }

  /** Sets the end of an attempt's time. */
  limit(link) {
    link.since ??= Date.now();
    link.afterOnce('end', this.options.timeouts.connect, () => this.deadline(link));
  }

  /** Calls, as soon as it can be done. */
  begin(link) {
    this.#askWhetherThere(link);
    if (!this.broker.registered) return;
    this.limit(link);
    // A new offer ends what the remote has of us: first it gets what `close()` promised to deliver.
    if (this.find((other) => other.remote === link.remote && (other.state === CLOSING || other.ending))) return;
    link.session = uuid();
    link.state = CALLING;
    this.startTransport(link);
  }

  /**
   * No path to the remote was found. Where there is as much time left as has passed, we call once more, with fresh sockets:
   * browsers hide their addresses behind names of mDNS, which may be known too late for the first attempt. `tell`: the
   * remote hears of it. False: it is over.
   */
  lookAgain(link, error, tell) {
    if (error.code === 'ERR_ICE_FAILED' && this.callOverBroker(link)) return true;
    const late = Date.now() - link.since > this.options.timeouts.connect / 2;
    const { isAttempt, wanted, kind, pathless } = link;
    if (error.code !== 'ERR_ICE_FAILED' || late || !isAttempt || !wanted || kind !== LINKUP || pathless) return false;
    link.pathless = error;
    if (tell) this.sendBye(link, error.code);
    this.callAgain(link);
    return true;
  }

  /** Begins again with a call of our own, after the attempt of the remote that took its place came to nothing. */
  callAgain(link) {
    this.stopTransport(link);
    this.forgetQuestion(link);
    link.reset();
    link.state = WAITING;
    link.session = '';
    this.begin(link);
  }

  /** The same, but only once: the remote may have given up nothing but a call of its own, or may mean it. False: it was. */
  callOnceMore(link) {
    if (link.retried) return false;
    link.retried = true;
    this.callAgain(link);
    return true;
  }

  /** The broker is back: goes on with what needs it, and says again what it may have lost. */
  brokerIsBack(link) {
    if (link.state === WAITING) this.begin(link);
    else if (link.state === CALLING) this.#askWhetherThere(link);
    if ([CALLING, CONNECTING, ANSWERING].includes(link.stage)) this.repeat(link);
    else this.renew(link);
  }

  #askWhetherThere(link) {
    link.question ??= this.broker.find(link.remote, (found, error) => this.#found(link, found, error));
  }

  #found(link, found, error) {
    link.question = undefined;
    if (error) this.giveUp(link, error);
    else if (link.state !== CALLING) return;
    else if (found) {
      if (link.missed) this.repeat(link);
      link.missed = false;
    } else if (this.broker.othersMayReturn) {
      link.missed = true;
      link.after('again', ASK_AGAIN_AFTER, () => this.#askWhetherThere(link));
    } else {
      const name = JSON.stringify(link.remote);
      this.giveUp(link, failure('ERR_PEER_NOT_FOUND', `nobody is registered as ${name}`));
    }
  }

  /** Nothing of the broker's answer matters any more. */
  forgetQuestion(link) {
    this.broker.forget(link.question);
    link.question = undefined;
    link.stop('again');
  }

  /** The application is to say what becomes of a call, or of the login of whom it has called. */
  ask(link) {
    const { remote, metadata, key, login, wanted } = link;
    this.put(EVENTS.REQUEST, link, { peer: this, from: remote, metadata, key, login, wanted });
  }

  /** Takes a caller's offer: the transport comes to be. */
  accept(link) {
    if (link.state !== ASKING) return;
    const { offer } = link;
    link.offer = undefined;
    link.state = ANSWERING;
    this.startTransport(link, offer);
    this.handCandidates(link);
  }

  /** Hands on the remote's candidates that came before the transport could take them. */
  handCandidates(link) {
    for (const candidate of link.addresses.values()) link.newest.addCandidate(candidate);
  }

  /** The transport has a description of ours. */
  described(link, sdp) {
    if (!this.options.transforms || isRelay(sdp)) return this.describe(link, sdp);
    this.put(EVENTS.TRANSFORM, this, link.newest, sdp);
  }

  /** Our description is ready to leave, and with it the candidates that were faster. */
  describe(link, sdp) {
    const { stage } = link;
    if (stage !== CALLING && stage !== ANSWERING) return;
    link.said.push({ type: stage === CALLING ? 'offer' : 'answer', sdp }, ...link.held);
    link.held = [];
    this.#repeatLater(link);
    this.#passOn(link);
  }

  #repeatLater(link) {
    link.after('repeat', REPEAT_AFTER, () => {
      if (!link.isAttempt && link.state !== RESUMING) return;
      this.#repeatLater(link);
      this.repeat(link);
    });
  }

  /** The transport has an address of ours. Once open, a pair of addresses works. */
  gathered(link, candidate) {
    if ((!link.isAttempt && link.state !== RESUMING) || !this.options.trickle) return;
    const body = { type: 'candidate', candidate };
    if (link.said.length === 0) link.held.push(body);
    else {
      link.said.push(body);
      this.#passOn(link);
    }
  }

  /** Sends what has not been sent yet. */
  #passOn(link) {
    if (!this.broker.registered) return;
    while (link.passed < link.said.length) this.sendSignal(link, link.said[link.passed++]);
  }

  /** Says everything again: the remote may have missed it. A linkup peer knows what it has heard already. */
  repeat(link) {
    // An offer that is answered stays answered: again, it would be a new call to a peer that has lost this one.
    if (link.kind !== PLAIN) link.passed = Math.min(link.passed, [JUDGING, CONNECTING].includes(link.stage) ? 1 : 0);
    this.#passOn(link);
  }

  /** `link` may be a signal that found no link. */
  sendBye(link, code, reason = '') {
    if (link.kind === LINKUP) this.sendSignal(link, { type: 'bye' }, { bye: { code, reason } });
  }
}

module.exports = { Attempts, REPEAT_AFTER };
