//! What Rust has to say to one JavaScript environment, in order, and the doorbell that says there is something.
//!
//! Messages are bounded: when JavaScript does not keep up, [`Mailbox::post_message`] says so, the transports stop
//! reading, and the remote's sender slows down. Everything else is bounded by what JavaScript itself asked for.

use std::collections::VecDeque;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use linkup_driver::Message;
use napi::bindgen_prelude::{Function, ToNapiValue};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Status, check_status, sys};
use tokio::sync::Notify;

/// Events that one `drain` hands out: enough to pay for the crossing, few enough for JavaScript to breathe.
pub const BATCH: usize = 256;

/// Bytes of messages that may wait for JavaScript, over all connections of an environment.
const MAX_WAITING_BYTES: usize = 4 * 1024 * 1024;

/// What a waiting message costs beside its bytes.
const MESSAGE_OVERHEAD: usize = 128;

type Doorbell = ThreadsafeFunction<(), (), (), Status, false, true, 1>;

/// The kinds of events; `js/events.js` has the same table.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Kind {
    Registered = 1,
    Offline = 2,
    Open = 3,
    Joined = 4,
    Closed = 5,
    Settled = 6,
    Request = 7,
    Transform = 8,
    Error = 9,
    PeerClosed = 10,
    Text = 11,
    Binary = 12,
    Drained = 13,
    Frame = 14,
    Sending = 15,
    Receiving = 16,
    Reconnecting = 17,
    Reconnected = 18,
    Authorize = 19,
}

/// One of the two values that an event carries.
#[derive(Debug)]
pub enum Value {
    Null,
    Number(u32),
    Text(String),
    Bytes(bytes::Bytes),
}

#[derive(Debug)]
struct Event {
    kind: Kind,
    handle: u32,
    a: Value,
    b: Value,
    weight: usize,
}

#[derive(Default)]
struct Queue {
    events: VecDeque<Event>,
    waiting_bytes: usize,
    /// JavaScript has seen the end of the queue and sleeps until the doorbell rings.
    asleep: bool,
    closed: bool,
}

/// One environment's mailbox.
pub struct Mailbox {
    queue: Mutex<Queue>,
    doorbell: Mutex<Option<Doorbell>>,
    room: Notify,
}

