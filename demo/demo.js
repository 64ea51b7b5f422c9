// The demo: chat and files with anybody whose id you know, by linkup's public API. What others send is set as text only.

const { createPeer, LinkupError } = globalThis.linkup;

const MAX_FILE = 1024 ** 3;
/** What is longer is no chat: it goes as a file. */
const MAX_MESSAGE = 256 * 1024;
const MAX_ENTRIES = 500;
const ASK_MS = 15_000;
const CUT = 'Incomplete: disconnected';

const ADVICE = {
  ERR_PEER_NOT_FOUND: 'Check the spelling. They have to be online, under exactly this id.',
  ERR_DENIED: 'They do not want to talk now.',
  ERR_CONNECT_SELF: 'This id is yours: open your link in another tab or on another device.',
  ERR_CONNECT_TIMEOUT: 'They may be asleep, or still deciding. Try again.',
  ERR_ICE_FAILED: 'Meet in one network, or use a TURN server.',
  ERR_ID_TAKEN: 'Somebody is online with this id: change yours, or wait.',
  ERR_BROKER_UNREACHABLE: 'Is the broker running (npm start)? This page goes on trying.',
  ERR_CONNECTION_LOST: 'Their program has ended, or the network is broken. Connect again.',
  ERR_MESSAGE_TOO_LARGE: 'Send it as a file.',
};

const $ = (id) => document.getElementById(id);

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const button = (textContent, onclick, ariaLabel = null) =>
  make('button', { type: 'button', textContent, onclick, ariaLabel });

const wide = matchMedia('(min-width: 45.01rem)');
const talks = new Map();
let peer;
let active;
/** Whom to call when registered. */
let wanted = idOfLink();

function randomId() {
  const names = ['otter', 'heron', 'lynx', 'robin', 'seal'];
  return `${names[Math.floor(Math.random() * names.length)]}-${10 + Math.floor(Math.random() * 90)}`;
}

function idOfLink() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return '';
  }
}

/** The tab's id before it was reloaded. */
function remembered(id) {
  try {
    if (id) sessionStorage.setItem('linkup-demo-id', id);
    return sessionStorage.getItem('linkup-demo-id');
  } catch {
    return null;
  }
}

const linkTo = (id) => `${location.href.split('#')[0]}#${encodeURIComponent(id)}`;

/** Goes online as `id`. `chosen`: not by chance. */
function start(id, chosen) {
  const brokerUrl = location.origin.replace('http', 'ws');
  const limits = { messageBytes: MAX_MESSAGE };
  const mine = createPeer(id, { brokerUrl, limits, accept: ({ from }) => allow(from) });
  const old = peer;
  peer = mine;
  for (const talk of [...talks.values()]) talk.forget();
  $('requests').replaceChildren();
  old?.close().catch(() => {});
  $('id').value = id;
  $('second').href = linkTo(id);
  remembered(id);
  showState('connecting', 'Connecting…');

  const on = (name, listener) => mine.on(name, (event) => peer === mine && listener(event));
  on('register', () => {
    showState('registered', `Online as ${id}`);
    settled('ERR_BROKER_UNREACHABLE', 'ERR_ID_TAKEN');
    if (wanted) call(wanted);
    wanted = '';
  });
  on('offline', ({ reason }) => showState('offline', `Offline, trying again: ${reason}`));
  on('connection', (connection) => talkWith(connection.id).open(connection, false));
  on('error', (error) => {
    // A tab that was duplicated has its twin's id.
    if (error.code === 'ERR_ID_TAKEN' && !chosen) start(randomId());
    else complain(error);
  });
}

function showState(state, text) {
  $('state').dataset.state = state;
  $('state').textContent = text;
}

function allow(from) {
  if (!$('ask').checked) return true;
  return new Promise((resolve) => {
    const answer = (text, verdict) => button(text, () => decide(verdict), `${text} ${from}`);
    const item = make('li', {}, make('b', { textContent: `${from} wants to connect` }));
    item.append(make('div', { className: 'row' }, answer('Accept', true), answer('Deny', 'not now')));
    const timer = setTimeout(() => decide('no answer'), ASK_MS);
    function decide(verdict) {
      clearTimeout(timer);
      item.remove();
      resolve(verdict);
    }
    $('requests').append(item);
    say(`${from} wants to connect`);
  });
}

function complain(error) {
  const about = make('p', {}, make('strong', { textContent: `${sentence(error.message)} ` }));
  if (error.code) about.append(make('code', { textContent: error.code }));
  about.append(make('br'), ADVICE[error.code] ?? '');
  $('notice').dataset.code = error.code ?? '';
  $('notice').replaceChildren(
    about,
    button('Dismiss', () => settled()),
  );
}

