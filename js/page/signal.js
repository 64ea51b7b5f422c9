'use strict';
// What peers write to each other through the broker: simple-peer's JSON with one extra member, `linkup`, which
// simple-peer passes over. Reads and checks what may come from anybody; knows nothing of what follows from it.
// The same rules in Rust: crates/proto/src/signal.rs.

const { isObject } = require('../check');
const { KEY } = require('../identity');
const { demand } = require('../wire');
const { LINKUP, PLAIN } = require('./states');

const VERSION = 1;
const MAX_SIGNAL = 64 * 1024;
const MAX_REASON = 1024;
/** Of an ID token. */
const MAX_LOGIN = 16 * 1024;
/** What a linkup peer takes that does not say, and the least window. */
const USUAL_MESSAGE = 256 * 1024;
const USUAL_WINDOW = 1024 * 1024;
const LEAST_WINDOW = 256 * 1024;

/** An error as the engine reports it. */
const failure = (code, message, details) => ({ code, message, details });

/** A number of 32 bits, as that of a message's bytes is. */
const numberOr = (value, otherwise) => (value >>> 0 === value ? value : otherwise);

/** Applications rely on there being no others. The same in Rust: crates/proto/src/error.rs. */
const CODES =
  /^ERR_(INVALID_MESSAGE|MESSAGE_TOO_LARGE|ID_TAKEN|NOT_AUTHORIZED|BROKER_UNREACHABLE|PEER_NOT_FOUND|DENIED|CONNECT_SELF|CONNECT_TIMEOUT|ICE_FAILED|CONNECTION_LOST|CONNECTION_CLOSED|PEER_CLOSED|BUFFER_FULL|CLOSE_TIMEOUT|ABORTED|IDENTITY_MISMATCH|PROTOCOL|UNSUPPORTED)$/;

/** A code that somebody else sent, if it is one. */
const codeOf = (code, otherwise) => CODES.exec(code)?.[0] ?? otherwise;

/** A text of an application that every JSON parser takes, and not a long one. */
const reasonOf = (text) => text.slice(0, MAX_REASON).replace(/\p{Surrogate}/gu, '\ufffd');

/** What a text of JSON says; undefined where it is none. */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {}
}

/**
 * Reads a signal; throws where it makes no sense.
 *
 * `key`: whose signature it says that it ends with; `about`: the name of the offer that it answers.
 *
 * @returns {{kind: number, session?: string, number?: number, key?: string, login?: string, about?: string, resume?: boolean, metadata?: any, receive?: object, offer?: string, answer?: string, candidate?: object,
 *   bye?: {code: string, reason: string}}} one of the last four, or none of them where it is of no use here
 */
function readSignal(text) {
  const signal = parse(text);
  demand(text.length <= MAX_SIGNAL && isObject(signal));
  const { linkup, candidate, sdp, type } = signal;
  const result = { kind: PLAIN };
  if (linkup !== undefined) {
    const { v, session, metadata, bye, receive, transport = 0, key, login = '', offer: about } = linkup ?? {};
    demand(Number.isInteger(v) && typeof session === 'string' && session !== '' && session.length <= 64);
    const message = numberOr(receive?.message, USUAL_MESSAGE);
    const window = Math.max(numberOr(receive?.window, USUAL_WINDOW), LEAST_WINDOW);
    demand(transport >>> 0 === transport);
    demand(key === undefined || KEY.test(key));
    demand(typeof login === 'string' && login.length <= MAX_LOGIN);
    const [resume, relay] = [receive?.resume === true, receive?.relay === true];
    const takes = { message, window, resume, relay };
    Object.assign(result, { kind: LINKUP, session, number: transport, metadata, receive: takes, key, login, about });
    if (isObject(bye)) {
      const reason = typeof bye.reason === 'string' ? reasonOf(bye.reason) : '';
      result.bye = { code: codeOf(bye.code, 'ERR_CONNECTION_CLOSED'), reason };
      return result;
    }
  }
  // simple-peer itself tells the kinds apart by their members, not by `type`.
  if (isObject(candidate)) {
    const { candidate: line = '', sdpMid, sdpMLineIndex } = candidate;
    demand(line === null || (typeof line === 'string' && line.length <= 1024));
    result.candidate = { candidate: line ?? '', sdpMid, sdpMLineIndex };
  } else if (typeof sdp === 'string') {
    demand(/^(offer|(pr)?answer)$/.test(type));
    if (type === 'offer') {
      result.offer = sdp;
      result.session ??= plainSession(sdp);
    } else result.answer = sdp;
  } else if (linkup && type === 'relay') {
    demand(typeof signal.data === 'string');
    result.packet = signal.data;
  } else if (linkup && type === 'resume') {
    result.resume = true;
    // A newer linkup may say more than we know.
  } else demand(linkup || 'renegotiate' in signal || 'transceiverRequest' in signal);
  return result;
}

/**
 * What names an attempt of a plain client: the user name and session id of its `o=` line, which stay the same as long
 * as its RTCPeerConnection lives (RFC 8829, section 5.2.2).
 */
function plainSession(sdp) {
  return (/^o=\S* \S*/m.exec(sdp)?.[0] ?? 'o=').slice(0, 64);
}

/** The text of a signal: `body` is simple-peer's, `extra` goes into the member `linkup` of what linkup peers get. */
function writeSignal(kind, session, body, extra) {
  return JSON.stringify(kind === PLAIN ? body : { ...body, linkup: { v: VERSION, session, ...extra } });
}

module.exports = { VERSION, failure, codeOf, parse, reasonOf, readSignal, writeSignal };