impl Mailbox {
    /// Makes the mailbox of the environment that `ring` belongs to.
    ///
    /// # Errors
    /// Where the environment is ending.
    pub fn new(ring: &Function<'_, (), ()>) -> napi::Result<Self> {
        let doorbell = ring
            .build_threadsafe_function::<()>()
            .callee_handled::<false>()
            .weak::<true>()
            // One ring that is under way says all that another could.
            .max_queue_size::<1>()
            .build()?;
        Ok(Self {
            queue: Mutex::new(Queue { asleep: true, ..Queue::default() }),
            doorbell: Mutex::new(Some(doorbell)),
            room: Notify::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it is held; a poisoned queue is still a queue.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, event: Event) -> bool {
        let mut queue = self.lock();
        if queue.closed {
            return true;
        }
        queue.waiting_bytes += event.weight;
        queue.events.push_back(event);
        let has_room = queue.waiting_bytes < MAX_WAITING_BYTES;
        let ring = std::mem::take(&mut queue.asleep);
        drop(queue);
        if ring {
            self.ring();
        }
        has_room
    }

    fn ring(&self) {
        let doorbell = self.doorbell.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(doorbell) = doorbell.as_ref() {
            // A full queue means that a ring is under way; a closing environment hears nothing any more.
            let _ = doorbell.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }

    /// Leaves an event.
    pub fn post(&self, kind: Kind, handle: u32, a: Value, b: Value) {
        self.push(Event { kind, handle, a, b, weight: 0 });
    }

    /// Leaves a message. False: the mailbox is full, wait for [`Mailbox::room`] before the next one.
    pub fn post_message(&self, connection: u32, message: Message) -> bool {
        let (kind, a, bytes) = match message {
            Message::Text(text) => {
                let bytes = text.len();
                (Kind::Text, Value::Text(text), bytes)
            }
            Message::Binary(data) => {
                let bytes = data.len();
                (Kind::Binary, Value::Bytes(data), bytes)
            }
        };
        self.push(Event { kind, handle: connection, a, b: Value::Null, weight: bytes + MESSAGE_OVERHEAD })
    }

    /// The same for the frame of a stream.
    pub fn post_frame(&self, connection: u32, frame: bytes::Bytes) -> bool {
        let weight = frame.len() + MESSAGE_OVERHEAD;
        self.push(Event { kind: Kind::Frame, handle: connection, a: Value::Bytes(frame), b: Value::Null, weight })
    }

    /// Waits until messages may be left again.
    pub async fn room(&self) {
        loop {
            let notified = self.room.notified();
            tokio::pin!(notified);
            // Subscribed before looking: a drain between the two is not missed.
            notified.as_mut().enable();
            {
                let queue = self.lock();
                if queue.closed || queue.waiting_bytes < MAX_WAITING_BYTES / 2 {
                    return;
                }
            }
            notified.await;
        }
    }

    /// Takes the next events. After an empty batch the doorbell rings for the next event.
    pub fn drain(&self) -> Batch {
        let mut queue = self.lock();
        let count = queue.events.len().min(BATCH);
        if count == 0 {
            queue.asleep = true;
            return Batch(Vec::new());
        }
        let events: Vec<Event> = queue.events.drain(..count).collect();
        let before = queue.waiting_bytes;
        queue.waiting_bytes -= events.iter().map(|event| event.weight).sum::<usize>();
        let freed = before >= MAX_WAITING_BYTES / 2 && queue.waiting_bytes < MAX_WAITING_BYTES / 2;
        drop(queue);
        if freed {
            self.room.notify_waiters();
        }
        Batch(events)
    }

    /// The environment ends: nothing is kept, nobody waits.
    pub fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        queue.events.clear();
        queue.waiting_bytes = 0;
        drop(queue);
        self.room.notify_waiters();
        // Taken out first: dropping it may call into the environment.
        let doorbell = self.doorbell.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(doorbell);
    }
}

/// Drained events; in JavaScript a flat array of four values each: kind, handle, a, b.
pub struct Batch(Vec<Event>);

impl Batch {
    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl ToNapiValue for Batch {
    unsafe fn to_napi_value(env: sys::napi_env, batch: Self) -> napi::Result<sys::napi_value> {
        let mut array = ptr::null_mut();
        // SAFETY: `env` is the environment that called us, on its own thread; each value is made in it.
        unsafe {
            check_status!(sys::napi_create_array_with_length(env, batch.0.len() * 4, &mut array))?;
            let mut index = 0;
            for event in batch.0 {
                let slots = [
                    u32::to_napi_value(env, event.kind as u32)?,
                    u32::to_napi_value(env, event.handle)?,
                    Value::to_napi_value(env, event.a)?,
                    Value::to_napi_value(env, event.b)?,
                ];
                for slot in slots {
                    check_status!(sys::napi_set_element(env, array, index, slot))?;
                    index += 1;
                }
            }
        }
        Ok(array)
    }
}

impl ToNapiValue for Value {
    unsafe fn to_napi_value(env: sys::napi_env, value: Self) -> napi::Result<sys::napi_value> {
        // SAFETY: as above.
        unsafe {
            match value {
                Self::Null => napi::bindgen_prelude::Null::to_napi_value(env, napi::bindgen_prelude::Null),
                Self::Number(number) => u32::to_napi_value(env, number),
                Self::Text(text) => {
                    let mut string = ptr::null_mut();
                    let length = isize::try_from(text.len()).unwrap_or(isize::MAX);
                    check_status!(sys::napi_create_string_utf8(env, text.as_ptr().cast(), length, &mut string))?;
                    Ok(string)
                }
                Self::Bytes(bytes) => {
                    // A copy: external memory pays from 256 KiB only, and Electron forbids it.
                    let (mut data, mut buffer) = (ptr::null_mut(), ptr::null_mut());
                    let pointer = bytes.as_ptr().cast();
                    check_status!(sys::napi_create_buffer_copy(env, bytes.len(), pointer, &mut data, &mut buffer))?;
                    Ok(buffer)
                }
            }
        }
    }
}
