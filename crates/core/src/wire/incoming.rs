//! From frames to messages: what came, and what the remote is to hear of it. All of it may be hostile.

use std::time::{Duration, Instant};

use bytes::Bytes;
use linkup_proto::frame::{self, ACK_EVERY, ACKS_PER_WINDOW, Frame, MAX_PAYLOAD};
use linkup_proto::{Error, ErrorCode};

use super::budget::Share;
use super::{Budget, Message, cost};

/// How long something stays unconfirmed when no more comes.
const ACK_AFTER: Duration = Duration::from_millis(100);

/// A message that began and has room goes on within this time: its sender has all of it, and takes 64 KiB a time.
const STALLED: Duration = Duration::from_secs(30);

/// How often it is looked whether there is room for a message that waits for it.
const LOOK_FOR_ROOM: Duration = Duration::from_millis(50);

/// What a frame of the remote means.
#[derive(Debug)]
pub enum Arrival {
    /// A message is there. Its receipt goes back with [`Incoming::handed`] when the application has it.
    Message(Message, Receipt),
    /// Several messages are there, each with its receipt.
    Bundle(Vec<(Message, Receipt)>),
    /// Some bytes of a message are there: how many, and how many it will have.
    Part(u32, u32),
    /// A frame of a stream, as it came.
    Stream(Bytes),
    /// The remote confirms: for the ledger.
    Ack {
        /// Data frames received.
        received: u64,
        /// Cost of messages handed over.
        handed: u64,
    },
    /// Nothing to be done, but look at [`Incoming::poll_ack`].
    Ping,
    /// The remote has sent its last data frame.
    Fin,
    /// The remote's application has got everything of ours.
    FinAck,
}

/// What a message took, until the application has it.
#[derive(Debug, Default)]
#[must_use]
pub struct Receipt {
    cost: u64,
    /// It was put together, of so many bytes.
    assembled: Option<u32>,
    _share: Option<Share>,
}

impl Receipt {
    /// For a message that came in pieces: its bytes.
    pub fn assembled(&self) -> Option<u32> {
        self.assembled
    }
}

#[derive(Debug)]
struct Assembly {
    binary: bool,
    total: u32,
    bytes: Vec<u8>,
    /// Room for the whole message. Without it the pieces keep what they cost.
    share: Option<Share>,
    cost: u64,
    last_piece: Instant,
}

/// One direction of a connection, as its receiver sees it.
#[derive(Debug)]
pub struct Incoming {
    window: u64,
    /// Bytes of the largest message that is taken.
    message_bytes: usize,
    budget: Budget,
    /// Data frames.
    received: u64,
    /// Cost of message frames.
    spent: u64,
    handed: u64,
    /// `received` and `handed` as the remote knows them.
    acknowledged: (u64, u64),
    ack_at: Option<Instant>,
    /// A PING came when messages of that cost had come: another ACK when they are handed over.
    ping: Option<u64>,
    assembly: Option<Assembly>,
    /// A message that was put together is on its way to the application: the next one has to wait for its room.
    assembled: bool,
    look_at: Option<Instant>,
    finished: bool,
    /// It went on over another transport: an end may come twice.
    resumed: bool,
}

impl Incoming {
    /// A direction that begins. `window`: what we announced.
    pub fn new(window: u64, message_bytes: usize, budget: Budget) -> Self {
        Self {
            window,
            message_bytes,
            budget,
            received: 0,
            spent: 0,
            handed: 0,
            acknowledged: (0, 0),
            ack_at: None,
            ping: None,
            assembly: None,
            assembled: false,
            look_at: None,
            finished: false,
            resumed: false,
        }
    }

    /// A text frame came.
    ///
    /// # Errors
    /// [`ErrorCode::Protocol`], as for every function here that says so: the remote breaks the rules.
    pub fn handle_text(&mut self, now: Instant, text: String) -> Result<Arrival, Error> {
        if self.assembly.is_some() {
            return Err(wrong("a message inside of another"));
        }
        self.check_size(text.len())?;
        let cost = self.message_frame(now, text.len())?;
        Ok(Arrival::Message(Message::Text(text), Receipt { cost, ..Receipt::default() }))
    }

