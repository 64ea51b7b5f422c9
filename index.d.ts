// The types of linkup. Written by hand; __test__/types checks that they and the code name the same things.

/// <reference lib="esnext.disposable" />

// A page that loads dist/linkup.js by a script tag has all of this as the global `linkup`.
export as namespace linkup;

/** What went wrong, as a stable name. Each code says who is concerned and what to do. */
export type ErrorCode =
  /** JSON cannot carry the message: `undefined`, a function, a symbol, a BigInt, a cycle. `cause` says why. */
  | 'ERR_INVALID_MESSAGE'
  /**
   * The message is larger than `limits.messageBytes`, ours or the remote's. `details`: `{size, limit}` in bytes. Longer
   * data goes over a stream.
   */
  | 'ERR_MESSAGE_TOO_LARGE'
  /** Another peer is registered with that id. */
  | 'ERR_ID_TAKEN'
  /** The broker refuses this peer: see `token`. */
  | 'ERR_NOT_AUTHORIZED'
  /** No broker could be reached, or it did not answer in time; for a broker of your own: it cannot listen. */
  | 'ERR_BROKER_UNREACHABLE'
  /** Nobody is registered with that id. */
  | 'ERR_PEER_NOT_FOUND'
  /** The remote peer does not want the connection; the message is its reason. */
  | 'ERR_DENIED'
  /** A peer cannot connect to itself. */
  | 'ERR_CONNECT_SELF'
  /** The connection did not come up within `timeouts.connect`. */
  | 'ERR_CONNECT_TIMEOUT'
  /**
   * No pair of addresses of the two sides works, or `iceServers` failed. `details` in Node.js: `{local, remote}`, the
   * addresses of both sides as `stats()` has them, `{servers}`, what each STUN and TURN server said, and `{advice}`, a sentence.
   */
  | 'ERR_ICE_FAILED'
  /** The remote vanished, or the network between. Messages that were under way may be lost. */
  | 'ERR_CONNECTION_LOST'
  /** The connection is closed or closing. */
  | 'ERR_CONNECTION_CLOSED'
  /** The peer is closed. */
  | 'ERR_PEER_CLOSED'
  /** `limits.bufferedBytes` bytes wait already: await the promises of `send()`. `details`: `{limit}` in bytes. */
  | 'ERR_BUFFER_FULL'
  /**
   * The remote did not confirm the close within `timeouts.close`, or did not read the streams. `details`: `{unconfirmed}`,
   * a number of messages, and perhaps `{streams}`, how many were cut off.
   */
  | 'ERR_CLOSE_TIMEOUT'
  /** The caller's AbortSignal fired; `cause` is its reason. Of a stream: one side gave it up; the message is its reason. */
  | 'ERR_ABORTED'
  /** The other side is not who it says it is. */
  | 'ERR_IDENTITY_MISMATCH'
  /** The other side broke the protocol. */
  | 'ERR_PROTOCOL'
  /** This version, or the other side, cannot do that. */
  | 'ERR_UNSUPPORTED';

/** What linkup's promises reject with and its `error` events carry, except for wrong arguments: those are TypeErrors. */
export class LinkupError extends Error {
  constructor(code: ErrorCode, message: string, about?: { peerId?: string; details?: object; cause?: unknown });
  /** What went wrong. */
  readonly code: ErrorCode;
  /** The remote peer that it concerns, if there is one. */
  readonly peerId?: string;
  /** Numbers and facts: see the codes. */
  readonly details?: { [name: string]: unknown };
}

/** An ICE server, as RTCConfiguration has it. */
export interface IceServer {
  /** One or more `stun:`, `stuns:`, `turn:` or `turns:` URLs. */
  urls: string | string[];
  /** For TURN. */
  username?: string;
  /** For TURN. */
  credential?: string;
}

