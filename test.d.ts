// The types of linkup/test. Written by hand; __test__/types uses them.

import type { Connection, createIdentity, createPeer, LinkupError, loadIdentity, Peer, PeerOptions } from './index.js';

/** How packets travel between two machines, in both directions. */
export interface Way {
  /** Milliseconds from one to the other. Default: 20. */
  latency?: number;
  /** How many milliseconds more or less that may be. Default: 0. */
  jitter?: number;
  /** The share of packets that is lost, from 0 to 0.9. Nothing of a message is: it comes later. Default: 0. */
  loss?: number;
  /** Bytes a second. Default: 12500000. */
  bandwidth?: number;
}

/** Options of `createNetwork()`: what is said of ways is for all of which `link()` says nothing else. */
export interface NetworkOptions extends Way {
  /** A whole number: with the same one everything happens in the same way. Default: 1. */
  seed?: number;
  /** What `Date` says at the beginning. Default: the first of January 2030. */
  start?: Date | number;
  /**
   * 'all': `setTimeout`, `setInterval`, `Date` and `performance` of this process, and `node:timers/promises`, are on the clock of
   * the network, too, until `close()`. Default: 'own', only those of linkup.
   */
  timers?: 'own' | 'all';
  /** The broker. */
  broker?: {
    /** Where it is; nobody is anywhere else. Default: all URLs lead to it. */
    urls?: string[];
    /** Whether it has a TURN server, for peers between which there is no direct way. Default: false. */
    turn?: boolean;
    /** Bytes a second that it carries for connections that have no other way. Default: 0, none. */
    relay?: number;
    /** Decides about registrations, as that of `createBroker()`. */
    authorize?: (request: { id: string; token?: string; address: string }) => unknown;
  };
}

/** The broker of a network. */
export interface TestBroker {
  /** What peers have as `brokerUrl` where they are given none. */
  readonly url: string;
  /** Whether it runs. */
  readonly running: boolean;
  /** The ids that are registered. */
  readonly ids: string[];
  /** It ends: its sockets are closed, and it forgets who was registered. */
  stop(): void;
  /** It is there again. */
  start(): void;
  /** Nothing goes between it and these peers, and nobody is told. */
  partition(...ids: string[]): void;
  /** Everything goes again between it and these peers; without any, and all peers. */
  heal(...ids: string[]): void;
  /** The way between it and a peer. */
  link(id: string, way: Way): void;
}

/** A network in memory, with a broker and the peers that are made in it. */
export interface Network {
  /** As that of linkup, with the same options: a peer on a machine of its own in this network. */
  createPeer(id: string, options?: Omit<PeerOptions, 'RTCPeerConnection'>): Peer;
  /**
   * What `require('linkup')` gives, in this network, for an application that takes it as an argument. `loadIdentity` keeps
   * identities as long as the network, and writes no file. There is no `createBroker`.
   */
  readonly linkup: {
    readonly createPeer: typeof createPeer;
    readonly createIdentity: typeof createIdentity;
    readonly loadIdentity: typeof loadIdentity;
    readonly LinkupError: typeof LinkupError;
    readonly Peer: typeof Peer;
    readonly Connection: typeof Connection;
  };
  /** Its broker. */
  readonly broker: TestBroker;
  /** Milliseconds since its beginning. */
  readonly now: number;
  /** Timers on its clock, for an application that takes them as arguments. */
  readonly timers: {
    readonly setTimeout: typeof globalThis.setTimeout;
    readonly clearTimeout: typeof globalThis.clearTimeout;
    readonly setInterval: typeof globalThis.setInterval;
    readonly clearInterval: typeof globalThis.clearInterval;
    readonly Date: typeof globalThis.Date;
    readonly performance: { now(): number };
  };
  /**
   * Lets time pass until a promise is settled, and settles as it does; a function is called, and what it returns is waited
   * for. Rejects with an Error where nothing is left that could happen, or after `within` ms of the network's time (default:
   * 600000).
   */
  run<T>(work: T | PromiseLike<T> | (() => T | PromiseLike<T>), options?: { within?: number }): Promise<T>;
  /** Lets so many milliseconds pass, with everything that happens in them. */
  advance(ms: number): Promise<void>;
  /**
   * The clock stands still until that promise is settled, which is returned: for what a peer waits for outside of the network,
   * such as a file or a server.
   */
  hold<T>(promise: PromiseLike<T>): Promise<T>;
  /**
   * Nothing goes directly between the peers of `a` and those of `b`, and nobody is told. Without `b`, nothing goes between those of
   * `a` and everybody, the broker too.
   */
  partition(a: string | readonly string[], b?: string | readonly string[]): void;
  /** Everything goes again everywhere; or between `a` and `b`. */
  heal(a?: string | readonly string[], b?: string | readonly string[]): void;
  /** The way between two peers, in both directions. What is not said of it stays as it is. */
  link(a: string, b: string, way: Way): void;
  /** The process of that peer dies: it says nothing to anybody, but its system closes its socket to the broker. */
  kill(id: string): void;
  /** Closes all peers. Nothing happens in the network any more, and with `timers: 'all'` the process has its own timers again. */
  close(): Promise<void>;
}

/**
 * A network in memory for an application's tests, with the real rules of linkup on a clock of its own: minutes pass in
 * milliseconds, and in the same way each time.
 *
 * @throws TypeError for a bad option, with its name
 */
export function createNetwork(options?: NetworkOptions): Network;
