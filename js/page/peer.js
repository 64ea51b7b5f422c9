'use strict';
// A peer in a page: open connections, every end, and what the application and the broker want of it.
// The same rules in Rust: crates/core/src/{closing,peer}.rs.

const EVENTS = require('../events');
const { session } = require('./broker');
const { dropSecret } = require('./secrets');
const { failure, reasonOf } = require('./signal');
const { Signaling } = require('./signaling');
const {
  ANSWERING,
  ASKING,
  CLOSING,
  CONNECTING,
  JUDGING,
  LEAVING,
  LINKUP,
  OPEN,
  RESUMING,
  WAITING,
} = require('./states');

/** How long the words of a remote that has cut the connection may take through the broker. */
const WORDS = 300;
/** What a transport gets on top of `timeouts.close` before it counts as stuck. */
const CLOSE_GRACE = 1000;

const peers = new Set();

// A browser that closes a tab says nothing to the other side, which would have to find out by the silence.
function leave({ persisted }) {
  if (!persisted) for (const peer of peers) peer.leave();
}

class PagePeer extends Signaling {
  closing = false;
  #closed = false;
  // Settles when the last words of all connections over the broker are out.
  #last;
  #closeError = null;

  constructor(options, put) {
    super(options, put);
    peers.add(this);
    // The same listener again is none more.
    globalThis.addEventListener?.('pagehide', leave);
    this.broker = session(options, this);
  }

  // What the application wants.

  close(link, error) {
    if ((link.state === OPEN || link.state === RESUMING) && error === null) return this.#flush(link);
    // What was cut and is closed here, too, does not come back.
    link.cut = false;
    if (!link.isAttempt && error === null) return;
    this.#cut(link, error ?? failure('ERR_CONNECTION_CLOSED', 'the connection was closed before it was open'));
  }

  /** The decision about a caller, or about the login of a peer that was called: an error denies. */
  decide(link, error) {
    const { state, wanted } = link;
    if (state !== ASKING && state !== JUDGING) return;
    // Calling is accepting; but only the peer that was meant.
    if (error && (!wanted || error.code === 'ERR_IDENTITY_MISMATCH')) {
      this.end(link, wanted ? error : null, error.code, reasonOf(error.message));
    } else if (state === ASKING) this.accept(link);
    else this.takeAnswer(link);
  }

  transformed(transport, sdp) {
    const { link } = transport;
    if (link.newest === transport) this.describe(link, sdp);
  }

  /** Asks the broker for `id`; the answer comes under `token`. */
  look(token, id) {
    const tell = (found, error) => this.put(EVENTS.SETTLED, token, found, error);
    if (this.closing) tell(null, failure('ERR_PEER_CLOSED', 'the peer is closed'));
    else this.broker.find(id, tell);
  }

  closePeer() {
    this.closing = true;
    if (!this.broker.registered) this.broker.stop();
    const error = failure('ERR_PEER_CLOSED', 'the peer is closed');
    this.broker.refuse(error);
    for (const link of this.links) {
      if (link.isAttempt) this.giveUp(link, error);
      else this.close(link, null);
    }
    this.#finishIfDone();
  }

  /** The page goes away, and nobody here hears anything any more. */
  leave() {
    for (const link of this.links) {
      if (!this.sendLastWord(link)) this.sendBye(link, 'ERR_CONNECTION_CLOSED');
      link.transport?.abort();
    }
  }

  // What the broker's session says.

  registered() {
    this.put(EVENTS.REGISTERED, this);
    for (const link of this.links) this.brokerIsBack(link);
  }

  offline(reason, retryIn) {
    this.put(EVENTS.OFFLINE, this, reason, retryIn);
  }

  lost() {
    if (this.closing) this.broker.stop();
    this.loseRelays();
  }

  // What a link's transport says.

  opened(link) {
    if (link.state !== CONNECTING && link.state !== ANSWERING) return;
    const { remote, metadata, kind, key } = link;
    const caller = link.state === CONNECTING;
    const old = this.find((other) => other !== link && other.remote === remote && other.isCurrent);
    if (old) this.replace(old);
    link.reset();
    Object.assign(link, { kind, key, state: OPEN, caller });
    link.stop();
    const incoming = !link.wanted;
    this.put(EVENTS.OPEN, link, { peer: this, remote, incoming, metadata, caller, key });
    this.notePath(link);
  }

