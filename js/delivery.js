'use strict';
// Takes events out of the engine's mailbox and passes them on one by one. Knows the mailbox, not what the events mean.
//
// Emitting a batch in a plain loop loses events for `while (true) await once(c, 'message')`: nobody listens again before
// the next one is gone. So whatever is due in JavaScript runs between two events that reached the application.

const { throwLater } = require('./emitter');

/**
 * Starts delivering the events of an engine.
 *
 * `dispatch(kind, handle, a, b)` returns true where code of the application was reached, nothing where it was not, or
 * a function: that is the next step, to be run after what is now due.
 *
 * @returns the engine's mailbox
 */
function deliver(engine, dispatch) {
  let batch = [];
  let at = 0;
  let followUp;
  let awake = false;

  const pause = engine.pause(step);
  const mailbox = engine.open(ring);
  return mailbox;

  function ring() {
    if (awake) return;
    awake = true;
    drain();
  }

  function drain() {
    batch = engine.drain(mailbox);
    at = 0;
    if (batch.length === 0) awake = false;
    else step();
  }

  function step() {
    for (let reached = false; !reached && more(); ) {
      const run = followUp ?? take;
      followUp = undefined;
      try {
        reached = run();
      } catch (error) {
        reached = true;
        throwLater(error);
      }
      if (typeof reached === 'function') followUp = reached;
    }
    if (more()) pause();
    // A full turn of the event loop: a stream of messages must not keep timers and sockets waiting for ever.
    else engine.turn(drain);
  }

  function more() {
    return followUp !== undefined || at < batch.length;
  }

  function take() {
    return dispatch(batch[at++], batch[at++], batch[at++], batch[at++]);
  }
}

module.exports = { deliver };
