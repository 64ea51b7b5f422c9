'use strict';
// A peer in a page: open connections, every end, and what the application and the broker want of it.
// The same rules in Rust: crates/core/src/{closing,peer}.rs.

const { EVENTS, LONGEST, STATES } = require('./books');
const { Broker } = require('./broker');
const { randomHex } = require('./random');
const { dropSecret, takeSecret } = require('./secrets');
const { LINKUP, failure, reasonOf } = require('./signal');
const { Signaling } = require('./signaling');
const { sizeOf } = require('./channel');

const { WAITING, CALLING, CONNECTING, ASKING, ANSWERING, OPEN, CLOSING, LEAVING } = STATES;

/** How long the words of a remote that has cut the connection may take through the broker. */
const WORDS = 300;
/** What a transport gets on top of `timeouts.close` before it counts as stuck. */
const CLOSE_GRACE = 1000;

class PagePeer extends Signaling {
  closing = false;
  #closed = false;
  #closeError = null;
  #toldError = false;
  // The application's questions, by token.
  #finds = new Map();
  #timer;

  constructor(options, page) {
    super(options, page);
    this.broker = new Broker(options, takeSecret(options.id), this);
  }

  sessionName() {
    return randomHex();
  }

  // What the application wants.

  close(handle, error) {
    const link = this.page.ends.get(handle);
    if (link.state === OPEN && error === null) return this.#flush(link);
    if (!link.isAttempt && error === null) return;
    const reported = error ?? failure('ERR_CONNECTION_CLOSED', 'the connection was closed before it was open');
    if (!link.isAttempt || link.also.length === 0) return this.#cut(link, reported);
    // Others wait for the same attempt: it goes on for them.
    if (link.handle === handle) link.handle = link.also.shift();
    else link.also = link.also.filter((other) => other !== handle);
    this.page.ends.delete(handle);
    this.putClosed(handle, reported);
  }

  /** The decision about a caller: a reason denies. */
  decide(link, reason) {
    if (link.state !== ASKING) return;
    if (reason === null) this.accept(link);
    else this.end(link, null, { code: 'ERR_DENIED', reason });
  }

  transformed(transport, sdp) {
    const link = this.find((link) => link.transforming && link.transport?.handle === transport);
    if (link === undefined) return;
    link.transforming = false;
    this.describe(link, sdp);
  }

  /** Asks the broker for `id`; the answer comes under `token`. */
  look(token, id) {
    if (this.closing) return this.#settle(token, null, failure('ERR_PEER_CLOSED', 'the peer is closed'));
    this.#finds.set(token, { id });
    if (this.broker.ever) this.#limitFind(token);
    if (this.broker.registered) this.#askFind(token);
  }