/** The notice is done with, if it is about one of these. */
function settled(...codes) {
  const { dataset } = $('notice');
  if (codes.length > 0 && !codes.includes(dataset.code)) return;
  const focused = $('notice').contains(document.activeElement);
  $('notice').replaceChildren();
  if (focused) $(active ? 'text' : 'other').focus();
}

function say(text) {
  $('said').textContent = text;
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? '' : '.');

class Talk {
  connection;
  state = 'connecting';
  unread = 0;
  incoming;
  queue = Promise.resolve();
  last;

  constructor(id) {
    this.id = id;
    this.log = make('div', { className: 'log', tabIndex: 0, hidden: true, role: 'log' });
    this.log.ariaLabel = `Messages with ${id}`;
    this.label = make('span', { className: 'state' });
    this.badge = make('span', { className: 'badge' });
    const name = make('b', { textContent: id });
    this.button = make('button', { type: 'button', onclick: () => this.show(true) }, name, this.badge, this.label);
    this.item = make('li', {}, this.button);
    $('talks').append(this.item);
    $('logs').append(this.log);
    this.update('connecting');
  }

  update(state = this.connection?.state ?? this.state) {
    this.state = state;
    for (const label of active === this ? [this.label, $('talk-state')] : [this.label]) {
      label.dataset.state = state;
      label.textContent = state;
    }
    this.badge.replaceChildren();
    if (this.unread) this.badge.append(`${this.unread}`, make('span', { className: 'sr', textContent: ' new' }));
    $('none').hidden = talks.size > 0;
    let unread = 0;
    for (const talk of talks.values()) unread += talk.unread;
    document.title = unread ? `(${unread}) linkup demo` : 'linkup demo';
    if (active !== this) return;
    const open = state === 'open';
    const over = state === 'closed';
    $('say').classList.toggle('off', !open);
    $('stats').hidden = !open;
    $('end').textContent = over ? 'Connect again' : 'Disconnect';
    // Not while closing: in Firefox it would lose the focus.
    $('end').disabled = state === 'connecting';
    $('forget').hidden = !over;
  }

  /** `asked`: the user waits for it. */
  open(connection, asked) {
    if (this.connection !== connection) {
      this.connection = connection;
      this.last = undefined;
      const on = (name, listener) => connection.on(name, (event) => this.connection === connection && listener(event));
      on('message', (message) => this.text(false, typeof message === 'string' ? message : JSON.stringify(message)));
      on('stream', (stream) => this.receive(stream));
      on('error', complain);
      on('close', (event) => this.ended(event));
      this.note(asked ? 'You are connected.' : `${this.id} has connected to you.`);
    }
    this.update();
    // Nobody is taken from what they do.
    const idle = document.activeElement === document.body;
    if (asked || (!active && (wide.matches || idle))) this.show(asked);
    else if (active !== this) say(`${this.id} has connected to you`);
  }

  ended({ code, reason }) {
    const focused = active === this && $('say').contains(document.activeElement);
    this.update('closed');
    this.note(code ? `${sentence(reason)} ${code}\n${ADVICE[code] ?? ''}` : 'Disconnected.');
    if (focused) $('end').focus();
  }

  show(focus) {
    if (active) {
      active.log.hidden = true;
      active.button.ariaCurrent = null;
    }
    active = this;
    document.body.dataset.view = 'talk';
    this.unread = 0;
    this.last = undefined;
    this.log.hidden = false;
    this.button.ariaCurrent = 'true';
    $('welcome').hidden = true;
    $('talk').hidden = false;
    $('name').textContent = this.id;
    for (const name of ['path', 'trip', 'up', 'down']) $(name).textContent = '–';
    this.update();
    this.log.scrollTop = this.log.scrollHeight;
    // A phone's keyboard would come up.
    if (focus) $(!wide.matches ? 'name' : this.state === 'closed' ? 'end' : 'text').focus();
    measure();
  }

  forget() {
    talks.delete(this.id);
    if (this.connection) this.ended({ code: null });
    this.connection = undefined;
    for (const { href } of this.log.querySelectorAll('a')) URL.revokeObjectURL(href);
    this.item.remove();
    this.log.remove();
    if (active === this) {
      active = undefined;
      $('talk').hidden = true;
      $('welcome').hidden = false;
      document.body.dataset.view = 'home';
    }
    this.update('closed');
  }

  append(entry) {
    const { log } = this;
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
    log.append(entry);
    while (log.childElementCount > MAX_ENTRIES) log.firstElementChild.remove();
    if (atEnd || entry.classList.contains('mine')) log.scrollTop = log.scrollHeight;
  }

