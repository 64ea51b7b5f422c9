//! What an application may rely on, checked event by event. Knows only what one peer says.

use std::collections::{BTreeMap, BTreeSet};

use linkup_core::{ConnectionId, Event};
use linkup_proto::PeerId;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Life {
    Asked,
    Requested,
    Open(PeerId),
    Over,
}

/// The life of every connection of one peer.
#[derive(Debug, Default)]
pub struct Ledger {
    lives: BTreeMap<ConnectionId, Life>,
    /// Connections that wait for another transport.
    interrupted: BTreeSet<ConnectionId>,
    closed: bool,
    /// Rules that were broken.
    pub broken: Vec<String>,
}

impl Ledger {
    /// The application asks for a connection.
    pub fn connect(&mut self, connection: ConnectionId) {
        if !self.closed {
            self.lives.insert(connection, Life::Asked);
        }
    }

    /// The application hears something.
    pub fn hear(&mut self, event: &Event) {
        if self.closed {
            self.broken.push(format!("after PeerClosed: {event:?}"));
        }
        match event {
            Event::Request { connection, .. } => self.step(*connection, event, |life| life.is_none(), Life::Requested),
            Event::Open { connection, remote, incoming, .. } => {
                let fits = |life: Option<&Life>| match life {
                    Some(Life::Asked) => !incoming,
                    None | Some(Life::Requested) => *incoming,
                    _ => false,
                };
                self.step(*connection, event, fits, Life::Open(remote.clone()));
            }
            Event::Joined { connection, existing } => {
                if !matches!(self.lives.get(existing), Some(Life::Open(_))) {
                    self.broken.push(format!("joined to what is not open: {event:?}"));
                }
                self.step(*connection, event, |life| life == Some(&Life::Asked), Life::Over);
            }
            Event::Reconnecting { connection } => {
                let news = self.is_open(*connection) && self.interrupted.insert(*connection);
                self.demand(news, event, "of what is not open, or was said before");
            }
            Event::Reconnected { connection } => {
                let news = self.is_open(*connection) && self.interrupted.remove(connection);
                self.demand(news, event, "of what was not interrupted");
            }
            Event::Closed { connection, .. } => {
                self.interrupted.remove(connection);
                let fits = |life: Option<&Life>| matches!(life, Some(Life::Asked | Life::Open(_)));
                self.step(*connection, event, fits, Life::Over);
            }
            Event::PeerClosed { .. } => {
                for (connection, life) in &self.lives {
                    if matches!(life, Life::Asked | Life::Open(_)) {
                        self.broken.push(format!("{connection:?} is left {life:?} by PeerClosed"));
                    }
                }
                self.closed = true;
            }
            _ => {}
        }
    }

    fn demand(&mut self, holds: bool, event: &Event, otherwise: &str) {
        if !holds {
            self.broken.push(format!("{event:?} {otherwise}"));
        }
    }

    fn step(&mut self, connection: ConnectionId, event: &Event, fits: impl Fn(Option<&Life>) -> bool, next: Life) {
        let life = self.lives.get(&connection);
        if !fits(life) {
            self.broken.push(format!("{event:?} while {life:?}"));
        }
        self.lives.insert(connection, next);
    }

    /// Whether the connection is open.
    pub fn is_open(&self, connection: ConnectionId) -> bool {
        matches!(self.lives.get(&connection), Some(Life::Open(_)))
    }

    /// The open connections, with their remotes.
    pub fn open(&self) -> impl Iterator<Item = (ConnectionId, &PeerId)> {
        self.lives.iter().filter_map(|(connection, life)| match life {
            Life::Open(remote) => Some((*connection, remote)),
            _ => None,
        })
    }

    /// Connections that were asked for and never answered.
    pub fn unanswered(&self) -> Vec<ConnectionId> {
        self.lives.iter().filter(|(_, life)| **life == Life::Asked).map(|(connection, _)| *connection).collect()
    }

    /// Connections that are open and wait for another transport.
    pub fn interrupted(&self) -> impl Iterator<Item = ConnectionId> {
        self.interrupted.iter().copied()
    }

    /// Whether the peer has said that it is closed.
    pub fn is_closed(&self) -> bool {
        self.closed
    }
}
