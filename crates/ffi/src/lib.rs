//! linkup for C: the functions of `include/linkup.h`, which says what they do.
//!
//! Knows pointers and JSON; what a peer does is the driver's. No function unwinds into its caller, and none trusts a text.

mod events;
mod queue;

use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use linkup_driver::core::{ConnectionId, Token};
use linkup_driver::{Message, Options, Peer, outcome};
use linkup_proto::{Error, ErrorCode, PeerId, PublicKey};
use tokio::runtime::{Builder, Runtime};

use crate::events::{Event, Taken};
use crate::queue::Queue;

/// More threads than this do not help a program with a few peers.
const THREADS: usize = 2;

/// One for the process. It is never dropped: at exit the operating system takes its threads.
fn runtime() -> std::io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let made = Builder::new_multi_thread().worker_threads(THREADS).thread_name("linkup").enable_all().build()?;
    Ok(RUNTIME.get_or_init(|| made))
}

/// A peer, as C has it.
#[derive(Debug)]
pub struct LinkupPeer {
    /// None: it has ended, because nobody took its events.
    peer: Arc<RwLock<Option<Peer>>>,
    queue: Arc<Queue>,
}

impl LinkupPeer {
    /// What `run` returns, or `otherwise` where it returns nothing, or the peer has ended.
    fn with<T>(&self, otherwise: T, run: impl FnOnce(&Peer) -> Option<T>) -> T {
        let peer = || self.peer.read().unwrap_or_else(PoisonError::into_inner);
        guarded(None, || peer().as_ref().and_then(run)).unwrap_or(otherwise)
    }
}

/// A panic would be a mistake of ours: the program hears of it on stderr, and goes on.
fn guarded<T>(otherwise: T, run: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(otherwise)
}

/// # Safety
/// Null, or a text that ends with a zero byte.
unsafe fn text<'a>(text: *const c_char) -> Option<&'a str> {
    if text.is_null() {
        return None;
    }
    unsafe { CStr::from_ptr(text) }.to_str().ok()
}

fn owned(text: &str) -> CString {
    // JSON has no zero bytes, and neither have our sentences.
    CString::new(text.replace('\0', "")).unwrap_or_default()
}

/// See `linkup.h`.
#[unsafe(no_mangle)]
pub extern "C" fn linkup_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

fn create(options: Option<&str>) -> Result<LinkupPeer, String> {
    let mut options = Options::from_json(options.ok_or("the options are no UTF-8")?)?;
    // Nobody would answer to these here.
    (options.transforms, options.verifies) = (false, false);
    let runtime = runtime().map_err(|error| error.to_string())?;
    let peer = Arc::new(RwLock::new(None));
    let lost = Arc::downgrade(&peer);
    let queue = Arc::new(Queue::new(move || {
        if let Some(peer) = lost.upgrade() {
            drop(peer.write().unwrap_or_else(PoisonError::into_inner).take());
        }
    }));
    let started = Peer::start(runtime.handle(), options, Arc::clone(&queue) as _);
    *peer.write().unwrap_or_else(PoisonError::into_inner) = Some(started);
    Ok(LinkupPeer { peer, queue })
}

/// See `linkup.h`.
///
/// # Safety
/// `options` is a text, `error` null or a place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn linkup_create(options: *const c_char, error: *mut *mut c_char) -> *mut LinkupPeer {
    let options = unsafe { text(options) };
    match guarded(Err("a mistake of linkup's".to_owned()), || create(options)) {
        Ok(peer) => Box::into_raw(Box::new(peer)),
        Err(why) => {
            if !error.is_null() {
                unsafe { *error = owned(&why).into_raw() };
            }
            std::ptr::null_mut()
        }
    }
}

/// See `linkup.h`.
///
/// # Safety
/// `peer` is null or of [`linkup_create`], and not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn linkup_next(peer: *mut LinkupPeer, timeout_ms: i64) -> *mut Event {
    let Some(peer) = (unsafe { peer.as_ref() }) else { return std::ptr::null_mut() };
    guarded(std::ptr::null_mut(), || {
        let time = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
        let until = time.and_then(|time| Instant::now().checked_add(time));
        let taken = peer.queue.next(until);
        if taken.as_ref().is_some_and(Taken::is_last) {
            // Its messages are in the queue, or will never come.
            peer.queue.end();
        }
        taken.map_or(std::ptr::null_mut(), |taken| Box::into_raw(Box::new(Event::new(taken))))
    })
}

