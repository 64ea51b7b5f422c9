//! Runs linkup's machine ([`linkup_core::Peer`]) over tokio, the broker's WebSocket and webrtc-rs.
//!
//! ```text
//!   Peer (handle) --commands--> actor --+-- broker_socket   the WebSocket
//!   Sink <-----------events----- |      +-- transport       a peer connection each, in tasks of its own
//!   Link (handle) --messages-----|--------> transport --messages--> Sink
//! ```
//!
//! Starts no thread: everything runs as tasks of the runtime that [`Peer::start`] is given.

mod actor;
mod addresses;
mod broker_socket;
mod json;
mod link;
mod mdns;
mod options;
mod peer;
mod runner;
mod socket;
mod stats;
mod transport;

pub use link::{Link, SendError, Sent, outcome};
/// The machine's own words: events, ids, timeouts.
pub use linkup_core as core;
pub use linkup_core::wire::Message;
pub use options::{ChannelOptions, Direction, IceServer, Keeper, Limits, Options, Sink};
pub use peer::{Peer, next_id};
