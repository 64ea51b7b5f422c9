'use strict';
// The options of single calls: `{signal}` and `{ack}`. Knows AbortSignal.

const { check, checkNames } = require('./check');
const { LinkupError } = require('./errors');

/** The signal in the options of a call. Throws where the options are wrong, or the signal has fired already. */
function signalOf(options, peerId, names = ['signal']) {
  if (options === undefined) return undefined;
  checkNames(options, names);
  if (options.ack) {
    throw new LinkupError('ERR_UNSUPPORTED', 'options.ack: comes in a later version of linkup', { peerId });
  }
  const { signal } = options;
  if (signal === undefined) return undefined;
  check(typeof signal?.addEventListener === 'function', 'options.signal', 'must be an AbortSignal');
  if (signal.aborted) throw aborted(signal, peerId);
  return signal;
}

/** Calls `abort(error)` when the signal fires, until the function returned is called. */
function onAbort(signal, peerId, abort) {
  if (signal === undefined) return () => {};
  const listener = () => abort(aborted(signal, peerId));
  signal.addEventListener('abort', listener, { once: true });
  return () => signal.removeEventListener('abort', listener);
}

const aborted = ({ reason: cause }, peerId) => new LinkupError('ERR_ABORTED', 'the caller gave up', { peerId, cause });

module.exports = { signalOf, onAbort };
