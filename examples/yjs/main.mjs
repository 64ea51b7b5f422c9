// The page: a text field that several write in at once. Loaded by index.html.
import { createPeer } from 'linkup';
import * as Y from 'yjs';
import { LinkupProvider } from './provider.mjs';

const query = new URLSearchParams(location.search);
const me = query.get('me') ?? 'alice';
const others = (query.get('with') ?? 'bob').split(',');

const doc = new Y.Doc();
const text = doc.getText('text');
// Vite serves the page, and another server is the broker.
const peer = createPeer(me, { brokerUrl: query.get('broker') ?? 'ws://localhost:5000', accept: { allow: others } });
const { awareness } = new LinkupProvider(doc, peer, others);
peer.on('error', console.error);

awareness.on('change', () => {
  const names = [...awareness.getStates().values()].map(({ name }) => name);
  document.querySelector('#here').textContent = names.toSorted().join(', ');
});
awareness.setLocalStateField('name', me);

const field = document.querySelector('#text');
const isHalf = (code) => code >= 0xdc00 && code < 0xe000;

// What was typed or pasted is what differs between the field and the document, in one piece.
field.addEventListener('input', () => {
  const [before, after] = [text.toString(), field.value];
  const most = Math.min(before.length, after.length);
  let start = 0;
  while (start < most && before[start] === after[start]) start += 1;
  let end = 0;
  while (end < most - start && before.at(-1 - end) === after.at(-1 - end)) end += 1;
  // A character such as an emoji is two units: not one half without the other.
  if (start > 0 && (isHalf(before.charCodeAt(start)) || isHalf(after.charCodeAt(start)))) start -= 1;
  if (isHalf(after.charCodeAt(after.length - end))) end -= 1;
  doc.transact(() => {
    text.delete(start, before.length - end - start);
    text.insert(start, after.slice(start, after.length - end));
  }, field);
});

/** Where a caret stands after somebody else's change. */
function moved(caret, delta) {
  let at = 0;
  for (const { retain = 0, insert = '', delete: gone = 0 } of delta) {
    at += retain;
    if (at >= caret) break;
    caret += insert.length - Math.min(gone, caret - at);
    at += insert.length;
  }
  return caret;
}

text.observe(({ delta, transaction }) => {
  if (transaction.origin === field) return;
  const caret = [field.selectionStart, field.selectionEnd].map((at) => moved(at, delta));
  field.value = text.toString();
  field.setSelectionRange(...caret);
});
