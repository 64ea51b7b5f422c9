'use strict';
// A hostile remote for a page: registers at the broker, speaks the signals of a linkup peer over a plain RTCPeerConnection,
// and then sends whatever it is told. Knows nothing of linkup.

/** Registers `id`; `call(to)` resolves with an open data channel, `called` with the one that somebody has made. */
globalThis.hostileClient = async (url, id) => {
  const socket = new WebSocket(url);
  await new Promise((resolve) => socket.addEventListener('open', resolve));
  const connections = new Map();
  let incoming;
  const called = new Promise((resolve) => {
    incoming = resolve;
  });

  const make = (to, session) => {
    const connection = new RTCPeerConnection();
    connections.set(to, connection);
    connection.say = (signal) => {
      const linkup = { v: 1, session, receive: { message: 67108864, window: 8388608 } };
      const message = { type: 'signal', from: id, to, signal: JSON.stringify({ ...signal, linkup }) };
      socket.send(JSON.stringify({ message }));
    };
    connection.onicecandidate = ({ candidate }) => {
      if (candidate?.candidate) connection.say({ type: 'candidate', candidate: candidate.toJSON() });
    };
    return connection;
  };

  /** Resolves with the channel when it is open; its `ended` resolves when the other side has closed it. */
  const watch = (channel) => {
    channel.binaryType = 'arraybuffer';
    channel.ended = new Promise((resolve) => {
      channel.onclose = resolve;
    });
    return new Promise((resolve) => {
      channel.onopen = () => resolve(channel);
    });
  };

  const heard = async (from, { type, sdp, candidate, linkup }) => {
    // Again what it has said before.
    if (connections.has(from) && type === 'offer') return;
    const connection = connections.get(from) ?? make(from, linkup.session);
    if (candidate) return connection.addIceCandidate(candidate);
    if (!sdp || connection.remoteDescription) return;
    await connection.setRemoteDescription({ type, sdp });
    if (type === 'answer') return;
    connection.ondatachannel = ({ channel }) => watch(channel).then(incoming);
    await connection.setLocalDescription();
    connection.say({ type: 'answer', sdp: connection.localDescription.sdp });
  };

  // One after the other, as browsers want it.
  let turn;
  const registered = new Promise((resolve) => {
    turn = new Promise((begin) => {
      socket.addEventListener('message', ({ data }) => {
        const { id: request, message } = JSON.parse(data);
        if (request) resolve(begin());
        else turn = turn.then(() => heard(message.from, JSON.parse(message.signal))).catch(() => {});
      });
    });
  });
  socket.send(JSON.stringify({ id: 'registering', message: { type: 'register', id } }));
  await registered;

  const call = async (to) => {
    const connection = make(to, Math.random().toString());
    const channel = watch(connection.createDataChannel('hostile'));
    await connection.setLocalDescription();
    connection.say({ type: 'offer', sdp: connection.localDescription.sdp });
    return channel;
  };
  return { call, called };
};

/** Sends texts as they are, `{hex, fill}` as bytes: those of `hex`, then so many zeros. */
globalThis.sendFrames = (channel, frames) => {
  for (const frame of frames) {
    if (typeof frame === 'string') channel.send(frame);
    else {
      const bytes = (frame.hex.match(/../g) ?? []).map((byte) => Number.parseInt(byte, 16));
      const whole = new Uint8Array(bytes.length + (frame.fill ?? 0));
      whole.set(bytes);
      channel.send(whole);
    }
  }
};
