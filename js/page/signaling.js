'use strict';
// What remote peers say through the broker: offers, answers, candidates, byes. All of it may be hostile.
// The same rules in Rust: crates/core/src/{signaling,glare}.rs.

const { keyOfId } = require('../identity');
const { utf8 } = require('../message');
const { hasCrypto } = require('./crypto');
const { bodyOf, digest, verify } = require('./identity');
const { Resume } = require('./resume');
const { failure, readSignal } = require('./signal');
const {
  ANSWERING,
  ASKING,
  CALLING,
  CLOSING,
  CONNECTING,
  JUDGING,
  LEAVING,
  LINKUP,
  OPEN,
  PLAIN,
  RESUMING,
} = require('./states');

/** Attempts of strangers that may be under way at once, before they are told to come back later. */
const MAX_INCOMING = 256;
/** Candidates that a remote may name for one attempt: each makes us send packets to an address of its choice. */
const MAX_CANDIDATES = 64;
/** After a remote's bye: for what it sent before to arrive. */
const LEAVE_AFTER = 1000;

class Signaling extends Resume {
  #coming = Promise.resolve();

  /** The broker has a signal for us. */
  signaled(from, text) {
    // We never call ourselves: this is a broker's mistake, or somebody's joke.
    if (from === this.options.id) return;
    let signal;
    try {
      signal = { ...readSignal(text), remote: from };
    } catch {
      return this.putError(failure('ERR_PROTOCOL', `no signal: ${text.slice(0, 99)}`), from);
    }
    if (!hasCrypto()) return this.#take(signal, signal.key && null);
    // One after the other: the order counts.
    const next = async () => {
      // Packets are sealed by the transport's own keys.
      if (signal.packet !== undefined) return this.#take(signal);
      const { key } = signal;
      signal.heard = await digest(bodyOf(text));
      const right = key && (await verify(key, from, this.options.id, text));
      this.#take(signal, right ? key : right);
    };
    this.#coming = this.#coming.then(next, next);
  }

  /** `key`: who has signed it; false where it is not who it says; undefined where it is not signed, null where we cannot tell. */
  #take(signal, key) {
    const { remote: from } = signal;
    if (signal.packet !== undefined) this.packet(signal);
    else if (!this.#isAuthentic(signal, key)) this.#refuse(signal);
    else if ((signal.number && !signal.candidate && !signal.bye) || signal.resume) this.renewed(signal);
    else if (signal.offer !== undefined) this.#offered(signal);
    else if (signal.answer !== undefined) this.#answered(signal);
    else if (signal.candidate) this.#addressed(signal);
    else if (signal.bye) this.#bade(signal);
    for (const link of this.links) if (link.remote === from) link.heardIn = this.broker.count;
  }

