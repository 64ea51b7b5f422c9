'use strict';
// What remote peers say through the broker: offers, answers, candidates, byes. All of it may be hostile.
// The same rules in Rust: crates/core/src/{signaling,glare}.rs.

const { Attempts } = require('./attempt');
const { EVENTS, STATES, nextHandle } = require('./books');
const { LINKUP, PLAIN, failure, readSignal } = require('./signal');

const { CALLING, CONNECTING, ASKING, ANSWERING, OPEN, CLOSING, LEAVING } = STATES;

/** Attempts of strangers that may be under way at once, before they are told to come back later. */
const MAX_INCOMING = 256;
/** Candidates that a remote may name for one attempt: each makes us send packets to an address of its choice. */
const MAX_CANDIDATES = 64;
/** After a remote's bye: for what it sent before to arrive. */
const LEAVE_AFTER = 1000;

const FAREWELLS = {
  ERR_DENIED: 'denied the connection',
  ERR_CONNECTION_CLOSED: 'closed the connection',
  ERR_PEER_CLOSED: 'is closing',
  ERR_CONNECTION_LOST: 'lost the connection',
};

class Signaling extends Attempts {
  /** The broker has a signal for us. */
  signaled(from, text) {
    // We never call ourselves: this is a broker's mistake, or somebody's joke.
    if (from === this.options.id) return;
    let signal;
    try {
      signal = readSignal(text);
    } catch (error) {
      return this.putError(error, from);
    }
    if (signal.offer !== undefined) this.#offered(from, signal);
    else if (signal.answer !== undefined) this.#answered(from, signal);
    else if (signal.candidate) this.#addressed(from, signal);
    else if (signal.bye) this.#bade(from, signal);
  }

  /**
   * What an offer means in the light of what is there with its sender. Two peers that call each other at once must end
   * with one connection and pick the same one without asking: the offer of the smaller id wins. The rest follows from
   * the broker's keeping the order: see crates/core/src/glare.rs.
   */
  #offered(from, offer) {
    const { session, kind } = offer;
    const refused = { remote: from, session, kind };
    if (this.closing) return this.sendBye(refused, { code: 'ERR_PEER_CLOSED', reason: '' });
    const link = this.current(from);
    if (link === undefined) return this.#called(from, offer);
    if (link.session === session) {
      // The caller came back to the broker and does not know whether our answer was lost.
      if (link.state === ANSWERING) this.repeat(link);
    } else if (link.state === CALLING && link.passed > 0 && isSmaller(this.options.id, from)) {
      // Ours wins. The remote may have missed it: whoever has it already passes over the second one.
      if (kind !== LINKUP) return;
      link.kind = LINKUP;
      this.repeat(link);
    } else if (link.isAttempt && link.wanted) this.#takeOver(link, offer);
    else {
      const message = `${JSON.stringify(from)} began a new connection: it had lost this one`;
      this.end(link, failure('ERR_CONNECTION_LOST', message));
      this.#called(from, offer);
    }
  }

  /** A call that nobody here asked for. */
  #called(from, { session, kind, metadata, offer }) {
    let callers = 0;
    for (const link of this.links) if (!link.isKnown) callers += 1;
    if (this.links.size >= this.options.limits.connections || callers >= MAX_INCOMING) {
      return this.sendBye({ remote: from, session, kind }, { code: 'ERR_DENIED', reason: 'too many connections' });
    }
    const link = this.insert(nextHandle(), from, false);
    Object.assign(link, { session, kind, metadata, offer, state: ASKING });
    this.limit(link);
    if (!this.options.asks) return this.accept(link);
    this.put(EVENTS.REQUEST, link.handle, JSON.stringify({ peer: this.handle, from, metadata }));
  }

  /** Answers a call of a peer that we want, too, under the name of our own call. */
  #takeOver(link, { session, kind, metadata, offer }) {
    this.stopTransport(link);
    this.forgetQuestion(link);
    link.reset();
    Object.assign(link, { session, kind, metadata, offer, state: ASKING });
    this.limit(link);
    this.accept(link);
  }

  #answered(from, { session, kind, metadata, answer }) {
    const link = this.linkOf(from, session);
    if (link === undefined) {
      // We gave that call up before we knew that a bye would be understood: without one the other side would go on,
      // and our next call or its own would wait for an attempt that is dead.
      const about = { remote: from, session, kind };
      return this.sendBye(about, { code: 'ERR_CONNECTION_CLOSED', reason: '' });
    }
    if (link.state !== CALLING || link.passed === 0 || (kind === PLAIN && link.kind === LINKUP)) return;
    const { missed } = link;
    Object.assign(link, { kind, metadata, state: CONNECTING, missed: false });
    this.forgetQuestion(link);
    link.transport.setAnswer(answer);
    this.handCandidates(link);
    if (missed) this.repeat(link);
  }

  #addressed(from, { session, kind, candidate }) {
    const link = this.linkOf(from, session);
    if (link === undefined || (kind === PLAIN && link.kind === LINKUP) || !link.isCurrent) return;
    const { addresses, state, transport } = link;
    const key = JSON.stringify(candidate);
    if (candidate.candidate === '' || addresses.size >= MAX_CANDIDATES || addresses.has(key)) return;
    addresses.set(key, candidate);
    if ([CONNECTING, ANSWERING, OPEN].includes(state)) transport.addCandidate(candidate);
  }

  #bade(from, { session, bye: { code, reason } }) {
    const link = this.linkOf(from, session);
    if (link === undefined) return;
    const what = FAREWELLS[code] ?? 'ended the connection';
    const error = failure(code, `${JSON.stringify(from)} ${what}${reason && ': '}${reason}`);
    const orderly = code === 'ERR_CONNECTION_CLOSED';
    const unwilling = ['ERR_ABORTED', 'ERR_CONNECTION_CLOSED', 'ERR_CONNECT_TIMEOUT'].includes(code);
    if (link.state === ANSWERING && link.wanted && unwilling) {
      // The remote does not want its own call any more. That says nothing about ours.
      this.callAgain(link);
    } else if (link.state === OPEN) this.part(link, orderly ? null : error, LEAVE_AFTER);
    // Both close: our own flush says how it ended.
    else if (link.state === CLOSING && ['ERR_CONNECTION_CLOSED', 'ERR_PEER_CLOSED'].includes(code)) return;
    else if (link.state === LEAVING && !link.cut) return;
    // The transport is gone already, and this says why.
    else if (link.state === LEAVING) this.end(link, orderly ? null : error);
    else this.end(link, error);
  }
}

/** Whether `a` comes before `b` in the order of their UTF-8 bytes, which is that of their characters. */
function isSmaller(a, b) {
  const [x, y] = [Array.from(a), Array.from(b)];
  const i = x.findIndex((character, i) => character !== y[i]);
  if (i < 0) return x.length < y.length;
  return i < y.length && x[i].codePointAt(0) < y[i].codePointAt(0);
}

module.exports = { Signaling };
