'use strict';
// What comes over an open data channel: makes messages of frames, counts what the application has got, and says so with
// ACKs. All of it may be hostile: whatever the protocol does not allow throws. Knows no end of a channel but that
// nothing may follow it. The same rules in Rust: crates/core/src/wire/incoming.rs.

const EVENTS = require('../events');
const { utf8Length } = require('../message');
const { ACK, FRAME_COST, MAX_BODY } = require('./frame');
const { VIOLATION, demand, u64 } = require('../wire');
const { Sender } = require('./sender');

/** The cost of what may be on its way to an application that does not read: 100 Mbit/s with a round trip of 600 ms. */
const WINDOW = 8 * 1024 * 1024;
/** An ACK goes at least after so many data frames, so many times in a window, and so many ms after either. */
const ACK_EVERY = 2048;
const ACKS = 8;
const ACK_AFTER = 100;
/** Messages being put together, all of this page: so many times the largest. */
const BUDGET = 4;
/**
 * A message that has its room and does not go on for so long is none. What has come meanwhile to a page that was asleep
 * is heard before the rest of that time is over.
 */
const STALLED = 29000;
const REST = 1000;
/** What a message being put together grows by, at least: what is only announced takes no memory. */
const GROWTH = 1024 * 1024;

let decoder;

/** Throws where it is not UTF-8. */
function textOf(bytes) {
  decoder ??= new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  return decoder.decode(bytes);
}

// The bytes that have their room, and the receivers that wait for some.
let reserved = 0;
const waiting = new Set();

class Receiver extends Sender {
  // Data frames that have come, and their number as the remote knows it; the same with the cost of messages handed over.
  #frames = 0;
  #toldFrames = 0;
  #cost = 0;
  #handed = 0;
  #toldHanded = 0;
  #timer;
  // When so much is handed over, the answer to a PING is complete; 0: there was none.
  #wanted = 0;
  #ended = false;
  #again = false;
  // A message that comes in pieces; its room, or that of one before, which is on its way to the application; how many of
  // these there are.
  #part;
  #room = 0;
  #away = 0;
  #stall;
  // What waits for the application to want more: each with its cost.
  #open = true;
  #held = [];

  // What is made from it has `tell('broken', error)`, for a remote that breaks the protocol by saying nothing.

  /** Whether the application has got everything. */
  get allHanded() {
    return this.#handed === this.#cost;
  }

  /** A whole message: a text, or bytes. */
  gotWhole(data) {
    const size = typeof data === 'string' ? utf8Length(data) : data.length;
    this.#check(size);
    this.#arrived(data, this.#count(size));
  }

  /** Several whole messages in one frame. */
  bundle(body) {
    const messages = [];
    let costs = 0;
    for (let at = 0; at < body.length; ) {
      const head = (body[at] << 8) | body[at + 1];
      const bytes = body.slice(at + 2, at + 2 + (head & 0x7fff));
      at += 2 + (head & 0x7fff);
      demand(at <= body.length);
      this.#check(bytes.length);
      costs += bytes.length + FRAME_COST;
      messages.push([head & 0x8000 ? bytes : textOf(bytes), bytes.length + FRAME_COST]);
    }
    this.#spend(costs);
    for (const message of messages) this.#arrived(...message);
  }

  /** The first piece of a message. */
  begin(piece, binary, whole) {
    this.#check(whole);
    this.#part = { binary, whole, bytes: new Uint8Array(0), at: 0, step: 0, cost: 0 };
    this.more(piece);
  }

