// const { state, messages, send } = useLinkup('alice'); - in a React component; send('bob', { hi: 1 }).catch(console.error)
import { createPeer } from 'linkup';
import { useEffect, useRef, useState } from 'react';

/** A peer for as long as the component is there, with its first options. `messages`: those that came, as {from, message}. */
export function useLinkup(id, options) {
  const peer = useRef(null);
  const first = useRef(options);
  const [state, setState] = useState('connecting');
  const [messages, setMessages] = useState([]);
  useEffect(() => {
    peer.current = createPeer(id, first.current);
    for (const name of ['register', 'offline']) peer.current.on(name, () => setState(peer.current.state));
    peer.current.on('message', (envelope) => setMessages((all) => [...all, envelope]));
    peer.current.on('error', console.error);
    return () => {
      peer.current.close().catch(console.error);
      setMessages([]);
    };
  }, [id]);
  return { state, messages, send: (to, message) => peer.current.send(to, message) };
}
