//! What carries the frames of a session: a peer connection, or the broker. Knows both, and no rule.

use std::time::{Duration, Instant};

use linkup_core::wire::Message;
use linkup_proto::{Error, ErrorCode};
use rtc::data_channel::{RTCDataChannelId, RTCDataChannelMessage};
use rtc::shared::error::Result as RtcResult;
use serde_json::Value;

use super::pc::{Pc, Signal};
use super::relay::{self, Relay};
use crate::link::Path;

/// What SCTP takes before it has an acknowledgement: a little more than one window, so that it never waits for us.
const SCTP_LIMIT: usize = 2 << 20;

/// See the module. The methods are those of [`Pc`].
pub(super) enum Carrier {
    Pc(Box<Pc>),
    Relay(Box<Relay>),
}

impl Carrier {
    pub(super) async fn next(&mut self) -> Signal {
        match self {
            Self::Pc(pc) => pc.next().await,
            Self::Relay(relay) => relay.next().await,
        }
    }

    pub(super) fn read(&mut self) -> Option<(RTCDataChannelId, RTCDataChannelMessage)> {
        match self {
            Self::Pc(pc) => pc.read(),
            Self::Relay(relay) => relay.read().map(|message| (0, message)),
        }
    }

    pub(super) fn send(&mut self, channel: RTCDataChannelId, body: Message) -> RtcResult<()> {
        match self {
            Self::Pc(pc) => pc.send(channel, body),
            Self::Relay(relay) => {
                relay.send(&body);
                Ok(())
            }
        }
    }

    pub(super) fn outstanding(&mut self, channel: RTCDataChannelId) -> Option<usize> {
        match self {
            Self::Pc(pc) => pc.outstanding(channel),
            Self::Relay(relay) => Some(relay.outstanding()),
        }
    }

    /// Bytes that it takes before the remote has some of them.
    pub(super) fn limit(&self) -> usize {
        match self {
            Self::Pc(_) => SCTP_LIMIT,
            Self::Relay(_) => relay::WINDOW,
        }
    }

    /// A packet has come over the broker.
    pub(super) fn relayed(&mut self, data: &str) -> Result<(), Error> {
        match self {
            Self::Relay(relay) => relay.relayed(data),
            Self::Pc(_) => Err(Error::new(ErrorCode::Protocol, "a packet came over the broker for a direct way")),
        }
    }

    pub(super) fn set_alarm(&mut self, at: Option<Instant>) {
        match self {
            Self::Pc(pc) => pc.set_alarm(at),
            Self::Relay(relay) => relay.set_alarm(at),
        }
    }

    pub(super) fn watch(&mut self, idle: Duration) {
        match self {
            Self::Pc(pc) => pc.watch(idle),
            Self::Relay(relay) => relay.watch(idle),
        }
    }

    pub(super) fn set_asked(&mut self, asked: bool) {
        match self {
            Self::Pc(pc) => pc.set_asked(asked),
            Self::Relay(relay) => relay.set_asked(asked),
        }
    }

    pub(super) fn close_channel(&mut self, channel: RTCDataChannelId) {
        if let Self::Pc(pc) = self {
            pc.close_channel(channel);
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        match self {
            Self::Pc(pc) => pc.is_connected(),
            Self::Relay(_) => true,
        }
    }

    pub(super) fn path(&mut self) -> Path {
        match self {
            Self::Pc(pc) => pc.path(),
            Self::Relay(_) => Path::Broker,
        }
    }

    pub(super) fn stats(&mut self) -> Value {
        match self {
            Self::Pc(pc) => pc.stats(),
            Self::Relay(relay) => relay.stats(),
        }
    }

    pub(super) async fn close(self) {
        if let Self::Pc(pc) = self {
            pc.close().await;
        }
    }

    pub(super) async fn release(self) {
        if let Self::Pc(pc) = self {
            pc.release().await;
        }
    }
}