/** Somebody wants to connect: the argument of `accept`. */
export interface ConnectRequest {
  /** The id of the peer that calls, as the broker knows it. */
  from: string;
  /** What it gave as its `metadata`; undefined where it gave none. */
  metadata: any;
  /**
   * Who it has proved to be; null where it has no key: a plain simple-peer client, a page without https. Until the connection
   * is open a call may be an old one that somebody repeats; then nothing comes of it.
   */
  identity: RemoteIdentity | null;
}

/** The key pair of a peer (Ed25519, RFC 8032), by which others know it again. From `createIdentity()` or `loadIdentity()`. */
export interface Identity {
  /** 32 bytes as base64url: what others may know. */
  publicKey: string;
  /** In Node.js 32 bytes as base64url, in a page a CryptoKey that cannot be read: for nobody else. */
  privateKey: string | object;
}

/** Who the remote has proved to be. */
export interface RemoteIdentity {
  /** Its key. */
  readonly publicKey: string;
  /** Who says so of whom, where it has an OpenID Connect ID token and `options.identity.oidc` judges those: its `iss`. */
  readonly issuer?: string;
  /** The person, for this issuer: the token's `sub`. Unlike an address it never belongs to somebody else later. */
  readonly subject?: string;
  /** The token's `email`, unless it says that nobody has verified it. */
  readonly email?: string;
  /** All that the token says. */
  readonly claims?: { readonly [name: string]: unknown };
}

/** Where the keys of remote peers are remembered: a Map, or something like it that lasts longer. */
export interface KnownKeys {
  /** The key of the peer with that id; undefined where it is not known yet. */
  get(id: string): string | undefined;
  /** The peer with that id has this key: called once an id, when the first connection is open. */
  set(id: string, publicKey: string): unknown;
}

/** The option `identity`. */
export type IdentityOptions = (Identity | { publicKey?: undefined; privateKey?: undefined }) & {
  /** The peer's login, and the judge of others': from `oidc()` of `linkup/oidc`. */
  oidc?: {
    /** An ID token, or a function that returns one; called again before that expires. */
    token?: string | (() => string | Promise<string>);
    /** The claims of a remote's ID token, which belongs to that key; rejects where it is wrong. */
    verify(token: string, publicKey: string): Promise<{ readonly [name: string]: unknown }>;
  };
  /**
   * Trust on first use: the key that a remote peer has at the first connection is the key of that id. Another one later, or
   * none, is `ERR_IDENTITY_MISMATCH`, for calls in both directions.
   */
  known?: KnownKeys;
};

/** A ready-made `accept`: a caller must pass all that is given. */
export interface AcceptPolicy {
  /**
   * Ids that may call, or patterns of ids; `key:` and a public key is whoever has that key. The reason of a denial is 'not allowed'. An id is
   * what the broker says: see docs/security.md.
   */
  allow?: readonly (string | RegExp)[];
  /**
   * At most so many `calls` (1 to 100) of one id in so many `seconds` (1 to 86400); those that are denied for it do not count. Otherwise
   * 'too many calls'. 10,000 callers are remembered. A call that finds no path through the network is made once more, and counts twice.
   */
  rate?: { calls: number; seconds: number };
  /** Decides about those who have passed. */
  ask?: (request: ConnectRequest) => unknown;
}

/** Options of the library simple-peer that mean something to linkup. Others are ignored, with a process warning. */
export interface SimplePeerOptions {
  /** False: send the description once, with all candidates, instead of each candidate as it is found. Default: true. */
  trickle?: boolean;
  /** An RTCConfiguration; its `iceServers` and `iceTransportPolicy` apply where the options of that name are not given. */
  config?: { iceServers?: IceServer[]; iceTransportPolicy?: 'all' | 'relay'; [name: string]: unknown };
  /** The label of the data channel. Default: one made from chance. */
  channelName?: string;
  /** How the data channel is made. Take care: one that is not ordered and reliable loses or reorders messages. */
  channelConfig?: {
    ordered?: boolean;
    maxRetransmits?: number;
    maxPacketLifeTime?: number;
    protocol?: string;
    negotiated?: boolean;
    id?: number;
  };
  /** Accepted for simple-peer's sake: it says nothing about data channels. */
  offerOptions?: object;
  /** Accepted for simple-peer's sake: it says nothing about data channels. */
  answerOptions?: object;
  /** Changes each SDP before it is sent. Where it throws, the attempt fails and the peer emits `error`. */
  sdpTransform?: (sdp: string) => string | Promise<string>;
  /** With `trickle: false`, how many ms to wait for candidates. Default: 5000. */
  iceCompleteTimeout?: number;
}

