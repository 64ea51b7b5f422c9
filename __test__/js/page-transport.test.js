'use strict';
// What a page's transport does around the channel: it notices a silent remote, and says what we take; and what it makes of
// what the remote says it takes. The browser's WebRTC is a double here.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { Books } = require('../../js/page/books');
const { PagePeer } = require('../../js/page/peer');
const { readSignal, writeSignal } = require('../../js/page/signal');
const { LINKUP, PLAIN, CONNECTING } = require('../../js/page/states');
const { Transport } = require('../../js/page/transport');
const { EVENTS, FakeChannel, frames, settle } = require('./page-wire');

const IDLE = 10_000;

test('what a remote may say of the end is what Rust knows, and nothing else', () => {
  const rust = fs.readFileSync(path.join(__dirname, '../../crates/proto/src/error.rs'), 'utf8');
  const codes = [...rust.matchAll(/ = "(ERR_\w+)",/g)].map(([, code]) => code);
  assert.ok(codes.length > 10);
  const heard = (code) =>
    readSignal(JSON.stringify({ type: 'bye', linkup: { v: 1, session: 's', bye: { code, reason: '' } } })).bye.code;
  assert.deepEqual(codes.map(heard), codes);
  for (const code of ['ERR_NEW', 'ERR_DENIED2', 'ERR_', 'DENIED', 1, null, {}])
    assert.equal(heard(code), 'ERR_CONNECTION_CLOSED', String(code));
});

class FakeConnection {
  iceConnectionState = 'connected';
  localDescription = { sdp: 'v=0\r\na=max-message-size:1073741823\r\n' };
  sctp = { maxMessageSize: 262_144 };
  channel = Object.assign(new FakeChannel(), { readyState: 'connecting' });

  constructor(config) {
    FakeConnection.last = this;
    this.config = config;
  }
  createDataChannel() {
    return this.channel;
  }
  async getStats() {
    return FakeConnection.stats;
  }
  async createOffer() {}
  async createAnswer() {}
  async setRemoteDescription() {}
  async setLocalDescription() {}
  close() {
    this.closed = true;
  }
}

/** A transport that calls and comes up; `stats`: what the browser counts. */
async function called({ stats, kind = LINKUP, limits, resume, iceServers = [], direct, offer }) {
  const receive = { message: 1e6, window: 1e6, resume };
  FakeConnection.stats = new Map([['one', stats]]);
  const options = {
    trickle: true,
    iceServers,
    RTCPeerConnection: FakeConnection,
    limits: { messageBytes: 1e6, bufferedBytes: 1e6, highWaterMark: 1e6, ...limits },
    timeouts: { idle: IDLE, close: 5000 },
  };
  const heard = [];
  const says = (name) => (_link, about) => heard.push([name, about]);
  const peer = Object.fromEntries(
    ['described', 'opened', 'gone', 'finished', 'failed', 'muted', 'audible'].map((name) => [name, says(name)]),
  );
  Object.assign(peer, { options, put: (...event) => heard.push(event) });
  const transport = new Transport(peer, { kind, receive, direct });
  await transport.start(offer);
  const pc = FakeConnection.last;
  const { channel } = pc;
  channel.readyState = 'open';
  channel.onopen?.();
  await settle();
  const say = (frame) => channel.onmessage({ data: new Uint8Array(frame).buffer });
  return { transport, pc, channel, heard, say };
}

const failures = (heard) => heard.filter(([name]) => name === 'failed').map(([, { code }]) => code);
const pings = ({ sent }) => sent.filter((frame) => frame[0] === 7).length;

/** So many beats pass, each with its look at the browser's numbers. */
const beats = async (t, count) => {
  for (let i = 0; i < count; i++) {
    t.mock.timers.tick(IDLE / 20);
    await Promise.resolve();
    await settle(3);
  }
};
const apis = ['setTimeout', 'setInterval'];

