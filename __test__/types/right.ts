// What must compile: the whole API as programs use it.

import { pipeline } from 'node:stream/promises';
import * as linkup from 'linkup';
import {
  type Broker,
  type Connection,
  type ConnectRequest,
  createBroker,
  createPeer,
  type ErrorCode,
  LinkupError,
  type LinkupStream,
  type Peer,
  type PeerOptions,
  type Progress,
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
  await connection.send(new Uint8Array(1), { ack: true, signal });
  await peer.send('peer2', new ArrayBuffer(1), { ack: true });
  connection.on('progress', ({ direction, bytes, total }) => (direction === 'send' ? bytes / total : 0));
  connection.on('stream', (stream) => use2(stream));
  for await (const message of connection) console.log(message.anything);
  const [event]: [Progress] = [{ direction: 'receive', bytes: 1 }];
  console.log(event.total?.toFixed());
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

async function use2(stream: LinkupStream): Promise<void> {
  const { name, meta, connection }: { name: string; meta: any; connection: Connection } = stream;
  console.log(name.length, meta?.size, connection.createStream('n', { size: 1 }));
  if ('pipe' in stream) {
    stream.on('progress', ({ bytes }) => bytes.toFixed()).on('error', (error) => error.message);
    stream.write('text');
    stream.end(Buffer.from('x'));
    await pipeline(process.stdin, stream);
    for await (const chunk of stream) console.log(chunk);
    stream.destroy(new Error('no'));
    stream.pipe(process.stdout);
  } else {
    stream.on('progress', ({ bytes }) => bytes.toFixed()).on('error', ({ code }) => code);
    const writer = stream.writable.getWriter();
    await writer.write('text');
    await writer.write(new Uint8Array(1));
    const { value } = await stream.readable.getReader().read();
    console.log(value?.byteLength, stream.listenerCount('close'));
  }
}

async function serve(): Promise<void> {
  const broker: Broker = await createBroker({ port: 0, host: 'localhost', files: '.', origins: ['localhost'] }).ready;
  createBroker({
    authorize: async ({ id, token }) => id === token || 'no',
    limits: { socketBytes: 0 },
    auth: { secrets: ['s'] },
    redis: { url: ['redis://a'], lease: 5 },
  });
  await broker.reload();
  broker.on('listening', () => {}).on('error', (error) => error.code);
  console.log(broker.url, broker.port, broker.addresses[0], linkup.createPeer);
  await broker.unref().ref().close({ drain: 1000 });
}

console.log(id, state, use, use2, serve);
