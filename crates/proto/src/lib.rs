//! What goes over the wires of linkup: ids, signals, broker messages, error codes and limits.
//!
//! Pure: no socket, no clock, no state. Everything that arrives from outside is parsed here, by functions
//! that return an error and never panic; the fuzz targets call the same functions.

pub mod broker;
mod error;
pub mod frame;
mod id;
pub mod key;
pub mod limits;
pub mod signal;

pub use error::{Error, ErrorCode};
pub use id::{InvalidId, PeerId};
pub use key::PublicKey;