test('a browser that asks often needs no PINGs: it is silent where what was sent is not confirmed', async (t) => {
  t.mock.timers.enable({ apis });
  const stats = { type: 'candidate-pair', consentRequestsSent: 1 };
  const { transport, channel, heard, say } = await called({ stats, resume: true });
  await beats(t, 30);
  assert.deepEqual([pings(channel), heard.filter(([name]) => name === 'muted')], [0, []]);
  const silent = () => heard.filter(([name]) => name === 'muted').length;
  transport.send('1');
  await beats(t, 6);
  say(frames.ack(1, 65));
  await beats(t, 30);
  assert.equal(silent(), 0);
  transport.send('2');
  await beats(t, 6);
  assert.equal(silent(), 0);
  await beats(t, 1);
  assert.deepEqual([silent(), pings(channel)], [1, 0]);
  transport.abort();
});

test('a remote that does not answer a PING is silent, and is heard when it says anything', async (t) => {
  t.mock.timers.enable({ apis });
  const stats = { type: 'candidate-pair', bytesReceived: 1 };
  const { transport, channel, heard, say } = await called({ stats, resume: true });
  const said = () => heard.map(([name]) => name).filter((name) => name === 'muted' || name === 'audible');
  for (let i = 1; i < 4; i++) {
    await beats(t, 4);
    assert.equal(pings(channel), i);
    say(i % 2 ? frames.ack(0, 0) : frames.stream(9, 1, [1]));
  }
  await beats(t, 9);
  // The browser itself hears the remote: that is asleep, or SCTP sends a lost burst again, after seconds.
  for (let i = 0; i < 5; i++) {
    stats.bytesReceived += 1;
    await beats(t, 6);
  }
  assert.deepEqual(said(), []);
  await beats(t, 6);
  assert.deepEqual(said(), ['muted']);
  await beats(t, 15);
  assert.deepEqual(said(), ['muted'], 'once');
  stats.bytesReceived += 1;
  await beats(t, 6);
  assert.deepEqual(said(), ['muted', 'audible']);
  await beats(t, 6);
  say(frames.ack(0, 0));
  await beats(t, 1);
  assert.deepEqual(said(), ['muted', 'audible', 'muted', 'audible']);
  assert.deepEqual(failures(heard), []);
  transport.abort();
  await beats(t, 30);
  assert.equal(said().length, 4);
});

test('what the browser doubts is silent at once, and heard when it does no more', async (t) => {
  t.mock.timers.enable({ apis });
  const { transport, pc, heard } = await called({ stats: { consentRequestsSent: 1 }, resume: true });
  const said = () => heard.map(([name]) => name).filter((name) => name === 'muted' || name === 'audible');
  for (const [state, words] of [
    ['disconnected', ['muted']],
    ['connected', ['muted', 'audible']],
    ['completed', ['muted', 'audible']],
  ]) {
    pc.iceConnectionState = state;
    pc.oniceconnectionstatechange();
    t.mock.timers.tick(0);
    assert.deepEqual(said(), words);
  }
  transport.abort();
});

test('going on over another one, it is that one', async () => {
  const { transport, pc, channel, heard } = await called({ stats: {}, resume: true });
  const fresh = await called({ stats: {}, resume: true });
  transport.send('1');
  transport.moveOver(fresh.transport);
  assert.deepEqual([pc.closed, fresh.pc.closed, channel.onmessage], [true, undefined, null]);
  fresh.say(frames.ack(0, 0));
  assert.equal(fresh.channel.sent.at(-1), '1');
  fresh.say(frames.stream(9, 1, [1]));
  assert.deepEqual(heard.filter(([kind]) => kind === EVENTS.FRAME).length, 1);
  fresh.pc.iceConnectionState = 'failed';
  fresh.pc.oniceconnectionstatechange();
  assert.deepEqual(failures(heard), ['ERR_ICE_FAILED']);
  fresh.transport.abort();
  assert.equal(fresh.pc.closed, undefined, 'it is not that one’s any more');
  transport.abort();
  assert.equal(fresh.pc.closed, true);
});

