//! A small world for `linkup_core::Peer`: virtual time, a seeded network, brokers that restart, transports that
//! connect once both descriptions and an address of each have been exchanged.
//!
//! [`World`] runs many peers and notes every broken rule; [`Solo`] holds one peer by the hand. Knows nothing of
//! sockets, and uses no clock but its own.

mod broker;
mod check;
mod happenings;
mod net;
mod solo;
mod transport;
mod world;

pub use check::Ledger;
pub use solo::Solo;
pub use world::{Act, Manners, NodeId, World};

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use linkup_core::{Config, Timeouts};
use linkup_proto::PeerId;
use linkup_proto::signal::Receive;

/// What every peer of the tests takes.
pub const RECEIVE: Receive = Receive { message: 64 << 20, window: 8 << 20, resume: true, relay: true };

/// A peer's configuration with every default, for the id given.
pub fn config(id: PeerId, seed: u64, ids: &Arc<AtomicU32>) -> Config {
    Config {
        secret: format!("secret of {id}"),
        id,
        token: None,
        brokers: 1,
        timeouts: Timeouts::default(),
        metadata: None,
        identity: None,
        login: None,
        verifies: false,
        receive: RECEIVE,
        ice_from_broker: false,
        trickle: true,
        asks: false,
        transforms: false,
        max_connections: 1024,
        seed,
        ids: ids.clone(),
    }
}