  note(text) {
    this.append(make('p', { className: 'entry note', textContent: text }));
  }

  entry(mine, ...content) {
    const who = make('span', { className: 'sr', textContent: mine ? 'You: ' : `${this.id}: ` });
    this.append(make('div', { className: mine ? 'entry mine' : 'entry' }, who, ...content));
    if (mine || (active === this && $('talk').checkVisibility() && !document.hidden)) return;
    this.unread++;
    this.update();
    if (active !== this) say(`${this.id}: ${this.unread} new`);
  }

  text(mine, text) {
    const time = new Date().toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
    this.entry(mine, text, make('time', { textContent: time }));
  }

  async send(text) {
    this.text(true, text);
    await this.connection.send(text).catch(complain);
  }

  // A file is a stream `file` with {name, size}. The receiver ends its direction when it has everything; either side resets.

  receive(stream) {
    const { name, size } = stream.meta ?? {};
    const known = stream.name === 'file' && typeof name === 'string' && Number.isSafeInteger(size) && size >= 0;
    // One at a time: a sender waits until it has arrived.
    if (!known || size > MAX_FILE || this.incoming?.over === false) return stream.readable.cancel('not now');
    this.incoming = new Incoming(this, name, size);
    this.incoming.run(stream);
  }

  sendFiles(files) {
    if (this.connection?.state !== 'open') return;
    for (const file of files) {
      const transfer = new Outgoing(this, file.name, file.size);
      this.queue = this.queue.then(() => transfer.run(file));
    }
  }
}

class Transfer {
  over = false;
  at = 0;
  #abort = new AbortController();

  constructor(talk, name, size) {
    const mine = this instanceof Outgoing;
    Object.assign(this, { talk, name, size });
    // Not `off`, each percent would be read out.
    this.detail = make('span', { ariaLive: 'off', textContent: `Waiting · ${bytes(size)}` });
    this.bar = make('progress', { max: size || 1, value: 0, ariaLabel: name });
    this.stop = button('Cancel', () => this.cancel(), `Cancel ${name}`);
    this.box = make(
      'div',
      { className: 'transfer' },
      make('b', { textContent: name }),
      this.detail,
      this.stop,
      this.bar,
    );
    talk.entry(mine, this.box);
  }

