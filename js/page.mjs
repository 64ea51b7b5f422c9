// What a page gets: the API of js/ over the page's own WebRTC. dist/linkup.js and dist/linkup.mjs are made from it.

import { engine } from './engine-page.js';
import { linkup } from './linkup.js';

const { api } = linkup(engine);

export const { createPeer, createIdentity, loadIdentity, LinkupError, Peer, Connection } = api;
export default api;
