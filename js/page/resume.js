'use strict';
// A connection that outlives its transports: calling for another one when the old is silent or gone, and moving over.
// The caller of a connection makes all of them, the other side asks for them; a number says which one a signal is about.
// The same rules in Rust: crates/core/src/resume.rs.

const EVENTS = require('../events');
const { Attempts, REPEAT_AFTER } = require('./attempt');
const { hasCrypto } = require('./crypto');
const { failure } = require('./signal');
const { ANSWERING, CALLING, CLOSING, CONNECTING, LEAVING, LINKUP, OPEN, RESUMING, WAITING } = require('./states');

/** The time of one transport to come up. The called side waits a little longer: it is the caller who begins anew. */
const ATTEMPT = 7000;
const ANSWER = 9000;
/** Between an attempt that failed at once, as where there is no network, and the next. */
const PAUSE = 500;
/** How often it is looked whether the remote is still registered, at most; so often in vain, and it is gone. */
const LOOK_AGAIN = 1500;
const MISSING = 3;
/** After the answer to a call: most ways through routers are found by then. */
const NO_PATH_AFTER = 4000;
/** From a connection over the broker until another way is looked for: first and at most, doubling. */
const LOOK_FIRST = 5000;
const LOOK_LAST = 300000;

class Resume extends Attempts {
  /** The link's transport has heard nothing for a while. It is kept: it may come back before another is there. */
  muted(link) {
    link.audible = false;
    this.#beLoud(link);
    if (link.state === OPEN || link.state === CLOSING) this.#interrupt(link);
  }

  /** It hears again. Another one that is coming up goes on: the remote may not hear us. */
  audible(link) {
    link.audible = true;
    if (link.state === RESUMING && !link.next) this.#goOn(link);
  }