/// See `linkup.h`.
///
/// # Safety
/// `peer` is null or of [`linkup_create`], and not freed; the others are null or texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn linkup_connect(peer: *mut LinkupPeer, id: *const c_char, public_key: *const c_char) -> u32 {
    let Some(peer) = (unsafe { peer.as_ref() }) else { return 0 };
    let (id, key) = (unsafe { text(id) }, unsafe { text(public_key) });
    let pinned = !public_key.is_null();
    peer.with(0, |peer| {
        let key = key.and_then(PublicKey::parse);
        let id = id.and_then(|id| PeerId::new(id).ok()).filter(|_| key.is_some() == pinned)?;
        Some(peer.connect_to(id, key).0)
    })
}

fn send(peer: &LinkupPeer, connection: u32, message: Message, token: u32) -> i32 {
    peer.with(-1, |peer| {
        let link = peer.link(ConnectionId(connection))?;
        Some(outcome(link.send_for(message, (token != 0).then_some(Token(token)))))
    })
}

/// See `linkup.h`.
///
/// # Safety
/// `peer` is null or of [`linkup_create`], and not freed; `json` is null or a text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn linkup_send(peer: *mut LinkupPeer, connection: u32, json: *const c_char, token: u32) -> i32 {
    let (Some(peer), json) = (unsafe { peer.as_ref() }, unsafe { text(json) }) else { return -1 };
    guarded(-5, || match json {
        Some(json) if serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok() => {
            send(peer, connection, Message::Text(json.to_owned()), token)
        }
        _ => -5,
    })
}

/// See `linkup.h`.
///
/// # Safety
/// `peer` is null or of [`linkup_create`], and not freed; at `data` there are `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn linkup_send_bytes(
    peer: *mut LinkupPeer,
    connection: u32,
    data: *const u8,
    length: usize,
    token: u32,
) -> i32 {
    let Some(peer) = (unsafe { peer.as_ref() }) else { return -1 };
    if data.is_null() && length > 0 {
        return -5;
    }
    let bytes = if length == 0 { &[] } else { unsafe { std::slice::from_raw_parts(data, length) } };
    guarded(-5, || send(peer, connection, Message::Binary(Bytes::copy_from_slice(bytes)), token))
}

/// See `linkup.h`.
///
/// # Safety
/// `peer` is null or of [`linkup_create`], and not freed; `id` is null or a text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn linkup_find(peer: *mut LinkupPeer, id: *const c_char) -> u32 {
    let (Some(peer), id) = (unsafe { peer.as_ref() }, unsafe { text(id) }) else { return 0 };
    peer.with(0, |peer| {
        let id = id.and_then(|id| PeerId::new(id).ok())?;
        let token = linkup_driver::next_id();
        peer.find(Token(token), id);
        Some(token)
    })
}

/// See `linkup.h`.
///
/// # Safety
/// `peer` is null or of [`linkup_create`], and not freed; `reason` is null or a text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn linkup_answer(peer: *mut LinkupPeer, connection: u32, reason: *const c_char) {
    let Some(peer) = (unsafe { peer.as_ref() }) else { return };
    let denied = !reason.is_null();
    // One that is no UTF-8 denies, too.
    let reason = unsafe { text(reason) }.unwrap_or_default();
    peer.with((), |peer| {
        let verdict = if denied { Err(Error::new(ErrorCode::Denied, reason)) } else { Ok(()) };
        peer.answer(ConnectionId(connection), verdict);
        None
    });
}

/// See `linkup.h`.
///
/// # Safety
/// `peer` is null or of [`linkup_create`], and not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn linkup_close(peer: *mut LinkupPeer, connection: u32) {
    if let Some(peer) = unsafe { peer.as_ref() } {
        peer.with((), |peer| {
            peer.close(ConnectionId(connection), None);
            None
        });
    }
}

/// See `linkup.h`.
///
/// # Safety
/// `peer` is null or of [`linkup_create`], and not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn linkup_close_peer(peer: *mut LinkupPeer) {
    if let Some(peer) = unsafe { peer.as_ref() } {
        peer.with((), |peer| {
            peer.close_peer();
            None
        });
    }
}

/// See `linkup.h`.
///
/// # Safety
/// `peer` is null or of [`linkup_create`], not freed, and used by nobody.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn linkup_free(peer: *mut LinkupPeer) {
    if !peer.is_null() {
        let peer = unsafe { Box::from_raw(peer) };
        guarded((), || {
            peer.queue.end();
            drop(peer);
        });
    }
}

/// See `linkup.h`.
///
/// # Safety
/// `event` is null or of [`linkup_next`], and not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn linkup_event_free(event: *mut Event) {
    if !event.is_null() {
        drop(unsafe { Box::from_raw(event) });
    }
}

/// See `linkup.h`.
///
/// # Safety
/// `text` is null or of [`linkup_create`], and not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn linkup_text_free(text: *mut c_char) {
    if !text.is_null() {
        drop(unsafe { CString::from_raw(text) });
    }
}
