// Components that talk with each other, for examples.test.js: `show(strict, ...ids)` says which of them are there.
import { createElement, StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { useLinkup } from '../../examples/react/useLinkup.js';

const brokerUrl = location.origin.replace('http', 'ws');

function Talker({ id }) {
  const { state, messages, send } = useLinkup(id, { brokerUrl });
  const say = (event) => {
    event.preventDefault();
    send(event.target.to.value, `from ${id}`).catch(console.error);
  };
  return createElement(
    'form',
    { id, onSubmit: say },
    createElement('output', null, state),
    createElement('input', { name: 'to' }),
    createElement('button', { type: 'submit' }, 'Send'),
    createElement('pre', null, messages.map(({ from, message }) => `${from}: ${message}\n`).join('')),
  );
}

const root = createRoot(document.body);

globalThis.show = (strict, ...ids) => {
  const talkers = ids.map((id) => createElement(Talker, { id, key: id }));
  root.render(strict ? createElement(StrictMode, null, talkers) : talkers);
};