    /// A binary frame came.
    ///
    /// # Errors
    /// Where the remote breaks the rules.
    pub fn handle_frame(&mut self, now: Instant, data: Bytes) -> Result<Arrival, Error> {
        match Frame::decode(&data)? {
            Frame::Ack { received, handed } => Ok(Arrival::Ack { received, handed }),
            Frame::Ping => {
                self.ack_at = Some(now);
                self.ping = (self.handed < self.spent).then_some(self.spent);
                Ok(Arrival::Ping)
            }
            Frame::Fin => {
                if self.finished && !self.resumed || self.assembly.is_some() {
                    return Err(wrong("an end that is none"));
                }
                self.finished = true;
                Ok(Arrival::Fin)
            }
            Frame::FinAck => Ok(Arrival::FinAck),
            Frame::Stream { .. } => {
                self.data_frame(now)?;
                Ok(Arrival::Stream(data))
            }
            Frame::Binary(_) if self.assembly.is_some() => Err(wrong("a message inside of another")),
            Frame::Binary(bytes) => {
                self.check_size(bytes.len())?;
                let cost = self.message_frame(now, bytes.len())?;
                let message = Message::Binary(data.slice_ref(bytes));
                Ok(Arrival::Message(message, Receipt { cost, ..Receipt::default() }))
            }
            Frame::Bundle(_) if self.assembly.is_some() => Err(wrong("messages inside of another")),
            Frame::Bundle(rest) => self.bundle(now, rest).map(Arrival::Bundle),
            Frame::Begin { .. } if self.assembly.is_some() => Err(wrong("a message inside of another")),
            Frame::Begin { binary, total, bytes } => {
                self.check_size(total as usize)?;
                let cost = self.message_frame(now, bytes.len())?;
                let assembly = Assembly { binary, total, bytes: Vec::new(), share: None, cost: 0, last_piece: now };
                self.piece(now, assembly, bytes, cost)
            }
            Frame::More(bytes) => {
                let assembly = self.assembly.take().ok_or_else(|| wrong("a piece of no message"))?;
                let cost = self.message_frame(now, bytes.len())?;
                self.piece(now, assembly, bytes, cost)
            }
        }
    }

