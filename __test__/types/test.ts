// What must compile with linkup/test, and what must not.

import type { Connection, Peer } from 'linkup';
import { createNetwork, type Network, type Way } from 'linkup/test';

const way: Way = { latency: 40, jitter: 5, loss: 0.01, bandwidth: 1e6 };
const net: Network = createNetwork({ ...way, seed: 1, start: new Date(0), timers: 'all' });
createNetwork({
  broker: { urls: ['ws://a'], turn: true, relay: 1000, authorize: async ({ id, token }) => id === token },
});
createNetwork();

const alice: Peer = net.createPeer('alice', { accept: ({ from }) => from === 'bob', timeouts: { idle: 5 } });
const connected: Promise<Connection> = net.run(alice.connect('bob'));
const sent: Promise<void> = net.run(() => alice.send('bob', 1), { within: 1000 });
const five: Promise<number> = net.run(async () => 5);
const held: Promise<string> = net.hold(Promise.resolve('text'));
const done: Promise<void>[] = [net.advance(5), net.close(), connected.then(() => sent)];
net.partition(['alice'], 'bob');
net.heal();
net.heal('alice', ['bob']);
net.link('alice', 'bob', way);
net.kill('bob');
net.broker.partition('alice', 'bob');
net.broker.link('alice', { loss: 0.5 });
net.timers.setTimeout(() => net.broker.ids.length, net.now);
net.linkup.createPeer('bob').on('message', ({ from }) => from.length);
net.linkup.createIdentity().then(({ publicKey }) => [publicKey, five, held, done]);

// @ts-expect-error an unknown option
createNetwork({ delay: 5 });
// @ts-expect-error a page's class has no place here
net.createPeer('bob', { RTCPeerConnection: Object });
// @ts-expect-error no such timers
createNetwork({ timers: 'none' });
// @ts-expect-error there is one broker
net.linkup.createBroker();
// @ts-expect-error read-only
net.now = 5;
// @ts-expect-error ids are strings
net.partition(1);