test('a plain client is not asked', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  const { transport, channel, heard } = await called({ stats: {}, kind: PLAIN });
  t.mock.timers.tick(10 * IDLE);
  assert.deepEqual([channel.sent, failures(heard)], [[], []]);
  transport.abort();
});

test('a transport that is over before the browser has counted opens nothing, and starts nothing', async (t) => {
  let answer;
  const counting = () =>
    new Promise((resolve) => {
      answer = resolve;
    });
  const { mock: counts } = t.mock.method(FakeConnection.prototype, 'getStats', counting);
  const { mock } = t.mock.method(globalThis, 'setInterval');
  const { transport, heard } = await called({ stats: {} });
  assert.equal(counts.callCount(), 1);
  transport.abort();
  answer(new Map([['one', {}]]));
  await settle();
  assert.deepEqual([mock.callCount(), heard.filter(([name]) => name === 'opened')], [0, []]);
  counts.restore();
  // As it does where it is not over.
  const other = await called({ stats: {} });
  other.transport.abort();
  assert.deepEqual([mock.callCount(), other.heard.filter(([name]) => name === 'opened').length], [1, 1]);
});

for (const [stats, after] of [
  [{ consentRequestsSent: 1 }, IDLE * 0.4],
  [{}, 0],
]) {
  test(`where nothing can resume, what the browser doubts is lost after ${after} ms more`, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
    const { transport, pc, heard } = await called({ stats });
    const become = (state) => {
      pc.iceConnectionState = state;
      pc.oniceconnectionstatechange();
    };
    become('disconnected');
    if (after > 0) {
      t.mock.timers.tick(after - 1);
      become('connected');
      t.mock.timers.tick(IDLE);
      become('disconnected');
      t.mock.timers.tick(after - 1);
    }
    assert.deepEqual(failures(heard), []);
    t.mock.timers.tick(1);
    assert.deepEqual(failures(heard), ['ERR_CONNECTION_LOST']);
    transport.abort();
  });
}

test('what breaks the protocol is an error of that name', async () => {
  const { transport, heard, say } = await called({ stats: {} });
  say([99]);
  assert.deepEqual(failures(heard), ['ERR_PROTOCOL']);
  transport.abort();
});

test('who waits for an ACK hears of the end, with the end’s error', async () => {
  const { transport, heard } = await called({ stats: {} });
  transport.send('1', 3);
  transport.abort(false, { code: 'ERR_CONNECTION_LOST', message: 'gone' });
  transport.abort();
  const settled = heard.filter(([kind]) => kind === EVENTS.SETTLED);
  assert.deepEqual(settled, [[EVENTS.SETTLED, 3, null, { code: 'ERR_CONNECTION_LOST', message: 'gone' }]]);
});

test('our description has our limit, but always room for what carries no message', async () => {
  for (const [messageBytes, said] of [
    [10, 1024],
    [100_000, 100_000],
    [1e6, 262_144],
  ]) {
    const { transport, heard } = await called({ stats: {}, limits: { messageBytes } });
    const [, sdp] = heard.find(([name]) => name === 'described');
    assert.equal(sdp, `v=0\r\na=max-message-size:${said}\r\n`);
    transport.abort();
  }
});

test('a remote that takes next to nothing gets no frames', async () => {
  const { transport, pc, channel } = await called({ stats: {} });
  assert.equal(transport.framed, true);
  const tiny = new Transport(transport.peer, transport.link);
  pc.sctp.maxMessageSize = 20;
  Object.defineProperty(tiny, 'frameBytes', { value: 20 });
  tiny.made(Object.assign(new FakeChannel(), { largest: 20 }));
  assert.equal(tiny.framed, false);
  assert.equal(channel.readyState, 'open');
  tiny.drop();
  transport.abort();
});

