// What `import 'linkup'` gives in Node.js: the same objects as `require('linkup')`.

import linkup from './index.js';

export const { createPeer, createBroker, createIdentity, loadIdentity, LinkupError, Peer, Connection, Broker } = linkup;
export default linkup;
