// What must not compile: each line after a @ts-expect-error is a mistake that the types find.

import { Connection, createBroker, createPeer, LinkupError, Peer } from 'linkup';

// @ts-expect-error an id is needed
createPeer();
// @ts-expect-error an id is a string
createPeer(1);
// @ts-expect-error an unknown option
createPeer('a', { brokerURL: 'ws://localhost' });
// @ts-expect-error an unknown time-out
createPeer('a', { timeouts: { conect: 1 } });
// @ts-expect-error a limit is a number
createPeer('a', { limits: { connections: '1' } });
// @ts-expect-error callers are strings or patterns
createPeer('a', { accept: { allow: [1] } });
// @ts-expect-error a key pair is both
createPeer('a', { identity: { publicKey: 'a' } });
// @ts-expect-error remembered keys are like a Map
createPeer('a', { identity: { known: [] } });
// @ts-expect-error simple-peer's, but not linkup's
createPeer('a', { simplePeer: { initiator: true } });
// @ts-expect-error an ICE server has urls
createPeer('a', { iceServers: [{ url: 'stun:example.org' }] });
// @ts-expect-error a policy of WebRTC's
createPeer('a', { iceTransportPolicy: 'none' });
// @ts-expect-error made by createPeer only
new Peer('a');
// @ts-expect-error made by connect only
new Connection('a');
// @ts-expect-error an unknown code
new LinkupError('ERR_NOPE', 'message');
// @ts-expect-error a port is a number
createBroker({ port: '5000' });

const peer = createPeer('a');
// @ts-expect-error an unknown event
peer.on('conection', () => {});
// @ts-expect-error not this event's argument
peer.on('register', (id: number) => id);
// @ts-expect-error read-only
peer.id = 'b';
// @ts-expect-error read-only
peer.connections.set('b', 1);
// @ts-expect-error a message is needed
peer.send('b');
// @ts-expect-error an unknown option of a call
peer.connect('b', { timeout: 1 });
// @ts-expect-error only messages are acknowledged
peer.connect('b', { ack: true });
// @ts-expect-error it is or it is not
peer.send('b', 1, { ack: 1 });

peer.connect('b').then((connection) => {
  // @ts-expect-error an event of Peer
  connection.on('register', () => {});
  // @ts-expect-error read-only
  connection.state = 'open';
  // @ts-expect-error a stream has a name
  connection.createStream();
  // @ts-expect-error which of the two it is has to be asked first
  connection.createStream('x').write('text');
  // @ts-expect-error an unknown state
  return connection.state === 'opened';
});