    /// There is another transport. The first thing that the remote hears over it is the ACK that is returned.
    pub fn resume(&mut self, now: Instant) -> Frame<'static> {
        self.resumed = true;
        if let Some(assembly) = &mut self.assembly {
            assembly.last_piece = now;
        }
        self.ack()
    }

    fn bundle(&mut self, now: Instant, rest: &[u8]) -> Result<Vec<(Message, Receipt)>, Error> {
        let mut messages = Vec::new();
        let mut costs = 0;
        for message in frame::unbundle(rest) {
            let (binary, bytes) = message?;
            self.check_size(bytes.len())?;
            let message = if binary {
                Message::Binary(Bytes::copy_from_slice(bytes))
            } else {
                Message::Text(str::from_utf8(bytes).map_err(|_| wrong("a text that is not UTF-8"))?.to_owned())
            };
            let cost = cost(bytes.len());
            costs += cost;
            messages.push((message, Receipt { cost, ..Receipt::default() }));
        }
        self.spend(now, costs)?;
        Ok(messages)
    }

    fn piece(&mut self, now: Instant, mut assembly: Assembly, bytes: &[u8], cost: u64) -> Result<Arrival, Error> {
        let total = assembly.total as usize;
        let missing = total.saturating_sub(assembly.bytes.len());
        if bytes.len() > missing {
            return Err(wrong("more than it had announced"));
        }
        if assembly.bytes.capacity() - assembly.bytes.len() < bytes.len() {
            // As it fills: what was only announced takes no memory.
            assembly.bytes.reserve_exact(missing.min(assembly.bytes.len().max(1 << 20)));
        }
        assembly.bytes.extend_from_slice(bytes);
        assembly.cost += cost;
        assembly.last_piece = now;
        let done = assembly.bytes.len();
        if done < total {
            self.assembly = Some(assembly);
            self.make_room(now);
            return Ok(Arrival::Part(
                u32::try_from(done).unwrap_or(u32::MAX),
                u32::try_from(total).unwrap_or(u32::MAX),
            ));
        }
        self.look_at = None;
        self.assembled = true;
        let message = if assembly.binary {
            Message::Binary(assembly.bytes.into())
        } else {
            Message::Text(String::from_utf8(assembly.bytes).map_err(|_| wrong("a text that is not UTF-8"))?)
        };
        Ok(Arrival::Message(
            message,
            Receipt { cost: assembly.cost, assembled: Some(assembly.total), _share: assembly.share },
        ))
    }

    /// Looks for room for the message that is being put together; with it, what has come costs nothing any more.
    fn make_room(&mut self, now: Instant) {
        let Some(assembly) = &mut self.assembly else { return };
        if assembly.share.is_none() && !self.assembled {
            assembly.share = self.budget.take(assembly.total as usize);
        }
        if assembly.share.is_some() {
            self.look_at = None;
            let cost = std::mem::take(&mut assembly.cost);
            self.credit(now, cost);
        } else {
            self.look_at = now.checked_add(LOOK_FOR_ROOM);
        }
    }

    /// The application has a message.
    pub fn handed(&mut self, now: Instant, message: &Receipt) {
        if message.assembled.is_some() {
            self.assembled = false;
        }
        self.credit(now, message.cost);
        if let Some(assembly) = &mut self.assembly {
            // It may be that only now its sender has leave to go on.
            assembly.last_piece = now;
            self.make_room(now);
        }
    }

    fn credit(&mut self, now: Instant, cost: u64) {
        self.handed += cost;
        if self.ping.is_some_and(|spent| self.handed >= spent) {
            self.ping = None;
            self.ack_at = Some(now);
        }
        self.acknowledge_soon(now);
    }

    fn acknowledge_soon(&mut self, now: Instant) {
        let (received, handed) = self.acknowledged;
        if self.received - received >= ACK_EVERY || self.handed - handed >= self.window / ACKS_PER_WINDOW {
            self.ack_at = Some(now);
        } else if self.ack_at.is_none() {
            self.ack_at = now.checked_add(ACK_AFTER);
        }
    }

    /// The ACK that is due, if one is.
    pub fn poll_ack(&mut self, now: Instant) -> Option<Frame<'static>> {
        if self.ack_at? > now {
            return None;
        }
        Some(self.ack())
    }

    /// An ACK of everything so far.
    pub fn ack(&mut self) -> Frame<'static> {
        self.ack_at = None;
        self.acknowledged = (self.received, self.handed);
        Frame::Ack { received: self.received, handed: self.handed }
    }

    /// When something is due without a frame of the remote: then [`Incoming::handle_timeout`], [`Incoming::poll_ack`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.ack_at, self.look_at, self.stalled_at()].into_iter().flatten().min()
    }

    /// When the message that comes in pieces has stalled: where it has its room, and its sender leave to go on.
    fn stalled_at(&self) -> Option<Instant> {
        let assembly = self.assembly.as_ref().filter(|assembly| assembly.share.is_some())?;
        let leave = self.spent - self.handed + cost(MAX_PAYLOAD) <= self.window;
        assembly.last_piece.checked_add(STALLED).filter(|_| leave)
    }

    /// Time has passed.
    ///
    /// # Errors
    /// Where a message began and does not go on.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if self.look_at.is_some_and(|at| at <= now) {
            self.make_room(now);
        }
        if self.stalled_at().is_some_and(|at| at <= now) {
            return Err(wrong("the beginning of a message and nothing more of it"));
        }
        Ok(())
    }

    fn check_size(&self, bytes: usize) -> Result<(), Error> {
        let limit = self.message_bytes;
        if bytes <= limit {
            return Ok(());
        }
        Err(wrong(&format!("a message of {bytes} bytes, the limit is {limit}")))
    }

    fn data_frame(&mut self, now: Instant) -> Result<(), Error> {
        if self.finished {
            return Err(wrong("something after its end"));
        }
        self.received += 1;
        self.acknowledge_soon(now);
        Ok(())
    }

    fn message_frame(&mut self, now: Instant, payload: usize) -> Result<u64, Error> {
        let cost = cost(payload);
        self.spend(now, cost)?;
        Ok(cost)
    }

    fn spend(&mut self, now: Instant, cost: u64) -> Result<(), Error> {
        let outstanding = self.spent - self.handed;
        if outstanding > 0 && outstanding + cost > self.window {
            return Err(wrong("more than it may without our leave"));
        }
        self.data_frame(now)?;
        self.spent += cost;
        Ok(())
    }
}

fn wrong(what: &str) -> Error {
    Error::new(ErrorCode::Protocol, format!("the remote sent {what}"))
}
