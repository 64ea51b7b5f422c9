'use strict';
// When a page looks for a direct way, where a TURN server is on the one that it has. The browser's WebRTC is a double.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const EVENTS = require('../../js/events');
const { Link } = require('../../js/page/books');
const { Resume } = require('../../js/page/resume');
const { LEAVING, LINKUP, OPEN, RESUMING } = require('../../js/page/states');

/** A connection that has just come up; and what a look for another way was to be: `any`, `direct`, or nothing. */
function opened({ path = 'turn', caller = true, resumes = true, state = OPEN, iceTransportPolicy = 'all' }) {
  const options = { timeouts: { resume: 30_000, idle: 10_000 }, iceTransportPolicy };
  const resume = new Resume(options, () => {});
  resume.broker = { registered: true, forget() {} };
  const link = new Link(resume, 'bob', true);
  Object.assign(link, { kind: LINKUP, caller, state, transport: { path, resumes } });
  const asked = [];
  resume.startTransport = (link) => asked.push(link.direct ? 'direct' : 'any');
  resume.notePath(link);
  return { link, asked };
}

const cases = [
  ['over a TURN server', {}, ['direct']],
  ['without one', { path: 'direct' }, []],
  ['where the other side calls', { caller: false }, []],
  ['without a remote that resumes', { resumes: false }, []],
  ['where the application wants a TURN server', { iceTransportPolicy: 'relay' }, []],
  ['while any way is looked for already', { state: RESUMING }, []],
];

for (const [name, about, expected] of cases) {
  test(`a direct way is looked for after 5 s, or not: ${name}`, (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const { link, asked } = opened(about);
    t.mock.timers.tick(4999);
    assert.deepEqual(asked, []);
    t.mock.timers.tick(1);
    assert.deepEqual(asked, expected);
    assert.equal(link.direct, expected.length > 0);
    link.stop();
  });
}

test('a browser that has gone over to a direct way by itself looks for none', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { link, asked } = opened({});
  link.transport.path = 'direct';
  t.mock.timers.tick(60_000);
  assert.deepEqual(asked, []);
});

test('who is offered another transport asks for none: a caller that looks for a direct way would drop it', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { link, asked } = opened({ caller: false });
  const resume = link.peer;
  const sent = [];
  resume.links.add(link);
  resume.sendSignal = (_, { type }) => sent.push(type);
  link.session = 's';
  resume.renewed({ remote: 'bob', session: 's', kind: LINKUP, number: 1, offer: 'v=0' });
  assert.deepEqual([asked, sent, link.number], [['any'], [], 1]);
  // One that is silent does ask.
  Object.assign(link, { state: OPEN, next: undefined, quiet: false });
  resume.broker.probe = () => {};
  resume.broker.wouldKnow = () => false;
  resume.muted(link);
  assert.deepEqual(sent, ['resume']);
  link.stop();
});

for (const [who, caller, signal] of [
  ['called side', true, { number: 0 }],
  ['caller', false, { number: 1, offer: 'v=0' }],
]) {
  test(`a transport that the ${who} gives up is no end where it goes on`, (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const { link, asked } = opened({ caller });
    const resume = link.peer;
    const heard = [];
    resume.links.add(link);
    Object.assign(resume, { sendSignal() {}, put: (event) => heard.push(event), end: () => heard.push('end') });
    Object.assign(resume.broker, { probe() {}, wouldKnow: () => false });
    link.session = 's';
    resume.deadline = () => heard.push('end');
    Object.assign(link, { state: LEAVING, cut: true });
    link.after('end', 300, () => resume.deadline(link));
    resume.renewed({ remote: 'bob', session: 's', kind: LINKUP, ...signal });
    assert.deepEqual([link.state, asked, heard], [RESUMING, ['any'], [EVENTS.RECONNECTING]]);
    t.mock.timers.tick(301);
    assert.deepEqual(heard, [EVENTS.RECONNECTING]);
    link.stop();
  });
}
