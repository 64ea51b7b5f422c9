//! A broker without sockets: who is registered where, and what follows from a frame. Knows nothing of time.

use std::collections::{BTreeMap, HashMap};

use linkup_proto::broker::{Frame, Request, Response, Signal};
use linkup_proto::{Error, ErrorCode, PeerId};
use serde_json::{Value, json};

/// A socket's name: unique in the world.
pub(crate) type Socket = u64;

#[derive(Default)]
pub(crate) struct FakeBroker {
    pub(crate) down: bool,
    /// Takes sockets and says nothing.
    pub(crate) mute: bool,
    /// Refuses everybody.
    pub(crate) refuses: Option<Error>,
    sockets: BTreeMap<Socket, Option<PeerId>>,
    owners: HashMap<PeerId, (Socket, Option<String>)>,
}

impl FakeBroker {
    pub(crate) fn open(&mut self, socket: Socket) {
        self.sockets.insert(socket, None);
    }

    pub(crate) fn is_open(&self, socket: Socket) -> bool {
        self.sockets.contains_key(&socket)
    }

    pub(crate) fn close(&mut self, socket: Socket) {
        if let Some(Some(id)) = self.sockets.remove(&socket)
            && self.owners.get(&id).is_some_and(|(owner, _)| *owner == socket)
        {
            self.owners.remove(&id);
        }
    }

    /// Forgets everything; says whose sockets broke.
    pub(crate) fn crash(&mut self) -> Vec<Socket> {
        self.owners.clear();
        std::mem::take(&mut self.sockets).into_keys().collect()
    }

    /// What goes out, to whom, after a frame came in.
    pub(crate) fn handle(&mut self, socket: Socket, text: &str) -> Vec<(Socket, String)> {
        if self.mute || !self.is_open(socket) {
            return Vec::new();
        }
        let Frame { id, request } = match Frame::parse(text) {
            Ok(frame) => frame,
            Err(bad) => return vec![(socket, Response::error(bad.id, bad.error).to_text())],
        };
        let answer = match request {
            Request::Ping => Ok("pong".into()),
            Request::Find { id } if self.owners.contains_key(&id) => Ok(id.as_str().into()),
            Request::Find { .. } => Ok(Value::Null),
            Request::Register { id, secret, .. } => self.register(socket, id, secret),
            Request::Unregister => {
                self.close(socket);
                self.open(socket);
                Ok(Value::Null)
            }
            // As one that does not know the question, now and then.
            Request::Ice if socket.is_multiple_of(3) => Err(Error::new(ErrorCode::Unsupported, "what?")),
            Request::Ice => Ok(json!({"iceServers": [{"urls": ["stun:stun.example"]}], "ttl": 20, "relay": 65536})),
            Request::Signal(signal) => return self.pass_on(socket, signal),
        };
        let response = match answer {
            Ok(message) => Response::ok(id, message),
            Err(error) => Response::error(id, error),
        };
        vec![(socket, response.to_text())]
    }

    fn register(&mut self, socket: Socket, id: PeerId, secret: Option<String>) -> Result<Value, Error> {
        if let Some(error) = &self.refuses {
            return Err(error.clone());
        }
        if self.owners.get(&id).is_some_and(|(_, owner)| *owner != secret) {
            return Err(Error::new(ErrorCode::IdTaken, "the id belongs to somebody else"));
        }
        self.owners.insert(id.clone(), (socket, secret));
        self.sockets.insert(socket, Some(id.clone()));
        Ok(id.as_str().into())
    }

    fn pass_on(&mut self, socket: Socket, signal: Signal) -> Vec<(Socket, String)> {
        let Some(Some(from)) = self.sockets.get(&socket) else { return Vec::new() };
        let Some((receiver, _)) = self.owners.get(&signal.to) else { return Vec::new() };
        vec![(*receiver, Signal { from: Some(from.clone()), ..signal }.to_text())]
    }
}