/** Options of `createPeer`. A wrong or unknown one is a TypeError that names it. */
export interface PeerOptions {
  /**
   * The broker, as `ws:` or `wss:` URL; of a list, the first that works.
   * Default: LINKUP_BROKER_URL of the environment; in a page served by a broker, that broker; otherwise
   * `ws://localhost:5000`, where in Node.js the first peer starts a broker by itself.
   */
  brokerUrl?: string | string[];
  /** The same option under the name that linkup's specification gives it. */
  browserUrl?: string | string[];
  /** Options that simple-peer has. */
  simplePeer?: SimplePeerOptions;
  /** The peer's key, and what it knows of others'. Default: a new key, for the life of this peer. */
  identity?: IdentityOptions;
  /** STUN and TURN servers: a list, or a function that fetches it before the peer starts. Default: those of the broker. */
  iceServers?: IceServer[] | (() => IceServer[] | Promise<IceServer[]>);
  /** 'relay': only through TURN servers, so that the remote does not learn this side's address. Default: 'all'. */
  iceTransportPolicy?: 'all' | 'relay';
  /**
   * Decides about each caller, before any address of this side leaves the machine. False, a string (the reason) or an
   * exception (its message) denies: the caller's promise rejects `ERR_DENIED`. A peer that is being called from here is not asked
   * about. Default: everybody may connect.
   */
  accept?: ((request: ConnectRequest) => unknown) | AcceptPolicy;
  /** Any JSON up to 16 KiB that the other sides get, as `connection.metadata` and in their `accept`. */
  metadata?: unknown;
  /** For a broker that asks for authorisation. */
  token?: string;
  /** How long things may take, in ms. */
  timeouts?: {
    /** From `connect()`, or from the registration where that is later, to an open connection. Default: 15000. */
    connect?: number;
    /** Silence after which a remote counts as gone. Default: 10000. */
    idle?: number;
    /** From `close()` until the remote has everything. Default: 5000. */
    close?: number;
    /** Until the broker must have answered. Default: 10000. */
    broker?: number;
    /**
     * From the loss of a connection's way through the network until there is another one, see `reconnecting`; then it ends
     * with `ERR_CONNECTION_LOST`. Default: 30000.
     */
    resume?: number;
  };
  /** In a page only: the class to use where there is no global one, as with react-native-webrtc. */
  RTCPeerConnection?: new (
    configuration?: any,
  ) => any;
  /** How much of something there may be. */
  limits?: {
    /** Bytes of one message, as JSON or binary, both ways. Default: 64 MiB. */
    messageBytes?: number;
    /** Bytes that may wait to be sent on one connection. Default: 64 MiB. */
    bufferedBytes?: number;
    /** Bytes above which `send()` resolves only when fewer wait again. Default: 1 MiB. */
    highWaterMark?: number;
    /** Connections at the same time. Default: 10000. */
    connections?: number;
  };
}

/** Options of a single call. */
export interface CallOptions {
  /**
   * Gives up: the promise rejects `ERR_ABORTED`. A message is not sent then; once it has been handed to the transport
   * the signal has no effect any more.
   */
  signal?: AbortSignal;
}

/** Options of `connect`. */
export interface ConnectOptions extends CallOptions {
  /**
   * The key that the remote must have: else it rejects `ERR_IDENTITY_MISMATCH`, and no message has passed. An id that begins with `key:` and
   * goes on with a key says it by itself.
   */
  publicKey?: string;
}

