'use strict';
// The options of single calls: `{signal}` and `{ack}`. Knows AbortSignal.

const { check, checkNames, checkType } = require('./check');
const { LinkupError } = require('./errors');
const { checkKey, keyOfId } = require('./identity');

/**
 * The options of a call, checked: `{signal, ack, publicKey}`, of which each call has only some. Throws where they are wrong,
 * or the signal has fired already.
 */
function callOptions(options = {}, peerId, names = ['signal', 'ack']) {
  checkNames(options, names);
  const { signal, ack, publicKey } = options;
  checkType(ack, 'boolean', 'options.ack');
  if (signal !== undefined) {
    check(typeof signal?.addEventListener === 'function', 'options.signal', 'must be an AbortSignal');
    if (signal.aborted) throw aborted(signal, peerId);
  }
  if (publicKey !== undefined) {
    checkKey(publicKey, 'options.publicKey');
    const rule = 'is not the key that the id is';
    check((keyOfId(peerId) ?? publicKey) === publicKey, 'options.publicKey', rule);
  }
  return { signal, ack, publicKey };
}

/** Calls `abort(error)` when the signal fires, until the function returned is called. */
function onAbort(signal, peerId, abort) {
  if (signal === undefined) return () => {};
  const listener = () => abort(aborted(signal, peerId));
  signal.addEventListener('abort', listener, { once: true });
  return () => signal.removeEventListener('abort', listener);
}

const aborted = ({ reason: cause }, peerId) => new LinkupError('ERR_ABORTED', 'the caller gave up', { peerId, cause });

module.exports = { callOptions, onAbort };
