'use strict';
// The one error that linkup rejects and emits. Knows the shape in which an engine reports errors, not who makes them.

/** What went wrong, with a stable `code` and a sentence that says what happened and what to do. */
class LinkupError extends Error {
  /**
   * @param {string} code one of the documented `ERR_…` codes
   * @param {string} message for a human
   * @param {{peerId?: string, details?: object, cause?: unknown}} [about] the peer that it concerns, numbers, the reason
   */
  constructor(code, message, about = {}) {
    super(message, about.cause === undefined ? undefined : about);
    this.code = code;
    if (about.peerId !== undefined) this.peerId = about.peerId;
    if (about.details !== undefined) this.details = about.details;
  }

  toString() {
    return `${this.name} [${this.code}]: ${this.message}`;
  }
}

Object.defineProperty(LinkupError.prototype, 'name', { value: 'LinkupError', configurable: true, writable: true });

/** The error that an engine reports. */
function errorOf({ code, message, details }, peerId) {
  return new LinkupError(code, message, { peerId, details });
}

/** What a call on a closed or closing connection rejects with. */
function connectionClosed(peerId) {
  return new LinkupError('ERR_CONNECTION_CLOSED', 'the connection is closed', { peerId });
}

/** What `send()` rejects with where too much waits. */
function bufferFull(limit, peerId) {
  const message = `more than ${limit} bytes (limits.bufferedBytes) would wait: await send()`;
  return new LinkupError('ERR_BUFFER_FULL', message, { peerId, details: { limit } });
}

/** What only linkup peers can do, over a channel that loses nothing. */
function unsupported(what, peerId) {
  const message = `no ${what}: the remote is a plain simple-peer client, or the channel is not reliable`;
  return new LinkupError('ERR_UNSUPPORTED', message, { peerId });
}

module.exports = { LinkupError, errorOf, connectionClosed, bufferFull, unsupported };