/** Options of `send`. */
export interface SendOptions extends CallOptions {
  /**
   * Resolves only when the remote endpoint has the message, and rejects where the connection ends before. An abort then
   * ends the waiting with `ERR_ABORTED`; the message may arrive all the same.
   */
  ack?: boolean;
}

/** What both Peer and Connection are, as far as Node.js' EventEmitter goes; `once` and `on` of node:events take them. */
declare class Emitter<Events extends { [name: string]: unknown[] }> {
  protected constructor();
  /** Calls `listener` at each event `name`. One that throws keeps no other listener from the event. */
  on<Name extends keyof Events & string>(name: Name, listener: (...args: Events[Name]) => void): this;
  /** Calls `listener` at the next event `name` only. */
  once<Name extends keyof Events & string>(name: Name, listener: (...args: Events[Name]) => void): this;
  /** Takes a listener back. */
  off<Name extends keyof Events & string>(name: Name, listener: (...args: Events[Name]) => void): this;
  /** The same as `on`. */
  addListener<Name extends keyof Events & string>(name: Name, listener: (...args: Events[Name]) => void): this;
  /** The same as `off`. */
  removeListener<Name extends keyof Events & string>(name: Name, listener: (...args: Events[Name]) => void): this;
  /** Takes all listeners of `name`, or of every event, back. */
  removeAllListeners(name?: keyof Events & string): this;
  /** Calls all who listen to `name`; true if there were any. */
  emit<Name extends keyof Events & string>(name: Name, ...args: Events[Name]): boolean;
  /** How many listen to `name`. */
  listenerCount(name: keyof Events & string): number;
}

/** The events of a Peer and their arguments. */
export type PeerEvents = {
  /** A remote peer made a connection; once, when it is open. */
  connection: [connection: Connection];
  /** Something went wrong that no promise reports. Without a listener it is a process warning, never an exception. */
  error: [error: LinkupError];
  /** A message of any connection, in order, after the Connection's own `message`. */
  message: [envelope: { from: string; message: any }];
  /** The peer is registered at the broker; again after each re-registration. */
  register: [id: string];
  /** The broker cannot be reached; once until the next `register`. `retryIn`: ms to the next try. */
  offline: [event: { reason: string; retryIn: number }];
};

