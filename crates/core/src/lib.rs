//! What a linkup Peer and its Connections are, without sockets, clocks or threads.
//!
//! [`Peer`] is a machine: feed it what happens (`handle_*`), do what it says (`poll_output` until `None`), and
//! call `handle_timeout` when `poll_timeout` is due. **The one rule: after every `handle_*`, drain
//! `poll_output`, then read `poll_timeout` again.**
//!
//! It knows `linkup-proto` and nothing else: not tokio, not webrtc, not the time.
//!
//! | room | rule |
//! |---|---|
//! | `peer` | dispatch, and the books of links |
//! | `registration` | the session with the broker |
//! | `finds` | questions to the broker |
//! | `ice` | the broker's STUN and TURN servers |
//! | `attempt` | calling, and what both sides of an attempt share |
//! | `signaling` | what remote peers say |
//! | `glare` | which of two calls counts |
//! | `closing` | open connections, and every end |
//! | `relay` | connections over the broker, where there is no other way |
//! | `resume` | a connection that loses its transport, and gets another |
//! | `answered` | offers that come twice |
//! | `identity` | who says a signal |
//! | `wire` | an open channel: frames, credit, confirmation |
//! | `link`, `io` | their data; outputs, timers, dice |

mod answered;
mod api;
mod attempt;
mod closing;
mod finds;
mod glare;
#[cfg(test)]
mod hostile;
mod ice;
mod identity;
mod io;
mod link;
mod peer;
mod registration;
mod relay;
mod resume;
mod signaling;
pub mod wire;

pub use api::*;
pub use identity::Identity;
pub use peer::Peer;
