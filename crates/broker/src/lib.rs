//! The linkup broker: it introduces peers to each other by their ids, and then has no more to do with them.
//!
//! Peers talk JSON over a WebSocket; the shapes are in [`linkup_proto::broker`]. Everything is in the memory of
//! one process: an id is registered as long as its socket lives, and nothing is written anywhere. With
//! [`Options::redis`] several processes are one broker.
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! use linkup_broker::{Broker, Options};
//!
//! let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
//! let listeners = Broker::listen(Some("localhost"), 0)?;
//! let broker = Broker::start(listeners, Options::default(), runtime.handle())?;
//! println!("peers connect to ws://{}", broker.addresses()[0]);
//! runtime.block_on(broker.close());
//! # Ok(())
//! # }
//! ```
//!
//! With [`Options::turn`] it is also their STUN and TURN server.
//!
//! From the inside out: `registry` knows who has which id, `outbox` what waits to be sent to one socket, `turn` is that
//! server, `ice` says who is told of it, `cluster` what there is to do where there are other brokers, `auth` who may have
//! which id, `limits` how much a client may ask for, `metrics` what was done, `router` what each message does, `session`
//! one WebSocket, `farewell` its last words,
//! `admission`, `http`, `proxies`, `stream` and `tls` what comes before it, `files` what is beside it, [`Broker`] all of
//! them, `drain` its end.

mod admission;
mod auth;
pub mod cli;
mod cluster;
mod drain;
mod farewell;
mod files;
mod http;
mod ice;
mod limits;
mod listen;
mod metrics;
mod options;
mod origin;
mod outbox;
mod proxies;
mod registry;
mod router;
mod server;
mod session;
mod stream;
mod tls;
mod turn;

pub use auth::{Auth, AuthRequest, Authorize, Decision};
pub use cluster::RedisOptions;
pub use limits::Limits;
pub use options::Options;
pub use origin::Origin;
pub use server::Broker;
#[doc(hidden)]
pub use turn::fuzzing as turn_fuzzing;
pub use turn::{Cidr, DEFAULT_TURN_PORT, Secret, TurnOptions, TurnStats};
