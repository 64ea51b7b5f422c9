//! STUN and TURN (RFC 8489, RFC 8656) beside the broker: where a client is to the outside, and a relay for those who
//! cannot reach each other. UDP, TCP and TLS, all on one port.
//!
//! From the inside out, without IO: `message` is what STUN says, `credentials` who may relay, `policy` whereto, `quota`
//! how much, `allocation` the state of one client, `request` what its requests do, `framing` frames on a stream. With
//! IO: `relay` is one allocation with its socket, `server` what all share, `udp` and `stream` the clients' side.
//!
//! A client without an allocation has no state here: nonces prove themselves, passwords follow from usernames. So
//! nobody can fill a table from forged addresses. What there is has its bound in [`TurnOptions`].
//!
//! Not spoken: TCP relaying (RFC 6062), reserved ports, DONT-FRAGMENT, two families in one allocation, usernames as
//! hashes (a hash does not tell when it expires), SHA-256 (the nonce does not offer it; browsers do not ask).

mod allocation;
pub(crate) mod credentials;
mod framing;
#[doc(hidden)]
pub mod fuzzing;
mod message;
mod options;
mod policy;
mod quota;
mod relay;
mod request;
mod server;
mod stream;
mod udp;

pub use credentials::Secret;
pub(crate) use credentials::random;
pub use options::{DEFAULT_TURN_PORT, TurnOptions};
pub use policy::Cidr;
pub(crate) use server::Turn;
pub use server::TurnStats;
