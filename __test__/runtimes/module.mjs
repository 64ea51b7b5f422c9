// A guest of each runtime: an ES module that imports linkup as a user's would. Says `ok` where two peers have talked, and
// ends by itself. scripts/runtimes.js runs it, in a project where linkup is installed.

import linkup, { createBroker, createPeer, Peer } from 'linkup';
import { nonceOf } from 'linkup/oidc';

if (linkup.createPeer !== createPeer) throw new Error('the default export is another linkup');
if (typeof nonceOf !== 'function') throw new Error('no linkup/oidc');

const broker = await createBroker({ port: 0, host: 'localhost' }).ready;
const [a, b] = ['a', 'b'].map((name) => createPeer(name, { brokerUrl: broker.url }));
if (!(a instanceof Peer)) throw new Error('a peer is no Peer');

b.once('message', async ({ from, message }) => {
  await Promise.all([a.close(), b.close()]);
  await broker.close();
  if (from === 'a' && message.hello === 'b') console.log('ok');
});
b.once('register', () => a.send('b', { hello: 'b' }));