  #limitFind(token) {
    const late = () => this.#settle(token, null, this.broker.noAnswer());
    this.#finds.get(token).timer ??= setTimeout(late, this.options.timeouts.broker);
  }

  #askFind(token) {
    const find = this.#finds.get(token);
    find.asked = this.ask({ type: 'find', id: find.id }, (found, error) => this.#settle(token, found, error));
    this.#limitFind(token);
  }

  #settle(token, value, error) {
    const find = this.#finds.get(token);
    this.#finds.delete(token);
    clearTimeout(find?.timer);
    this.questions.delete(find?.asked);
    this.put(EVENTS.SETTLED, token, JSON.stringify(value), error && JSON.stringify(error));
  }

  closePeer() {
    if (this.closing) return;
    this.closing = true;
    if (!this.broker.registered) this.broker.stop();
    this.#timer = setTimeout(
      () => {
        for (const link of [...this.links]) this.deadline(link);
      },
      Math.min(this.options.timeouts.close + CLOSE_GRACE, LONGEST),
    );
    const error = failure('ERR_PEER_CLOSED', 'the peer is closed');
    for (const token of [...this.#finds.keys()]) this.#settle(token, null, error);
    for (const link of [...this.links]) {
      if (link.isAttempt) this.giveUp(link, error);
      else if (link.state === OPEN) this.#flush(link);
    }
    this.#finishIfDone();
  }

  /** The page goes away, and nobody here hears anything any more. */
  leave() {
    for (const link of this.links) {
      this.sendBye(link, { code: 'ERR_CONNECTION_CLOSED', reason: '' });
      link.transport?.abort();
    }
  }

  // What the broker's session says.

  registered() {
    this.#toldError = false;
    this.put(EVENTS.REGISTERED, this.handle);
    for (const token of this.#finds.keys()) this.#askFind(token);
    for (const link of [...this.links]) this.resume(link);
  }

  offline(reason, retryIn) {
    this.put(EVENTS.OFFLINE, this.handle, reason, retryIn);
  }

  complain(error) {
    this.putError(error);
  }

  answered(id, message, error) {
    const answered = this.questions.get(id);
    this.questions.delete(id);
    answered?.(message !== null, error);
  }

  lost() {
    this.questions.clear();
    for (const link of this.links) {
      link.question = undefined;
      link.stop('again');
    }
    if (this.closing) this.broker.stop();
  }

  /** There is no broker, or it does not want us: what waits for it hears that. */
  noBroker(error) {
    let told = this.#finds.size > 0;
    for (const token of [...this.#finds.keys()]) this.#settle(token, null, error);
    for (const link of [...this.links]) {
      if (link.state !== WAITING && !(link.state === CALLING && link.waits('found'))) continue;
      told = true;
      this.giveUp(link, error);
    }
    if (!told && !this.#toldError) this.putError(error);
    this.#toldError = true;
  }

  // What a link's transport says.

  opened(link) {
    if (link.state !== CONNECTING && link.state !== ANSWERING) return;
    const { handle, remote, metadata, kind, also } = link;
    link.reset();
    Object.assign(link, { kind, state: OPEN, also: [] });
    link.stop();
    const incoming = !link.wanted;
    const about = { peer: this.handle, remote, incoming, metadata, linkup: kind === LINKUP };
    this.put(EVENTS.OPEN, handle, JSON.stringify(about));
    for (const other of also) {
      this.page.ends.delete(other);
      this.put(EVENTS.JOINED, other, handle);
    }
  }

  received(link, data) {
    const { messageBytes } = this.options.limits;
    if (sizeOf(data) > messageBytes) {
      return this.#cut(link, failure('ERR_PROTOCOL', `a message has more than ${messageBytes} bytes`));
    }
    this.put(typeof data === 'string' ? EVENTS.TEXT : EVENTS.BINARY, link.handle, data);
  }

  drained(link) {
    this.put(EVENTS.DRAINED, link.handle);
  }

  /** The remote closed it in order. */
  gone(link) {
    // Our own close says how it ended.
    if (link.state === CLOSING) return;
    if (!link.isAttempt) return this.end(link, link.farewell);
    const message = `${JSON.stringify(link.remote)} closed the connection before it was open`;
    this.giveUp(link, failure('ERR_CONNECTION_CLOSED', message));
  }

  /** The transport is broken; `cut`: by the remote, which may have something to say about it. */
  failed(link, error, cut = false) {
    if (link.state === OPEN) {
      const lost = failure('ERR_CONNECTION_LOST', error.message);
      if (!cut || link.kind !== LINKUP) return this.giveUp(link, lost);
      link.cut = true;
      this.part(link, lost, WORDS);
    } else if (link.state === CLOSING) this.end(link, error, { code: 'ERR_CONNECTION_CLOSED', reason: '' });
    else if (link.state === LEAVING) this.end(link, link.farewell);
    else {
      if (!link.wanted && error.code === 'ERR_PROTOCOL') this.putError(error, link.remote);
      this.giveUp(link, error);
    }
  }

  /** Our close is done: everything was delivered, or not. */
  finished(link, error = null) {
    this.end(link, error, { code: 'ERR_CONNECTION_CLOSED', reason: '' });
  }

  /** The remote goes; it is gone when its transport says so, or after `ms`. */
  part(link, farewell, ms) {
    link.farewell = farewell;
    link.state = LEAVING;
    link.after('end', ms, () => this.deadline(link));
  }

  /** The time of an attempt or of a close is over. */
  deadline(link) {
    const name = JSON.stringify(link.remote);
    if (link.state === OPEN) return;
    if (link.state === CLOSING) {
      this.finished(link, failure('ERR_CLOSE_TIMEOUT', `${name} did not confirm the close`));
    } else if (link.state === LEAVING) this.end(link, link.farewell);
    else if (link.wanted) {
      const message = `no connection to ${name} within ${this.options.timeouts.connect} ms`;
      this.giveUp(link, failure('ERR_CONNECT_TIMEOUT', message));
    }
    // The caller's time is over, too.
    else this.end(link);
  }

  /** Closes an open connection in order. */
  #flush(link) {
    link.state = CLOSING;
    link.after('end', this.options.timeouts.close + CLOSE_GRACE, () => this.deadline(link));
    link.transport.close();
  }

  /** Our attempt, or the remote's, has failed: everybody who knows of it hears why. */
  giveUp(link, error) {
    this.end(link, error, { code: error.code, reason: '' });
  }

  /** Ends a link at once; the remote hears the application's words. */
  #cut(link, error) {
    this.end(link, error, { code: error.code, reason: reasonOf(error.message) });
  }

  /**
   * The end of every link: the transport vanishes, the remote hears the bye where it would understand it, and the
   * application hears the error where it knows of the link.
   */
  end(link, error = null, bye = undefined) {
    const { state, transport } = link;
    link.transport = undefined;
    if (!this.remove(link)) return;
    if (bye !== undefined) this.sendBye(link, bye);
    // A bye takes longer than the end of a transport that was open: where it says more, it shall be there first.
    transport?.abort(bye !== undefined && error !== null && state >= OPEN);
    if (link.isKnown) for (const handle of [link.handle, ...link.also]) this.putClosed(handle, error);
    if (this.closing) {
      if (state === CLOSING) this.#closeError ??= error;
      return this.#finishIfDone();
    }
    const next = this.current(link.remote);
    if (next?.state === WAITING) this.begin(next);
  }

  /** The last step of closing the peer, once no link is left. */
  #finishIfDone() {
    if (this.#closed || this.links.size > 0) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    this.broker.stop(() => {
      dropSecret(this.options.id, this.broker.secret);
      this.page.peers.delete(this.handle);
      this.put(EVENTS.PEER_CLOSED, this.handle, this.#closeError && JSON.stringify(this.#closeError));
    });
  }
}

module.exports = { PagePeer };