  /** The remote closed it in order. */
  gone(link) {
    // Our own close says how it ended.
    if (link.state === CLOSING || link.ending) return;
    if (!link.isAttempt) return this.end(link, link.farewell);
    // Perhaps it does not like the path, or has given up a call of its own: it says so by the broker, which is slower.
    if (link.wanted && link.kind === LINKUP && this.callOnceMore(link)) return;
    const message = `${JSON.stringify(link.remote)} closed the connection before it was open`;
    this.giveUp(link, failure('ERR_CONNECTION_CLOSED', message));
  }

  /** The transport is broken; `cut`: by the remote, which may have something to say about it. */
  failed(link, error, cut = false) {
    // Cut, the remote has ended it, or it has moved over to another transport before us.
    if ((!cut || link.state === RESUMING) && this.outlives(link, error)) return;
    if (link.state === OPEN || link.state === RESUMING) {
      const code = error.code === 'ERR_PROTOCOL' ? error.code : 'ERR_CONNECTION_LOST';
      const lost = { ...error, code };
      if (!cut || link.kind !== LINKUP) return this.giveUp(link, lost);
      link.cut = true;
      this.part(link, lost, WORDS);
    } else if (link.state === CLOSING || link.ending) this.finished(link, error);
    else if (link.state === LEAVING) this.end(link, link.farewell);
    else {
      if (!link.wanted && error.code === 'ERR_PROTOCOL') this.putError(error, link.remote);
      if (!this.lookAgain(link, error, true)) this.giveUp(link, error);
    }
  }

  /** Our close is done: everything was delivered, or not. */
  finished(link, error = null) {
    this.end(link, error, error ? 'ERR_CONNECTION_LOST' : 'ERR_CONNECTION_CLOSED');
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
    if (link.state === CLOSING || link.state === RESUMING) {
      const unconfirmed = link.transport?.unsure;
      this.finished(link, failure('ERR_CLOSE_TIMEOUT', `${name} did not confirm the close`, { unconfirmed }));
    } else if (link.state === LEAVING) this.end(link, link.farewell);
    else if (link.wanted) {
      const message = `no connection to ${name} within ${this.options.timeouts.connect} ms`;
      const late = failure('ERR_CONNECT_TIMEOUT', message);
      this.giveUp(link, link.pathless ?? (link.state === CONNECTING ? link.transport.explained(late) : late));
    }
    // The caller's time is over, too.
    else this.end(link);
  }

  /** Closes an open connection in order. */
  #flush(link) {
    // Where another transport is in time, it is told then.
    if (link.state === RESUMING) link.ending = true;
    else link.state = CLOSING;
    link.after('end', this.options.timeouts.close + CLOSE_GRACE, () => this.deadline(link));
    link.transport.close();
  }

  /** Our attempt, or the remote's, has failed: everybody who knows of it hears why. */
  giveUp(link, error) {
    this.end(link, error, error.code);
  }

  /** Ends a link at once; the remote hears the application's words. */
  #cut(link, error) {
    this.end(link, error, error.code, reasonOf(error.message));
  }

  /**
   * The end of every link: the transport vanishes, the remote hears a bye with `code` and `reason` where it would
   * understand it, and the application hears the error where it knows of the link.
   */
  end(link, error = null, code = undefined, reason = undefined) {
    const { state, transport, isKnown } = link;
    link.transport = undefined;
    this.stopNext(link);
    if (!this.remove(link)) return;
    this.calmDown();
    // A bye takes longer than the end of a transport that was open: where it says more, it shall be there first.
    const last = transport?.abort(code && error && state >= OPEN, error);
    const bye = () => code && this.sendBye(link, code, reason);
    // Over the broker it would overtake the last packets.
    if (last) this.#last = Promise.all([this.#last, last.then(bye)]);
    else bye();
    if (isKnown) this.put(EVENTS.CLOSED, link, error);
    if (this.closing) {
      if (state === CLOSING || link.ending) this.#closeError ??= error;
      return this.#finishIfDone();
    }
    const next = this.current(link.remote);
    if (next?.state === WAITING) this.begin(next);
  }

  /** The last step of closing the peer, once no link is left. */
  #finishIfDone() {
    if (this.#closed || this.links.size > 0) return;
    this.#closed = true;
    const stop = () =>
      this.broker.stop(() => {
        dropSecret(this.options.id, this.broker.secret);
        peers.delete(this);
        this.put(EVENTS.PEER_CLOSED, this, this.#closeError);
      });
    Promise.resolve(this.#last).then(() => this.going.then(stop));
  }
}

module.exports = { PagePeer };
