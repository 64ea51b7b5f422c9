#![doc = include_str!("../README.md")]
//!
//! # What there is
//!
//! A [`Peer`] has an id and stays registered with a broker. [`Peer::connect`] calls another one, [`Peer::accept`] waits for
//! those who call. A [`Connection`] carries messages in both directions, whole and in order, each once, also where the network
//! changes or is gone for a while:
//!
//! ```
//! use linkup_peer::{Message, Peer};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let listeners = linkup_broker::Broker::listen(Some("localhost"), 0)?;
//! # let broker = linkup_broker::Broker::start(listeners, Default::default(), &tokio::runtime::Handle::current())?;
//! # let url = &format!("ws://{}", broker.addresses()[0]);
//! let bob = Peer::builder("bob")?.broker(url).start();
//! bob.registered().await?;
//!
//! let alice = Peer::builder("alice")?.broker(url).start();
//! alice.send("bob", "hi bob!").await?;
//!
//! let connection = bob.accept().await.ok_or("closed")?;
//! assert_eq!(connection.id(), "alice");
//! assert_eq!(connection.recv().await?, Some(Message::from("hi bob!")));
//!
//! alice.close().await?; // delivers, then says good-bye
//! assert_eq!(connection.recv().await?, None);
//! # Ok(())
//! # }
//! ```
//!
//! # Flow
//!
//! [`Connection::send`] waits while the other side reads slower than this one sends, and a connection that nobody reads from
//! slows down its sender: neither side keeps more than it was told.
//!
//! # Cancelling
//!
//! A future of [`Peer::connect`] that is dropped gives the attempt up, unless the connection is open already; [`Connection::recv`] loses nothing when it is dropped.
//!
//! # What it does not have
//!
//! Streams of bytes beside the messages: the other side's `createStream` is refused. Logins (OpenID Connect): keys only.

mod builder;
mod connection;
mod hub;
mod message;
mod peer;

pub use builder::{Builder, IceServer, Request};
pub use connection::Connection;
pub use linkup_proto::{Error, ErrorCode, PublicKey};
pub use message::Message;
pub use peer::{Peer, State};