  /** Whether this link could go over the broker. */
  #mayRelay({ kind, receive }) {
    return kind === LINKUP && receive.resume && receive.relay && this.broker.relay && hasCrypto();
  }

  /** Our call is answered: it does not wait for ever for a direct way. */
  expectPath(link) {
    if (this.#mayRelay(link) && link.wanted && !link.byRelay) {
      link.after('path', NO_PATH_AFTER, () => this.callOverBroker(link));
    }
  }

  /** Our call begins anew, over the broker. False: that cannot be. */
  callOverBroker(link) {
    const calling = link.stage === CALLING || link.stage === CONNECTING;
    if (!this.#mayRelay(link) || !calling || !link.isAttempt || !link.wanted || link.byRelay) return false;
    link.byRelay = true;
    this.sendBye(link, 'ERR_ICE_FAILED');
    this.callAgain(link);
    return true;
  }

  /** A connection has a transport that works. Where that is not direct, a better one is looked for later. */
  notePath(link) {
    link.relayed = link.byRelay;
    // The browser itself may go over to a better way.
    const turned = () => link.transport.path === 'turn' && this.options.iceTransportPolicy !== 'relay';
    if (!link.caller || !link.transport.resumes || !(link.relayed || turned())) return link.stop('path');
    link.after('path', Math.min(LOOK_LAST, LOOK_FIRST * 2 ** link.looks++), () => {
      if (link.state !== OPEN || !(link.relayed || turned())) return;
      link.direct = !link.relayed;
      link.quiet = true;
      this.#interrupt(link);
    });
  }

  /** A transport has a packet for the broker; the broker has one. */
  relay({ remote, session, kind, carried }, data, number = carried) {
    this.sendSignal({ remote, session, kind, number }, { type: 'relay', data });
  }

  packet(signal) {
    const link = this.linkOf(signal);
    if (link?.next && signal.number === link.number) link.next.packet(signal.packet);
    else if (signal.number === link?.carried) link.transport?.packet(signal.packet);
  }

  /** The broker is lost, with all that was on its way through it. */
  loseRelays() {
    for (const link of this.links) {
      const error = failure('ERR_CONNECTION_LOST', 'it went over the broker, which is lost');
      if (link.relayed && link.state < LEAVING) this.failed(link, error);
    }
  }

  /** What was looked for quietly is needed now. */
  #beLoud(link) {
    if (!link.quiet) return;
    link.quiet = false;
    link.ending = false;
    this.#wait(link);
    this.#takeAnyWay(link);
  }

  /** The network may be one that only a TURN server leads out of. */
  #takeAnyWay(link) {
    const { direct, next } = link;
    link.direct = false;
    if (!direct || !next) return;
    link.phase = WAITING;
    this.stopNext(link);
    this.renew(link);
  }

  /** The remote has cut the transport, and now says that it goes on over another one. */
  #comeBack(link) {
    if (!link.cut) return;
    link.stop('end');
    Object.assign(link, { cut: false, why: link.farewell, state: OPEN });
  }

  /** From now on it waits for another transport; `offered`: for one that the remote has offered already. */
  #interrupt(link, offered) {
    if (link.state === RESUMING) return;
    if (!link.quiet) link.ending = link.state === CLOSING;
    Object.assign(link, { state: RESUMING, phase: WAITING, audible: link.quiet });
    if (!link.quiet) this.#wait(link);
    if (!offered) this.renew(link);
  }

  #wait(link) {
    link.missing = link.looks = 0;
    const { resume } = this.options.timeouts;
    link.after('resume', resume, () => {
      const why = link.why?.message ?? 'nothing is heard of it';
      const message = `no way to ${JSON.stringify(link.remote)} within ${resume} ms: ${why}`;
      this.giveUp(link, failure('ERR_CONNECTION_LOST', message));
    });
    if (!link.ending) this.put(EVENTS.RECONNECTING, link);
    this.broker.probe();
    this.#lookWhetherGone(link);
  }

  /** The connection has a transport that works. */
  #goOn(link) {
    link.stop('resume', 'next', 'gone', 'repeat');
    this.forgetQuestion(link);
    Object.assign(link, { why: undefined, tries: 0, direct: false, state: link.ending ? CLOSING : OPEN });
    link.clear();
    if (!link.ending && !link.quiet) this.put(EVENTS.RECONNECTED, link);
    link.quiet = false;
    this.notePath(link);
    this.calmDown();
  }

  /** Without a connection that waits, the broker may take its time again. */
  calmDown() {
    this.broker.hurries = Boolean(this.find((link) => link.state === RESUMING));
  }

  /** Calls for another transport, or has the remote do so. */
  renew(link) {
    if (link.stage !== WAITING || link.state !== RESUMING || !this.broker.registered) return;
    if (link.caller) {
      link.phase = CALLING;
      link.number += 1;
      if (!link.quiet) link.tries += 1;
      // By turns: without a network that carries UDP there may still be one that carries the broker's words.
      link.byRelay = Boolean(!link.quiet && link.tries % 2 === 0 && this.#mayRelay(link));
      return this.#beginNext(link, ATTEMPT);
    }
    link.after('repeat', REPEAT_AFTER, () => this.renew(link));
    this.sendSignal(link, { type: 'resume' });
  }

  #beginNext(link, time, offer) {
    this.stopNext(link);
    link.clear();
    link.after('next', time, () => this.#again(link));
    const fail = () => {
      this.stopNext(link);
      if (link.audible) return this.#stay(link);
      link.phase = WAITING;
      link.stop('repeat');
      this.#beLoud(link);
      link.after('next', PAUSE, () => this.#again(link));
    };
    const { options } = this;
    this.startTransport(link, offer, {
      options,
      put() {},
      relay: (_, data) => this.relay(link, data, link.number),
      described: (_, sdp) => this.described(link, sdp),
      gathered: (_, candidate) => this.gathered(link, candidate),
      opened: () => this.#moveOver(link),
      gone: fail,
      failed: fail,
    });
  }

  #again(link) {
    this.stopNext(link);
    if (link.audible) return this.#stay(link);
    link.phase = WAITING;
    this.#beLoud(link);
    this.renew(link);
  }

  /** Keeps the transport that it has. */
  #stay(link) {
    link.byRelay = link.relayed;
    this.#goOn(link);
  }

  #moveOver(link) {
    const { next } = link;
    link.next = undefined;
    link.carried = link.number;
    link.transport.moveOver(next);
    this.#goOn(link);
    if (link.ending) link.transport.close();
  }

  /** Takes away the transport that is coming up. */
  stopNext(link) {
    link.next?.abort();
    link.next = undefined;
  }

  /** A signal is about another transport of a connection. */
  renewed(signal) {
    const { number, offer, answer } = signal;
    const link = this.linkOf(signal);
    // Where there is none any more, the remote hears that.
    if (!link) return answer === undefined && this.sendBye({ ...signal, number: 0 }, 'ERR_CONNECTION_LOST');
    const { caller, state } = link;
    if (answer !== undefined) {
      if (number !== link.number || link.stage !== CALLING || !link.next) return;
      link.phase = CONNECTING;
      link.next.setAnswer(answer);
      this.handCandidates(link);
    } else if (!(link.cut || [OPEN, RESUMING, CLOSING].includes(state)) || !link.transport.resumes) return;
    else if (offer === undefined) {
      // The called side needs another one than that; where we look for a direct way, it takes any. One that it does not
      // know of is on its way.
      if (link.direct && number + 1 === link.number) return this.#takeAnyWay(link);
      if (!caller || number !== link.number) return;
      link.quiet ||= state === OPEN;
      this.#comeBack(link);
      this.#interrupt(link);
      this.renew(link);
    } else if (!caller && number > link.number) {
      link.heard = signal.heard;
      link.quiet ||= state === OPEN;
      this.#comeBack(link);
      this.#interrupt(link, true);
      Object.assign(link, { number, phase: ANSWERING });
      link.stop('repeat');
      this.#beginNext(link, ANSWER, offer);
    } else if (!caller && number === link.number) this.repeat(link);
  }

  /** Asks the broker whether the remote is still registered: then it may come back. */
  #lookWhetherGone(link) {
    link.after('gone', Math.min(LOOK_AGAIN, this.options.timeouts.idle * 0.15), () => this.#lookWhetherGone(link));
    if (link.question || !this.broker.wouldKnow(link.heardIn)) return;
    link.question = this.broker.find(link.remote, (found, error) => {
      link.question = undefined;
      if (error || link.state !== RESUMING) return;
      link.missing = found ? 0 : link.missing + 1;
      if (link.missing < MISSING) return;
      const message = `${JSON.stringify(link.remote)} is gone: not heard, and not registered any more`;
      this.giveUp(link, failure('ERR_CONNECTION_LOST', message));
    });
  }

  /** A connection's transport has broken; false where that is its end. */
  outlives(link, error) {
    const lives = [OPEN, RESUMING, CLOSING].includes(link.state) && link.transport.resumes;
    if (!lives || link.kind !== LINKUP || error.code === 'ERR_PROTOCOL') return false;
    link.why = error;
    link.audible = false;
    // Without silence before: the remote has moved over already.
    if (link.quiet && link.stage !== WAITING && link.stage !== CALLING) return true;
    this.#beLoud(link);
    this.#interrupt(link);
    return true;
  }
}

module.exports = { Resume };
