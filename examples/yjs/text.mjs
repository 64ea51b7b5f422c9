// node examples/yjs/text.mjs alice bob carol - you are alice, and share a text with bob and carol: type a line to add it
import readline from 'node:readline';
import * as Y from 'yjs';
import { createPeer } from '../../index.mjs'; // in an application: from 'linkup'
import { LinkupProvider } from './provider.mjs';

const [me, ...others] = process.argv.slice(2);
const doc = new Y.Doc();
const text = doc.getText('text');
const peer = createPeer(me, { accept: { allow: others } });
const { awareness } = new LinkupProvider(doc, peer, others);

peer.on('error', (error) => console.error(error.message));
text.observe(() => console.log(`\n${text}`));
awareness.on('change', () =>
  console.log('here:', [...awareness.getStates().values()].map(({ name }) => name).join(', ')),
);
awareness.setLocalStateField('name', me);

const lines = readline.createInterface({ input: process.stdin });
lines.on('line', (line) => text.insert(text.length, `${line}\n`));
lines.on('close', async () => {
  doc.destroy();
  await peer.close();
});