  more(piece) {
    const part = this.#part;
    demand(part && part.at + piece.length <= part.whole);
    part.cost += this.#count(piece.length);
    if (part.at + piece.length > part.bytes.length) {
      const grown = new Uint8Array(Math.min(part.whole, 2 * part.at + GROWTH));
      grown.set(part.bytes);
      part.bytes = grown;
    }
    part.bytes.set(piece, part.at);
    part.at += piece.length;
    this.progress(EVENTS.RECEIVING, part);
    if (part.at < part.whole) return this.makeRoom();
    this.#part = undefined;
    waiting.delete(this);
    clearTimeout(this.#stall);
    const { bytes, binary, cost } = part;
    this.#away += 1;
    this.#arrived(binary ? bytes : textOf(bytes), -cost);
  }

  /** A frame of a stream. */
  stream(frame) {
    this.#countFrame();
    this.put(EVENTS.FRAME, frame);
  }

  /** A PING. */
  asked() {
    if (!this.allHanded) this.#wanted = this.#cost;
    this.#acknowledge();
  }

  /** Nothing more comes. */
  finish() {
    demand((!this.#ended || this.#again) && !this.#part);
    this.#ended = true;
  }

  /** There is another transport: the first thing that the remote hears is what we have. An end may come twice. */
  rewind() {
    super.rewind();
    this.#again = true;
    if (this.#part) this.makeRoom();
    this.#acknowledge();
  }

  /** The application has got a message; below zero, it is the cost of one that came in pieces. */
  handed(cost) {
    if (cost < 0) {
      this.#away -= 1;
      this.#free();
    }
    this.#credit(Math.abs(cost));
    if (this.#part) this.makeRoom();
  }

  /** Whether the application wants messages. */
  flow(open) {
    this.#open = open;
    if (open) for (const [data, cost] of this.#held.splice(0)) this.#arrived(data, cost);
  }

  /** Nothing more is heard; what has come is handed over. */
  drop(error) {
    this.flow(true);
    clearTimeout(this.#timer);
    clearTimeout(this.#stall);
    this.#part = undefined;
    waiting.delete(this);
    this.#free();
    super.drop(error);
  }

  /** Looks for room for the message that comes. With it, the pieces that have come cost nothing any more. */
  makeRoom() {
    const part = this.#part;
    const { messageBytes } = this.options.limits;
    if (!this.#away && !this.#room && reserved + part.whole <= BUDGET * messageBytes) {
      reserved += part.whole;
      this.#room = part.whole;
    }
    if (this.#away || !this.#room) {
      waiting.add(this);
      return;
    }
    waiting.delete(this);
    this.#credit(part.cost);
    part.cost = 0;
    this.#watch();
  }

  #free() {
    reserved -= this.#room;
    this.#room = 0;
    for (const receiver of waiting) receiver.makeRoom();
  }

  /** Has an eye on a remote that may go on with its message. */
  #watch() {
    clearTimeout(this.#stall);
    if (this.#cost - this.#handed + MAX_BODY + FRAME_COST > WINDOW) return;
    this.#stall = setTimeout(() => {
      this.#stall = setTimeout(() => this.tell('broken', VIOLATION), REST);
    }, STALLED);
  }

  /** Whether a message of that size may come now. */
  #check(size) {
    demand(!this.#part && size <= this.options.limits.messageBytes);
  }

  #countFrame() {
    demand(!this.#ended);
    this.#frames += 1;
    this.#acknowledgeSoon();
  }

  /** Counts a message frame; what it costs. */
  #count(payload) {
    const cost = payload + FRAME_COST;
    this.#spend(cost);
    return cost;
  }

  #spend(cost) {
    demand(!this.framed || this.allHanded || this.#cost - this.#handed + cost <= WINDOW);
    this.#cost += cost;
    this.#countFrame();
  }

  #arrived(data, cost) {
    if (this.#open) this.put(typeof data === 'string' ? EVENTS.TEXT : EVENTS.BINARY, data, cost);
    else this.#held.push([data, cost]);
  }

  #credit(cost) {
    this.#handed += cost;
    if (this.#wanted && this.#handed >= this.#wanted) this.#acknowledge();
    else this.#acknowledgeSoon();
  }

  #acknowledgeSoon() {
    const much = this.#frames - this.#toldFrames >= ACK_EVERY || this.#handed - this.#toldHanded >= WINDOW / ACKS;
    if (much) this.#acknowledge();
    else this.#timer ??= setTimeout(() => this.#acknowledge(), ACK_AFTER);
  }

  #acknowledge() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#handed >= this.#wanted) this.#wanted = 0;
    this.#toldFrames = this.#frames;
    this.#toldHanded = this.#handed;
    this.write([ACK, ...u64(this.#frames), ...u64(this.#handed)]);
  }
}

module.exports = { WINDOW, Receiver };