  /** Moves all from the one to the other; one of them is the stream's. */
  move(stream, from, to) {
    stream.on('progress', ({ bytes }) => this.#progress(bytes));
    stream.on('error', ({ code }) => this.end(code === 'ERR_ABORTED' ? `Cancelled by ${this.talk.id}` : CUT));
    return from.pipeTo(to, { signal: this.#abort.signal });
  }

  #progress(at) {
    this.at = at;
    this.bar.value = at;
    const text = `${Math.floor((100 * at) / (this.size || 1))}% of ${bytes(this.size)}`;
    if (this.detail.textContent !== text) this.detail.textContent = text;
  }

  end(text) {
    if (this.over) return;
    this.over = true;
    const focused = document.activeElement === this.stop;
    this.detail.textContent = `${text} · ${bytes(this.size)}`;
    this.bar.remove();
    this.stop.remove();
    if (focused) this.talk.log.focus();
  }

  cancel() {
    this.end('Cancelled');
    this.#abort.abort();
  }
}

class Outgoing extends Transfer {
  async run(file) {
    if (this.over) return;
    const { talk, name, size } = this;
    try {
      const stream = talk.connection.createStream('file', { name, size });
      const closed = new Promise((resolve) => stream.on('close', resolve));
      await this.move(stream, file.stream(), stream.writable);
      await closed;
      this.end('Delivered');
    } catch (error) {
      if (error instanceof LinkupError) this.end(CUT);
      if (this.over) return;
      this.end('Cancelled');
      complain({ message: `${name} cannot be read: ${error.message}` });
    }
  }
}

class Incoming extends Transfer {
  #parts = [];

  async run(stream) {
    try {
      await this.move(stream, stream.readable, new WritableStream({ write: (part) => this.#take(part) }));
      if (this.at < this.size) return this.end(CUT);
      this.#finish();
      await stream.writable.close();
    } catch {
      this.end('Cancelled');
    }
  }

  #take(part) {
    if (this.at > this.size) throw new Error('more than its size');
    this.#parts.push(part);
    // A Blob may be on the disk.
    if (this.#parts.length > 200) this.#parts = [new Blob(this.#parts)];
  }

  end(text) {
    super.end(text);
    this.#parts = [];
  }

  #finish() {
    // Not a type of the sender's choice: opened, it would be a page of our origin.
    const href = URL.createObjectURL(new Blob(this.#parts, { type: 'application/octet-stream' }));
    this.end('Received');
    const link = make('a', { className: 'button', href, download: this.name, textContent: 'Download' });
    link.ariaLabel = `Download ${this.name}`;
    this.box.append(link);
  }
}

function talkWith(id) {
  if (!talks.has(id)) talks.set(id, new Talk(id));
  const talk = talks.get(id);
  talk.update();
  return talk;
}

async function call(id) {
  const caller = peer;
  const fresh = !talks.has(id);
  const talk = talkWith(id);
  if (talk.connection?.state !== 'open') talk.update('connecting');
  try {
    const connection = await caller.connect(id);
    if (caller !== peer) return;
    settled();
    talkWith(id).open(connection, true);
    $('other').value = '';
  } catch (error) {
    if (caller !== peer) return;
    if (fresh && !talk.connection) talk.forget();
    else talk.update('closed');
    complain(error);
    if (!active) {
      $('other').value = id;
      $('other').select();
    }
  }
}

function bytes(count) {
  const units = ['B', 'KB', 'MB', 'GB'];
  const power = count < 1000 ? 0 : Math.min(3, Math.floor(Math.log10(count) / 3));
  const value = count / 1000 ** power;
  return `${power === 0 ? Math.round(value) : value.toPrecision(3)} ${units[power]}`;
}

const rate = (count, ms) => (count > 0 ? `${bytes((count * 1000) / ms)}/s` : '0');

async function measure() {
  const talk = active;
  if (document.hidden || talk?.connection?.state !== 'open') return;
  const { connection } = talk;
  const stats = await connection.stats().catch(() => undefined);
  if (stats === undefined || active !== talk || talk.connection !== connection) return;
  const { path, roundTripTime: trip, bytesSent = 0, bytesReceived = 0 } = stats;
  const now = performance.now();
  $('path').textContent = path ?? connection.path;
  $('trip').textContent = trip === undefined ? '–' : `${trip < 0.001 ? '< 1' : Math.round(trip * 1000)} ms`;
  const { last } = talk;
  if (last && now - last.now < 500) return;
  if (last) {
    $('up').textContent = rate(bytesSent - last.bytesSent, now - last.now);
    $('down').textContent = rate(bytesReceived - last.bytesReceived, now - last.now);
  }
  talk.last = { now, bytesSent, bytesReceived };
}

function onSubmit(form, act) {
  $(form).addEventListener('submit', (event) => {
    event.preventDefault();
    act();
  });
}

onSubmit('me', () => {
  const id = $('id').value.trim();
  if (id === '' || id === peer?.id) return;
  try {
    start(id, true);
  } catch (error) {
    complain(error);
  }
});

onSubmit('call', () => call($('other').value.trim()));

onSubmit('say', () => {
  const text = $('text').value;
  if (text === '' || !active) return;
  $('text').value = '';
  active.send(text);
});

$('copy').onclick = async () => {
  const link = linkTo(peer.id);
  try {
    await navigator.clipboard.writeText(link);
    $('copy').textContent = 'Copied';
    say('Your link is copied');
    setTimeout(() => {
      $('copy').textContent = 'Copy my link';
    }, 2000);
  } catch {
    // Only https and localhost may.
    complain({ message: `Copy it by hand: ${link}` });
  }
};

$('echo').onclick = () => call('echo');

$('back').onclick = () => {
  const { button } = active;
  document.body.dataset.view = 'home';
  button.focus();
};

$('end').onclick = () => {
  const { id, state } = active;
  if (state === 'closed') return call(id);
  active.update('closing');
  peer.disconnect(id).catch(complain);
};

$('forget').onclick = () => {
  active.forget();
  $('other').focus();
};

$('files').onchange = ({ target }) => {
  active?.sendFiles([...target.files]);
  target.value = '';
};

// A file that is dropped beside the conversation must not replace the page.
for (const name of ['dragover', 'dragleave', 'drop']) {
  addEventListener(name, (event) => {
    if (!event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    const inside = $('talk').contains(event.target);
    $('talk').classList.toggle('over', inside && name === 'dragover');
    if (inside && name === 'drop') active?.sendFiles([...event.dataTransfer.files]);
  });
}

addEventListener('hashchange', () => {
  const id = idOfLink();
  if (id) call(id);
});

document.addEventListener('visibilitychange', () => {
  if (document.hidden || !active) return;
  active.unread = 0;
  active.update();
  measure();
});

setInterval(measure, 1000);

const known = remembered();
start(known ?? randomId(), known !== null && !/^[a-z]+-\d\d$/.test(known));