test('descriptions say what we take, and other signals do not', async () => {
  const sent = [];
  const limits = { messageBytes: 12_345 };
  const books = new Books({ id: 'a', metadata: 1, limits }, () => {});
  books.broker = { registered: true, send: (one) => sent.push(one) };
  const link = { remote: 'b', session: 's', kind: LINKUP };
  const send = async (...args) => {
    books.sendSignal(link, ...args);
    await books.going;
    const { linkup } = JSON.parse(sent.pop().message.signal);
    if (link.kind === LINKUP) assert.match(linkup.key, /^[\w-]{43}$/);
    delete linkup?.key;
    return linkup;
  };
  const receive = { message: 12_345, window: 8 * 1024 * 1024, resume: true, relay: true };
  for (const type of ['offer', 'answer']) {
    assert.deepEqual(await send({ type, sdp: 'v=0' }), { v: 1, session: 's', metadata: 1, receive });
  }
  // A bye says which connection it is about: by its first offer.
  const { offer, ...bye } = await send({ type: 'bye' }, { bye: 1 });
  assert.deepEqual(bye, { v: 1, session: 's', bye: 1 });
  assert.equal(offer, link.first);
  link.number = 3;
  assert.deepEqual(await send({ type: 'offer', sdp: 'v=0' }), { v: 1, session: 's', transport: 3 });
  assert.deepEqual(await send({ type: 'resume' }), { v: 1, session: 's', transport: 3 });
  link.kind = PLAIN;
  assert.equal(await send({ type: 'offer', sdp: 'v=0' }), undefined);
});

test('what a remote takes: as it says, or what is usual; windows have a least size', () => {
  const read = (receive) => readSignal(writeSignal(LINKUP, 's', { type: 'offer', sdp: 'v=0' }, { receive })).receive;
  const usual = { message: 262_144, window: 1_048_576, resume: false, relay: false };
  const most = { message: 5, window: 4_000_000_000, resume: true, relay: true };
  assert.deepEqual(read(most), most);
  assert.deepEqual(read({ message: 0, window: 262_143, resume: 1 }), { ...usual, message: 0, window: 262_144 });
  for (const nothing of [
    undefined,
    null,
    7,
    'x',
    [],
    {},
    { message: '9', window: '9e9' },
    { message: -1, window: -1 },
  ]) {
    assert.deepEqual(read(nothing), usual, JSON.stringify(nothing));
  }
  assert.deepEqual(read({ message: 1.5, window: null }), usual);
  assert.equal(readSignal('{"type":"offer","sdp":"v=0"}').receive, undefined);
});

test('OPEN says who made the channel', () => {
  for (const [state, caller] of [
    [CONNECTING, true],
    [4, false],
  ]) {
    const events = [];
    const peer = { links: new Set(), notePath() {}, find() {}, put: (...event) => events.push(event) };
    const link = PagePeer.prototype.insert.call(peer, 'b', true);
    const receive = { message: 1, window: 262_144 };
    Object.assign(link, { state, kind: LINKUP, receive, transport: {} });
    PagePeer.prototype.opened.call(peer, link);
    assert.equal(events[0][2].caller, caller);
    assert.equal(link.receive, receive, 'the channel needs it as long as it is open');
  }
});

test('a transport that is to be direct asks no TURN server, whoever calls, and says so in its offer', async () => {
  const stun = { urls: 'stun:one' };
  const both = { urls: ['turn:two', 'stun:two', 'turns:two'], username: 'u', credential: 'c' };
  const iceServers = [stun, both, { urls: 'turn:three', username: 'u', credential: 'c' }];
  const line = 'a=x-linkup-direct\r\n';
  const offer = `v=0\r\n${line}`;
  const asked = ({ pc }) => pc.config.iceServers;
  const said = ({ heard }) => heard.find(([name]) => name === 'described')[1].endsWith(line);
  const [calls, answers, usual] = [
    await called({ iceServers, direct: true }),
    await called({ iceServers, offer }),
    await called({ iceServers, offer: 'v=0\r\n' }),
  ];
  for (const end of [calls, answers]) {
    assert.deepEqual(asked(end), [{ urls: ['stun:one'] }, { ...both, urls: ['stun:two'] }]);
  }
  assert.deepEqual(asked(usual), iceServers);
  assert.deepEqual([calls, answers, usual].map(said), [true, false, false]);
  for (const { transport } of [calls, answers, usual]) transport.abort();
});
