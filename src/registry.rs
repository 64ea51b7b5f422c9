//! What the numbers mean that JavaScript holds: mailboxes, peers, connections.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use linkup_driver::core::ConnectionId;
use linkup_driver::{Link, Peer};

use crate::embedded::Lease;
use crate::mailbox::Mailbox;

/// A Peer and what lives as long as it.
pub struct PeerEntry {
    /// The Peer.
    pub peer: Peer,
    /// The mailbox that its events go to.
    pub mailbox: u32,
    /// Its share in the embedded broker, where it uses the default one.
    pub _lease: Option<Lease>,
}

#[derive(Default)]
struct Tables {
    mailboxes: HashMap<u32, Arc<Mailbox>>,
    peers: HashMap<u32, Arc<PeerEntry>>,
    /// The Peer of each connection.
    connections: HashMap<u32, Connection>,
}

struct Connection {
    peer: u32,
    /// Known from the first use on.
    link: Option<Arc<Link>>,
}

static TABLES: RwLock<Option<Tables>> = RwLock::new(None);

fn read() -> RwLockReadGuard<'static, Option<Tables>> {
    TABLES.read().unwrap_or_else(PoisonError::into_inner)
}

fn write() -> RwLockWriteGuard<'static, Option<Tables>> {
    TABLES.write().unwrap_or_else(PoisonError::into_inner)
}

fn with<T>(change: impl FnOnce(&mut Tables) -> T) -> T {
    change(write().get_or_insert_default())
}

/// Gives a mailbox its number.
pub fn add_mailbox(mailbox: Arc<Mailbox>) -> u32 {
    let handle = linkup_driver::next_id();
    with(|tables| tables.mailboxes.insert(handle, mailbox));
    handle
}

/// The mailbox with that number.
pub fn mailbox(handle: u32) -> Option<Arc<Mailbox>> {
    read().as_ref()?.mailboxes.get(&handle).cloned()
}

/// An environment ends: its mailbox and its peers go.
pub fn remove_mailbox(handle: u32) {
    let (mailbox, peers) = with(|tables| {
        let peers: Vec<_> = tables.peers.extract_if(|_, entry| entry.mailbox == handle).collect();
        tables.connections.retain(|_, connection| !peers.iter().any(|(peer, _)| *peer == connection.peer));
        (tables.mailboxes.remove(&handle), peers)
    });
    if let Some(mailbox) = mailbox {
        mailbox.close();
    }
    // Outside of the lock: a Peer that ends comes back here.
    drop(peers);
    crate::servers::remove_mailbox(handle);
}

/// Adds a Peer under its number.
pub fn add_peer(handle: u32, entry: PeerEntry) {
    with(|tables| tables.peers.insert(handle, Arc::new(entry)));
}

/// The Peer with that number.
pub fn peer(handle: u32) -> Option<Arc<PeerEntry>> {
    read().as_ref()?.peers.get(&handle).cloned()
}

/// A Peer is closed.
pub fn remove_peer(handle: u32) {
    let entry = with(|tables| {
        tables.connections.retain(|_, connection| connection.peer != handle);
        tables.peers.remove(&handle)
    });
    drop(entry);
}

/// A connection exists.
pub fn add_connection(connection: ConnectionId, peer: u32) {
    with(|tables| {
        tables.connections.entry(connection.0).or_insert(Connection { peer, link: None });
    });
}

/// A connection is over.
pub fn remove_connection(connection: ConnectionId) {
    let entry = with(|tables| tables.connections.remove(&connection.0));
    drop(entry);
}

/// The Peer of a connection.
pub fn connection_peer(connection: u32) -> Option<Arc<PeerEntry>> {
    let tables = read();
    let tables = tables.as_ref()?;
    tables.peers.get(&tables.connections.get(&connection)?.peer).cloned()
}

/// The data path of an open connection.
pub fn link(connection: u32) -> Option<Arc<Link>> {
    if let Some(link) = read().as_ref()?.connections.get(&connection)?.link.clone() {
        return Some(link);
    }
    let link = connection_peer(connection)?.peer.link(ConnectionId(connection))?;
    with(|tables| {
        if let Some(connection) = tables.connections.get_mut(&connection) {
            connection.link = Some(link.clone());
        }
    });
    Some(link)
}