/** One end of the network, known by an id. Comes from `createPeer()`. */
export class Peer extends Emitter<PeerEvents> {
  private constructor();
  /** The id of the peer. */
  readonly id: string;
  /** How it stands with the broker; 'closed' from `close()` on. Open connections do not need the broker. */
  readonly state: 'connecting' | 'registered' | 'offline' | 'closed';
  /** The open and closing connections by the remote's id. */
  readonly connections: ReadonlyMap<string, Connection>;
  /**
   * Opens a connection; resolves when messages can flow. Calls at the same time share one attempt, and where there is
   * a connection it is returned. An abort of the last one who waits gives the attempt up.
   */
  connect(peerId: string, options?: ConnectOptions): Promise<Connection>;
  /** Delivers what was accepted for that peer and closes the connection; at once where there is none. */
  disconnect(peerId: string): Promise<void>;
  /** Sends a message as `Connection.send()` does; connects where needed. Calls to one peer keep their order. */
  send(peerId: string, message: unknown, options?: SendOptions): Promise<void>;
  /** Whether a peer with that id is registered at the broker. */
  find(id: string): Promise<boolean>;
  /**
   * Delivers what was accepted, closes every connection, unregisters. Later calls reject `ERR_PEER_CLOSED`.
   * Rejects where messages whose `send()` had resolved may not have arrived; the peer is closed all the same.
   */
  close(): Promise<void>;
  /** Keeps the process alive while the peer is open: the default. */
  ref(): this;
  /** Lets the process end although the peer is open. */
  unref(): this;
  /** `await using peer = createPeer(…)`: the same as `close()`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** The events of a Connection and their arguments. */
export type ConnectionEvents = {
  /** Messages can flow. Comes after `connect()` resolved or `connection` was emitted, before the first message. */
  connect: [];
  /**
   * Nothing is heard of the remote, or the way to it is broken, and another way is looked for, for `timeouts.resume` at most.
   * Messages may be sent meanwhile: they wait.
   */
  reconnecting: [];
  /** Messages flow again. None was lost, and none comes twice. */
  reconnected: [];
  /**
   * The connection has ended, for whatever reason. `code` is null where it was closed in order, otherwise an ErrorCode
   * such as 'ERR_CONNECTION_LOST', with `reason` in words.
   */
  close: [event: { code: ErrorCode | null; reason: string }];
  /**
   * The remote broke the protocol, or sent more than `limits.messageBytes` in one message; the connection closes.
   * Without a listener here, the peer's `error` is emitted instead.
   */
  error: [error: LinkupError];
  /** A message. Binary ones are a Buffer in Node.js and a Uint8Array in a page. */
  message: [message: any];
  /** A long message is on its way out or in: now and then, and when it is through. */
  progress: [event: Progress & { total: number }];
  /** The remote has made a stream. Where nobody listens, it is refused. */
  stream: [stream: LinkupStream];
};

/** How far something is. */
export interface Progress {
  /** Which way the bytes go. */
  direction: 'send' | 'receive';
  /** How many have gone to the transport, or were read. */
  bytes: number;
  /** How many there will be, where that is known. */
  total?: number | undefined;
}

/** What the streams of all runtimes have. */
export interface StreamInfo {
  /** The name that its maker gave it. */
  readonly name: string;
  /** What its maker said about it; undefined where that was nothing. */
  readonly meta: any;
  /** The connection that it belongs to. */
  readonly connection: Connection;
}

// @ts-ignore: programs for pages may be without the types of Node.js.
type Duplex = import('node:stream').Duplex;

/**
 * A stream in Node.js: a Duplex. `destroy()` resets it: the other side's ends with `ERR_ABORTED` and the error's message.
 * Unlike other Duplexes, an error that comes from the other side or the connection and that nobody listens to throws no
 * exception; the peer's `error` is emitted instead.
 *
 * It is over when both sides have called `end()`; a `for await` that has read everything does so by itself.
 */
export interface StreamDuplex extends StreamInfo, Duplex {
  /** As every Duplex has it, and no StreamPair. */
  pipe: Duplex['pipe'];
  /** `progress`: every 64 KiB, and at the end of a direction; `total` is `meta.size`, of what its maker sends. */
  on(name: 'progress', listener: (event: Progress) => void): this;
  on(name: string | symbol, listener: (...args: any[]) => void): this;
  /** Calls `listener` at the next event only. */
  once(name: 'progress', listener: (event: Progress) => void): this;
  once(name: string | symbol, listener: (...args: any[]) => void): this;
}

/** The events of a stream in a page and their arguments. */
export type StreamEvents = {
  /** Every 64 KiB, and at the end of a direction; `total` is `meta.size`, of what its maker sends. */
  progress: [event: Progress];
  /** The remote has reset it, or the connection has ended before it. */
  error: [error: LinkupError];
  /** Both directions are over. */
  close: [];
};

/**
 * A stream in a page: a pair of the platform's streams. Aborting the one or cancelling the other resets it: the other
 * side's ends with `ERR_ABORTED` and the reason. It is over when both sides have closed `writable`.
 */
export interface StreamPair extends Emitter<StreamEvents>, StreamInfo {
  /** What the other side writes; what is not read stops its writer. */
  readonly readable: ReadableStream<Uint8Array>;
  /** What the other side reads. Strings are UTF-8. */
  readonly writable: WritableStream<string | ArrayBufferLike | ArrayBufferView>;
}

/** A stream of a connection: in Node.js a StreamDuplex, in a page a StreamPair; `'pipe' in stream` tells them apart. */
export type LinkupStream = StreamDuplex | StreamPair;

/** A WebRTC connection to another peer. Comes from `peer.connect()` or the event `connection`. */
export class Connection extends Emitter<ConnectionEvents> {
  private constructor();
  /** The id of the remote peer. */
  readonly id: string;
  /** Where it is in its life. */
  readonly state: 'connecting' | 'open' | 'reconnecting' | 'closing' | 'closed';
  /** Bytes accepted and not yet acknowledged by the remote's transport, those that wait in streams included. */
  readonly bufferedAmount: number;
  /** What the remote peer gave as its `metadata`; undefined where it gave none. */
  readonly metadata: any;
  /** Who the remote has proved to be; null where it has no key: a plain simple-peer client, a page without https. */
  readonly identity: RemoteIdentity | null;
  /** Which way the bytes go: straight, through a TURN server, through the broker. */
  readonly path: 'direct' | 'turn' | 'broker';
  /**
   * Sends a message: anything that JSON can carry; what arrives equals `JSON.parse(JSON.stringify(message))`. A buffer or
   * a view of one (Buffer, ArrayBuffer, typed array, DataView) arrives as its bytes. It is taken as it is when `send` is
   * called. Resolves when the transport has it and fewer than `limits.highWaterMark` bytes wait: `await send()` in a loop
   * is all the back-pressure there has to be. With `{ack: true}` it resolves when the remote has the message.
   */
  send(message: unknown, options?: SendOptions): Promise<void>;
  /**
   * Opens a stream: bytes in both directions, beside the messages, with back-pressure. The remote hears of it by the event
   * `stream`. In Node.js it is a Duplex, in a page a pair of ReadableStream and WritableStream.
   *
   * @param name Any string of at most 256 bytes of UTF-8.
   * @param meta Any JSON up to 16 KiB. A number `size` in it becomes the `total` of `progress`.
   * @throws TypeError for a bad name or meta
   * @throws LinkupError ERR_CONNECTION_CLOSED where the connection is not open
   * @throws LinkupError ERR_UNSUPPORTED in React Native, which has no ReadableStream
   */
  createStream(name: string, meta?: unknown): LinkupStream;
  /**
   * `for await (const message of connection)`: every message from now on, beside the event `message`, until the
   * connection closes; throws where it is lost. When 64 messages or 256 KiB wait for the loop, no more are taken from the
   * remote, whose `send()` waits then; so leave a loop by `break`, or by `return()` of its iterator.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<any>;
  /** Numbers about the transport: bytes, messages, round trip. */
  stats(): Promise<{ [name: string]: any }>;
  /**
   * Delivers everything accepted before, also what is written to streams, then closes. Rejects `ERR_CLOSE_TIMEOUT` where
   * the remote does not confirm in time; the connection is closed all the same. The same promise for every call.
   */
  close(): Promise<void>;
}

/** Options of `createBroker`. */
export interface BrokerOptions {
  /** The port to listen on; 0 takes any that is free. Default: PORT of the environment, otherwise 5000. */
  port?: number;
  /** The name or address to listen on. Default: all of this machine. */
  host?: string;
  /** A folder to serve over HTTP on the same port. Default: none. */
  files?: string;
  /**
   * The web pages that may use the broker: origins such as 'https://example.org', 'localhost' for those of this machine,
   * 'file://', 'null'. Programs are not asked. Default: all pages.
   */
  origins?: string[];
  /** PEM files, the certificate chain and its key: then it speaks `wss:` and `https:` only, and TURN has TLS. Default: none. */
  tls?: { cert: string; key: string };
  /** Addresses of proxies, as in '10.0.0.0/8', whose `X-Forwarded-For` or `Forwarded` is believed. Default: none. */
  trustedProxies?: string[];
  /** Who may read `/metrics`: addresses, as in '10.0.0.0/8'. Default: loopback and private ones. */
  metricsFrom?: string[];
  /** How much clients may ask for. */
  limits?: BrokerLimits;
  /** Milliseconds. */
  timeouts?: {
    /** For a client's TLS handshake, and for its HTTP request. Default: 10000. */
    handshake?: number;
    /** Between pings; who is silent for two is dropped. Default: 15000. */
    ping?: number;
    /** For `authorize`, at most 20000. Default: 10000. */
    authorize?: number;
  };
  /** Tokens that let a peer register: its option `token`. Default: none is needed. */
  auth?: BrokerAuth;
  /**
   * Decides about each registration, after `auth`: false, a string (the reason) or a rejection denies, which the peer hears
   * as ERR_NOT_AUTHORIZED.
   */
  authorize?: (request: AuthorizeRequest) => unknown;
  /** STUN and TURN beside the broker, for peers that cannot reach each other directly. Default: none. */
  turn?: boolean | TurnOptions;
  /** The Redis by which several brokers are one: its URL, several of a cluster, or options. Default: none. */
  redis?: string | string[] | RedisOptions;
}

/** The Redis by which several brokers are one: Redis 6.2 or newer, Valkey, or Redis Cluster 7. */
export interface RedisOptions {
  /** `redis://[user:password@]host[:port][/database]`, `rediss:` with TLS; of a cluster, some of its nodes. */
  url: string | string[];
  /** What the names of keys and channels start with: one for each set of brokers. Default: 'linkup'. */
  prefix?: string;
  /**
   * Seconds for which a broker goes on without Redis, and for which the ids of one that died are kept; the same for all
   * brokers. Default: 30.
   */
  lease?: number;
}

/**
 * How much the clients of a broker may ask for. Rates are averages: 20 seconds' worth may come at once; 0 is no limit. What is
 * over a limit is answered with an error; who goes on is closed with code 1008. An address is an IPv4 address or an IPv6 /64.
 */
export interface BrokerLimits {
  /** Connections in all. Default: 100000. */
  sockets?: number;
  /** Bytes of one frame, from 16384 to 1048576. Default: 65536. */
  frameBytes?: number;
  /** Frames that wait for a client that does not read. Default: 1024. */
  queueFrames?: number;
  /** Bytes that wait for it. Default: 1048576. */
  queueBytes?: number;
  /** Messages a second of one socket. Default: 1000. */
  socketMessages?: number;
  /** Bytes a second of one socket. Default: 1048576. */
  socketBytes?: number;
  /** Sockets of one address at once. Default: 4096. */
  addressSockets?: number;
  /** Messages a second of one address. Default: 5000. */
  addressMessages?: number;
  /** Bytes a second of one address. Default: 8388608. */
  addressBytes?: number;
  /**
   * Bytes a second that a peer may send for connections over the broker itself, where there is no other way; encrypted from
   * end to end. Default: 65536; 0 is none.
   */
  relay?: number;
  /** Whether the limits of an address are for loopback too. Default: false. */
  loopback?: boolean;
}

/** Tokens that let a peer register. One of the kinds is enough. */
export interface BrokerAuth {
  /** Tokens that are good for every id. */
  secrets?: string[];
  /**
   * The token is a JWT, signed with one of these (HS256), of 32 bytes at least. Its claim `ids`, a pattern such as 'team-*' or
   * a list of them, says for which ids; without it for all.
   */
  jwtSecrets?: string[];
  /** The same with public keys, PEM files: RSA (RS256), P-256 (ES256) or Ed25519 (EdDSA). */
  jwtKeys?: string[];
  /** The `aud` that a JWT must have. */
  audience?: string;
  /** The `iss` that a JWT must have. */
  issuer?: string;
}

/** Who wants to register. */
export interface AuthorizeRequest {
  id: string;
  /** The peer's option `token`. */
  token?: string;
  /** Of a page. */
  origin?: string;
  /** Its IP address; behind a trusted proxy the one that this says. */
  address: string;
}

/** STUN and TURN beside a broker. Its peers get credentials by themselves. */
export interface TurnOptions {
  /** The port, of UDP and TCP alike; 0 takes any that is free; false: only tell of `urls`. Default: 3478. */
  port?: number | false;
  /** Whether the broker starts without, where the port is taken. Default: false. */
  optional?: boolean;
  /** The public address of this machine, behind a 1:1 NAT or where a proxy is before the broker. */
  address?: string;
  /** The host in the URLs: the name in the certificate. Default: `address`, else the one at which a peer reaches us. */
  name?: string;
  /** PEM files, the certificate chain and its key, for TLS on the same port. Default: no TLS. */
  cert?: string;
  key?: string;
  /** What credentials are made with; a coturn in `urls` must have the same. Default: random. */
  secret?: string;
  /** Seconds for which credentials are good. Default: 3600. */
  ttl?: number;
  /** Other servers to tell peers of: `stun:`, and, with the same secret, `turn:` and `turns:`. Default: none. */
  urls?: string[];
  /** Private addresses to relay to, as in '10.0.0.0/8'. Default: none. */
  allow?: string[];
  /** The first and the last port of relayed addresses. Default: [49152, 65535]. */
  relayPorts?: [number, number];
  /** Allocations at once, in all. Default: 4096. */
  maxAllocations?: number;
  /** Allocations at once of one peer. Default: 128. */
  maxUserAllocations?: number;
  /** Allocations, and TCP connections, at once of one IP address. Default: 512. */
  maxAddressAllocations?: number;
  /** TCP and TLS connections at once. Default: 4096. */
  maxConnections?: number;
  /** Bytes a second of one allocation, in each direction. Default: 4194304. */
  bandwidth?: number;
}

/** The events of a Broker and their arguments. */
export type BrokerEvents = {
  /** It listens. */
  listening: [];
  /** It cannot listen. */
  error: [error: LinkupError];
  /** It has closed. */
  close: [];
};

/** A broker server in this process. Comes from `createBroker()`. Node.js only. */
export class Broker extends Emitter<BrokerEvents> {
  private constructor();
  /** Resolves with the broker when it listens; rejects where it cannot. */
  readonly ready: Promise<this>;
  /** The port that it listens on; undefined before. */
  readonly port: number | undefined;
  /** The URL for `brokerUrl` of peers on this machine; undefined before it listens. */
  readonly url: string | undefined;
  /** Everything that it listens on, as 'host:port'; empty before. */
  readonly addresses: string[];
  /** Where STUN and TURN listen, UDP and TCP, as 'host:port'; empty before, and without `turn`. */
  readonly turnAddresses: string[];
  /**
   * Stops listening and ends its sockets. Open connections between peers go on. With `drain` (ms) it first tells its peers, over
   * some seconds, to connect again, and lets TURN allocations go on until they end, but no longer than that.
   */
  close(options?: { drain?: number }): Promise<void>;
  /** Reads the certificates and their keys again, of the broker and of TURN. Rejects where they cannot be used. */
  reload(): Promise<void>;
  /** Keeps the process alive while it listens: the default. */
  ref(): this;
  /** Lets the process end although it listens. */
  unref(): this;
}

/**
 * Creates a peer. Returns at once; what happens then is told by its events.
 *
 * @param id By this id others connect to the peer: any non-empty string of at most 256 bytes of UTF-8.
 * @throws TypeError for a bad id or option, with its name
 */
export function createPeer(id: string, options?: PeerOptions): Peer;

/**
 * A new key pair, as the option `identity` takes it. Rejects in a page that is not a secure context (https or localhost), or in a
 * browser without Ed25519.
 */
export function createIdentity(): Promise<Identity>;

/**
 * The key pair that is kept: in Node.js in that file, readable by its owner only; in a page under that name (default:
 * 'linkup') in the IndexedDB of its origin. Made where it is not there.
 */
export function loadIdentity(name?: string): Promise<Identity>;

/**
 * Starts a broker in this process. Returns at once; `await broker.ready` waits until it listens. Node.js only.
 *
 * @throws TypeError for a bad option, with its name
 */
export function createBroker(options?: BrokerOptions): Broker;

// biome-ignore lint/complexity/noUselessEmptyExport: without it TypeScript exports what does not say `export`, too.
export {};