  /**
   * Whether a signal may be what the remote has said to us. Nobody signs but linkup peers with a key, so nothing is expected
   * of others; but where a key is known, all must be signed with it.
   */
  #isAuthentic(signal, key) {
    const { remote, offer, answer, bye, about, number } = signal;
    const link = this.linkOf(signal);
    // A call of somebody whom we call, too, takes the place of ours.
    const pinned = offer === undefined ? undefined : this.current(remote)?.pinned;
    const expected = link?.key ?? link?.pinned ?? pinned ?? keyOfId(remote);
    signal.key = key ?? undefined;
    if (key === false || (expected !== undefined && key !== expected)) return false;
    // Who has signed a bye before it knew of this connection, has signed nothing about it.
    if (bye && key && link && !link.isAttempt) return [link.first, link.offered, link.asked].includes(about ?? null);
    // It answers the very words of ours: what reached the remote is what we have said.
    const answers = answer !== undefined && link?.stage === CALLING && number === link.number;
    return !answers || !key || about === link.offered;
  }

  /** Somebody else has said that, or it was changed on its way: an attempt ends by it, an open connection does not. */
  #refuse(signal) {
    const { remote, offer, kind } = signal;
    const link = this.linkOf(signal) ?? (offer === undefined ? undefined : this.current(remote));
    const error = failure(
      'ERR_IDENTITY_MISMATCH',
      `what was said in the name of ${JSON.stringify(remote)} is not signed with its key, or was changed on its way`,
    );
    if (link?.isAttempt) {
      // Who really answered shall not wait for ever.
      if (kind === LINKUP) link.kind = kind;
      this.giveUp(link, error);
      if (link.wanted) return;
    } else if (!link) {
      if (offer === undefined) return;
      this.sendBye(signal, error.code);
    }
    this.putError(error, remote);
  }

  /**
   * What an offer means in the light of what is there with its sender. Two peers that call each other at once must end
   * with one connection and pick the same one without asking: the offer of the smaller id wins. The rest follows from
   * the broker's keeping the order: see crates/core/src/glare.rs.
   */
  #offered(offer) {
    const { session, kind, remote } = offer;
    if (this.closing) return this.sendBye(offer, 'ERR_PEER_CLOSED');
    const link = this.linkOf(offer) ?? this.current(remote);
    // The caller has made each of its sessions once.
    if (offer.key && this.hasAnswered(offer)) {
      return this.sendBye(offer, 'ERR_IDENTITY_MISMATCH', 'this offer was used before');
    }
    if (!link) return this.#called(offer);
    if (link.session === session) {
      // The caller came back to the broker and does not know whether our answer was lost.
      if (link.state === ANSWERING) this.repeat(link);
    } else if (link.state === CALLING && link.passed > 0 && order(this.options.id) < order(remote)) {
      // Ours wins. The remote may have missed it: whoever has it already passes over the second one.
      if (kind !== LINKUP) return;
      link.kind = LINKUP;
      this.repeat(link);
    } else if (link.isAttempt && link.wanted) {
      // We want the peer that calls, too: it is answered under the name of our own call.
      this.stopTransport(link);
      this.forgetQuestion(link);
      link.reset();
      this.#note(link, offer);
      this.#askOrAccept(link, false);
    } else {
      // What is open, with a remote that has a key, stays so until the new one is open, too: only who has the keys of what is
      // offered gets that far.
      if (link.isAttempt || !link.key) this.replace(link);
      this.#called(offer, link);
    }
  }

  /** Another connection with the same remote takes the place of this one. */
  replace(link) {
    const message = `${JSON.stringify(link.remote)} lost the connection, and made another one`;
    this.end(link, failure('ERR_CONNECTION_LOST', message));
  }

  /** A call that nobody here asked for; it may take the place of a connection. */
  #called(offer, replaced) {
    const { remote } = offer;
    const callers = [...this.links].filter((link) => !link.isKnown).length;
    const others = this.links.size - Number(this.links.has(replaced));
    if (others >= this.options.limits.connections || callers >= MAX_INCOMING) {
      // Whoever keeps that bye back shall not have it for a connection that comes of the same offer later.
      if (offer.key) this.noteAnswered(offer);
      return this.sendBye(offer, 'ERR_DENIED', 'too many connections');
    }
    const link = this.insert(remote, false);
    this.#note(link, offer);
    this.#askOrAccept(link, this.options.asks);
  }

  #note(link, { session, kind, metadata, receive, offer, key, login, heard }) {
    Object.assign(link, { session, kind, metadata, receive, offer, key, heard, first: heard, state: ASKING });
    this.#noteLogin(link, login);
    this.limit(link);
  }

  #noteLogin(link, login) {
    link.login = link.key && this.options.verifies && login ? login : undefined;
  }

  /** Takes a call, after the application's word where it wants to have one. */
  #askOrAccept(link, asks) {
    if (asks || link.login) this.ask(link);
    else this.accept(link);
  }

  #answered(signal) {
    const { kind, metadata, receive, answer, key, login } = signal;
    const link = this.linkOf(signal);
    // We gave that call up before we knew that a bye would be understood: without one the other side would go on,
    // and our next call or its own would wait for an attempt that is dead.
    if (!link) return this.sendBye(signal, 'ERR_CONNECTION_CLOSED');
    if (link.state !== CALLING || link.passed === 0 || (kind === PLAIN && link.kind === LINKUP)) return;
    Object.assign(link, { kind, metadata, receive, key, offer: answer, state: JUDGING });
    this.#noteLogin(link, login);
    this.forgetQuestion(link);
    if (link.login) this.ask(link);
    else this.takeAnswer(link);
  }

  /** Who has answered our call is whom we mean. */
  takeAnswer(link) {
    const { missed, offer } = link;
    Object.assign(link, { state: CONNECTING, missed: false, offer: undefined });
    link.transport.setAnswer(offer);
    this.handCandidates(link);
    this.expectPath(link);
    if (missed) this.repeat(link);
  }

  #addressed(signal) {
    const { kind, candidate } = signal;
    const link = this.linkOf(signal);
    if (!link || (kind === PLAIN && link.kind === LINKUP) || !link.isCurrent) return;
    const { addresses, stage, newest } = link;
    if (kind === LINKUP && signal.number !== link.number) return;
    const key = JSON.stringify(candidate);
    if (candidate.candidate === '' || addresses.size >= MAX_CANDIDATES || addresses.has(key)) return;
    addresses.set(key, candidate);
    if ([CONNECTING, ANSWERING, OPEN].includes(stage)) newest.addCandidate(candidate);
  }

  #bade(signal) {
    const { code, reason } = signal.bye;
    const link = this.linkOf(signal);
    if (!link) return;
    const what = code === 'ERR_DENIED' ? 'denied' : 'ended';
    let error = failure(code, `${JSON.stringify(signal.remote)} ${what} the connection${reason && ': '}${reason}`);
    if (code === 'ERR_ICE_FAILED' && link.isAttempt && link.transport) error = link.transport.explained(error);
    const farewell = code === 'ERR_CONNECTION_CLOSED' ? null : error;
    const unwilling = ['ERR_ABORTED', 'ERR_CONNECTION_CLOSED', 'ERR_CONNECT_TIMEOUT'].includes(code);
    if (link.state === ANSWERING && link.wanted && unwilling) {
      // The remote does not want its own call any more. That says nothing about ours.
      this.callAgain(link);
    } else if ([CALLING, CONNECTING].includes(link.state) && unwilling && this.callOnceMore(link)) {
      // It had taken our call as the answer to its own, or it has closed what was open there.
      return;
    } else if (link.state === OPEN) this.part(link, farewell, LEAVE_AFTER);
    // Nothing more can be on its way.
    else if (link.state === RESUMING && !link.ending) this.end(link, farewell);
    // Both close: our own flush says how it ended.
    else if ((link.state === CLOSING || link.ending) && ['ERR_CONNECTION_CLOSED', 'ERR_PEER_CLOSED'].includes(code))
      return;
    else if (this.lookAgain(link, error)) return;
    else if (link.state !== LEAVING) this.end(link, error);
    // The transport is gone already, and this says why.
    else if (link.cut) this.end(link, farewell);
  }
}

/** A text whose usual order is that of the id's UTF-8 bytes. */
const order = (id) => String.fromCharCode(...utf8(id));

module.exports = { Signaling };
