// What must compile: the whole API as programs use it.

import * as linkup from 'linkup';
import {
  type Broker,
  type Connection,
  type ConnectRequest,
  createBroker,
  createPeer,
  type ErrorCode,
  LinkupError,
  type Peer,
  type PeerOptions,
} from 'linkup';

const options: PeerOptions = {
  brokerUrl: ['ws://localhost:5000', 'wss://example.org'],
  simplePeer: { trickle: true, config: { iceServers: [{ urls: 'stun:example.org' }] }, sdpTransform: (sdp) => sdp },
  iceServers: async () => [{ urls: ['turn:example.org'], username: 'u', credential: 'c' }],
  iceTransportPolicy: 'relay',
  accept: ({ from, metadata }: ConnectRequest) => (metadata?.version === 2 ? true : `not you, ${from}`),
  metadata: { version: 2 },
  token: 't',
  timeouts: { connect: 1, idle: 1, close: 1, broker: 1 },
  limits: { messageBytes: 1, bufferedBytes: 1, highWaterMark: 1, connections: 1 },
};

const peer: Peer = createPeer('peer1', options);
createPeer('peer2');
createPeer('peer3', { browserUrl: 'wss://example.org', accept: async () => false });

const id: string = peer.id;
const state: 'connecting' | 'registered' | 'offline' | 'closed' = peer.state;

peer
  .on('message', ({ from, message }) => console.log(from.length, message.any.thing))
  .once('register', (registered) => registered.length)
  .on('offline', ({ reason, retryIn }) => reason.length + retryIn)
  .on('error', (error) => {
    const code: ErrorCode = error.code;
    console.error(code, error.peerId, error.details?.size);
  })
  .addListener('connection', (connection) => connection.send('hello'))
  .off('register', () => {})
  .removeAllListeners('register')
  .ref()
  .unref();

async function use(): Promise<void> {
  const { signal } = new AbortController();
  const connection: Connection = await peer.connect('peer2', { signal });
  const same: Connection | undefined = peer.connections.get('peer2');
  const found: boolean = await peer.find('peer2');
  await peer.send('peer2', { any: ['thing', null, 0] }, { signal });
  connection
    .on('connect', () => {})
    .on('close', ({ code, reason }) => (code === null || code === 'ERR_CONNECTION_LOST' ? reason : undefined))
    .on('message', (message) => message.anything)
    .on('error', (error) => error.message);
  await connection.send(null);
  const { bytesSent } = await connection.stats();
  console.log(same, found, bytesSent, connection.bufferedAmount, connection.metadata?.version, connection.path);
  const message: unknown = await new Promise((resolve) => connection.once('message', resolve));
  console.log(message, connection.state === 'open', connection.id);
  await connection.close();
  await peer.disconnect('peer2');
  try {
    await peer.close();
  } catch (error) {
    if (error instanceof LinkupError && error.code === 'ERR_CLOSE_TIMEOUT') console.log(error.details, error.cause);
  }
  const dispose: () => Promise<void> = peer[Symbol.asyncDispose];
  console.log(dispose, new LinkupError('ERR_DENIED', 'no', { peerId: 'p', details: { a: 1 }, cause: 1 }));
}

async function serve(): Promise<void> {
  const broker: Broker = await createBroker({ port: 0, host: 'localhost', files: '.' }).ready;
  broker.on('listening', () => {}).on('error', (error) => error.code);
  console.log(broker.url, broker.port, broker.addresses[0], linkup.createPeer);
  await broker.unref().ref().close();
}

console.log(id, state, use, serve);
