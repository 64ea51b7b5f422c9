'use strict';
// STUN messages (RFC 8489) and the few of TURN (RFC 8656) that the doctor says and hears. Bytes in, bytes out; no socket.

const { createHash, createHmac, randomBytes } = require('node:crypto');
const { isIPv4 } = require('node:net');

const COOKIE = Buffer.from('2112a442', 'hex');

/** Methods with their classes. An answer has 0x100 more, a refusal 0x110. */
const TYPES = {
  BINDING: 0x0001,
  ALLOCATE: 0x0003,
  REFRESH: 0x0004,
  PERMISSION: 0x0008,
  SEND: 0x0016,
  DATA: 0x0017,
};

const ATTRIBUTES = {
  USERNAME: 0x0006,
  INTEGRITY: 0x0008,
  ERROR: 0x0009,
  LIFETIME: 0x000d,
  PEER: 0x0012,
  DATA: 0x0013,
  REALM: 0x0014,
  NONCE: 0x0015,
  RELAYED: 0x0016,
  FAMILY: 0x0017,
  TRANSPORT: 0x0019,
  MAPPED: 0x0020,
};

/** The value of TRANSPORT: UDP. */
const UDP = Buffer.from([17, 0, 0, 0]);
/** The value of FAMILY: IPv6. */
const IPV6 = Buffer.from([2, 0, 0, 0]);

function attribute(type, value) {
  const head = Buffer.alloc(4);
  head.writeUInt16BE(type, 0);
  head.writeUInt16BE(value.length, 2);
  return Buffer.concat([head, value, Buffer.alloc(-value.length & 3)]);
}

function head(type, length, id) {
  const head = Buffer.alloc(4);
  head.writeUInt16BE(type, 0);
  head.writeUInt16BE(length, 2);
  return Buffer.concat([head, COOKIE, id]);
}

/**
 * A message with `attributes`, a list of [type, bytes or `covered`]; with `login` ({username, credential, realm, nonce}) it proves who
 * sends it (RFC 8489, section 9.2).
 */
function write(type, attributes, login) {
  const id = randomBytes(12);
  const all = [...attributes];
  if (login) {
    const { USERNAME, REALM, NONCE } = ATTRIBUTES;
    all.push([USERNAME, Buffer.from(login.username)], [REALM, login.realm], [NONCE, login.nonce]);
  }
  const bytesIn = (value) => (typeof value === 'function' ? value(id) : value);
  let body = Buffer.concat(all.map(([type, value]) => attribute(type, bytesIn(value))));
  if (login) {
    const name = Buffer.from(`${login.username}:${login.realm}:${login.credential}`);
    const hmac = createHmac('sha1', createHash('md5').update(name).digest());
    // The length counts the attribute that is to come.
    const proof = hmac.update(Buffer.concat([head(type, body.length + 24, id), body])).digest();
    body = Buffer.concat([body, attribute(ATTRIBUTES.INTEGRITY, proof)]);
  }
  return { id: id.toString('hex'), packet: Buffer.concat([head(type, body.length, id), body]) };
}

/** What a packet says: {type, id, attributes}, the last a Map from type to bytes; undefined where it is not STUN. */
function read(packet) {
  if (packet.length < 20 || packet[0] > 3 || !packet.subarray(4, 8).equals(COOKIE)) return undefined;
  if (packet.readUInt16BE(2) !== packet.length - 20) return undefined;
  const attributes = new Map();
  for (let at = 20; at + 4 <= packet.length; ) {
    const [type, length] = [packet.readUInt16BE(at), packet.readUInt16BE(at + 2)];
    if (at + 4 + length > packet.length) return undefined;
    if (!attributes.has(type)) attributes.set(type, packet.subarray(at + 4, at + 4 + length));
    at += 4 + length + (-length & 3);
  }
  return { type: packet.readUInt16BE(0), id: packet.toString('hex', 8, 20), attributes };
}

/** Covers an address, or uncovers it (RFC 8489, section 14.2). */
const xor = (bytes, id) => {
  const mask = Buffer.concat([COOKIE, id]);
  return bytes.map((byte, index) => byte ^ mask[index]);
};

/** The {address, port} in an attribute of a message, such as MAPPED; undefined where there is none. */
function addressIn({ id, attributes }, type) {
  const value = attributes.get(type);
  const size = { 1: 4, 2: 16 }[value?.[1]];
  if (size === undefined || value.length !== 4 + size) return undefined;
  const port = value.readUInt16BE(2) ^ 0x2112;
  const bytes = xor(value.subarray(4), Buffer.from(id, 'hex'));
  if (size === 4) return { address: bytes.join('.'), port };
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(2 * index).toString(16));
  // As everybody writes it.
  return { address: new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1), port };
}

/** The bytes of an IPv4 or IPv6 address. */
function bytesOf(address) {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number));
  const [front, back] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const groups = (text) => (text ? text.split(':') : []);
  const [first, last] = [groups(front), groups(back)];
  const all = [...first, ...Array(8 - first.length - last.length).fill('0'), ...last];
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex');
}

/** The value of an attribute such as PEER, which depends on the message's id. */
function covered({ address, port }) {
  return (id) => {
    const bytes = xor(bytesOf(address), id);
    const value = Buffer.from([0, bytes.length === 4 ? 1 : 2, 0, 0]);
    value.writeUInt16BE(port ^ 0x2112, 2);
    return Buffer.concat([value, bytes]);
  };
}

/** The code of a refusal, such as 401; 0 where it is none. */
function errorCode({ type, attributes }) {
  const value = attributes.get(ATTRIBUTES.ERROR);
  return (type & 0x110) === 0x110 && value?.length >= 4 ? (value[2] & 7) * 100 + value[3] : 0;
}

module.exports = { TYPES, ATTRIBUTES, UDP, IPV6, write, read, addressIn, covered, errorCode };
