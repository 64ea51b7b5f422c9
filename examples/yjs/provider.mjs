// new LinkupProvider(doc, createPeer('alice'), ['bob', 'carol']) - keeps a Yjs document the same at everybody who shares it
//
// Each is connected to each; where two cannot be, a third passes on what they write. Knows Yjs' own protocols, and of linkup
// binary messages only: those of the peer's connections to `ids` are the provider's, text is left to the application. For a
// second document take a second peer.
import * as decoding from 'lib0/decoding';
import * as encoding from 'lib0/encoding';
import { Awareness, applyAwarenessUpdate, encodeAwarenessUpdate, removeAwarenessStates } from 'y-protocols/awareness';
import { readSyncMessage, writeSyncStep1, writeUpdate } from 'y-protocols/sync';

/** The first byte of a message, as in other providers. */
const SYNC = 0;
const AWARENESS = 1;

export class LinkupProvider {
  /** The open connections, and the ids of the Yjs clients whose awareness came over each. */
  #remotes = new Map();
  #destroyed = false;

  /**
   * `ids`: who shares the document; nobody else is listened to, though your peer's `accept` decides who may connect. `retry`: ms
   * until somebody who was not there is called again. Who comes calls by itself.
   */
  constructor(doc, peer, ids, { awareness = new Awareness(doc), retry = 10_000 } = {}) {
    Object.assign(this, { doc, peer, awareness, retry, ids: new Set(ids) });
    this.ids.delete(peer.id);
    doc.on('update', this.#edited);
    doc.on('destroy', this.destroy);
    awareness.on('update', this.#aware);
    peer.on('connection', this.#open);
    for (const id of this.ids) this.#call(id);
  }

  /** Ends the connections; the peer stays open. The same happens when the document is destroyed. */
  destroy = () => {
    if (this.#destroyed) return;
    this.awareness.setLocalState(null);
    this.#destroyed = true;
    this.doc.off('update', this.#edited);
    this.doc.off('destroy', this.destroy);
    this.awareness.off('update', this.#aware);
    this.peer.off('connection', this.#open);
    for (const connection of this.#remotes.keys()) this.#close(connection);
  };

  #call(id) {
    if (this.#destroyed || this.peer.state === 'closed') return;
    this.peer.connect(id).then(this.#open, () => this.#callLater(id));
  }

  #callLater(id) {
    // In Node.js it is the peer that keeps the process, not this.
    setTimeout(() => this.#call(id), this.retry).unref?.();
  }

  #open = (connection) => {
    if (this.#destroyed || !this.ids.has(connection.id) || this.#remotes.has(connection)) return;
    this.#remotes.set(connection, new Set());
    connection.on('message', (message) => this.#heard(connection, message));
    connection.on('close', () => this.#closed(connection));
    this.#send(connection, SYNC, (encoder) => writeSyncStep1(encoder, this.doc));
    // Tells it who is here; a state that has never changed would not count there.
    this.awareness.setLocalState(this.awareness.getLocalState());
  };

  #closed(connection) {
    const clients = [...this.#remotes.get(connection)];
    this.#remotes.delete(connection);
    removeAwarenessStates(this.awareness, clients, this);
    // Who comes back may count from 1 again.
    for (const client of clients) this.awareness.meta.delete(client);
    this.#callLater(connection.id);
  }

  #heard(connection, message) {
    if (this.#destroyed || !(message instanceof Uint8Array)) return;
    try {
      const decoder = decoding.createDecoder(message);
      const kind = decoding.readVarUint(decoder);
      if (kind === AWARENESS) {
        applyAwarenessUpdate(this.awareness, decoding.readVarUint8Array(decoder), connection);
      } else {
        const answer = encoding.createEncoder();
        readSyncMessage(decoder, answer, this.doc, connection);
        const bytes = encoding.toUint8Array(answer);
        if (bytes.length > 0) this.#send(connection, SYNC, (encoder) => encoding.writeUint8Array(encoder, bytes));
      }
    } catch {
      // It speaks another language.
      this.#close(connection);
    }
  }

  /** An edit, here or elsewhere: to all but where it came from. Yjs tells of each only once. */
  #edited = (update, origin) => {
    for (const connection of this.#remotes.keys()) {
      if (connection !== origin) this.#send(connection, SYNC, (encoder) => writeUpdate(encoder, update));
    }
  };

  /** Each tells of itself only, so that it is clear who goes with a connection. */
  #aware = ({ added, updated }, origin) => {
    for (const client of [...added, ...updated]) this.#remotes.get(origin)?.add(client);
    if (origin !== 'local') return;
    const update = encodeAwarenessUpdate(this.awareness, [this.doc.clientID]);
    for (const connection of this.#remotes.keys()) {
      this.#send(connection, AWARENESS, (encoder) => encoding.writeVarUint8Array(encoder, update));
    }
  };

  #send(connection, kind, write) {
    const encoder = encoding.createEncoder();
    encoding.writeVarUint(encoder, kind);
    write(encoder);
    // Where its buffer is full, an update is missing there: the next connection begins with what differs.
    connection.send(encoding.toUint8Array(encoder)).catch(() => this.#close(connection));
  }

  #close(connection) {
    connection.close().catch(() => {});
  }
}
