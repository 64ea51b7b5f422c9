//! A peer connection: webrtc-rs' sans-IO core (`rtc`) with sockets, a clock and our way of finding addresses.
//!
//! Whoever owns it polls it, and nothing happens otherwise. Its methods only change the core: what they make it say goes
//! out at the next [`Pc::poll`].

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use linkup_core::wire::Message;
use linkup_proto::limits::MAX_FRAME_BYTES;
use linkup_proto::signal::Candidate;
use rtc::data_channel::{RTCDataChannelId, RTCDataChannelInit, RTCDataChannelMessage};
use rtc::ice::mdns::MulticastDnsMode;
use rtc::peer_connection::configuration::setting_engine::{SctpMaxMessageSize, SettingEngine, SettingEngineBuilder};
use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::{RTCIceConnectionState, RTCIceGatheringState, RTCPeerConnectionState};
use rtc::peer_connection::transport::{
    RTCDtlsTransportState, RTCIceCandidate, RTCIceCandidateInit, RTCSctpTransportState,
};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::sansio::Protocol;
use rtc::shared::error::{Error, Result};
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Sleep;

use super::gather::{Found, Gatherer, Late};
use super::watch::{News, Watch};
use crate::addresses::local_addresses;
use crate::link::Path;
use crate::options::{ChannelOptions, IceServer, Options};
use crate::runner::is_here;
use crate::socket::{self, Datagram, Sockets};
use crate::{mdns, stats};

/// Between two checks of a pair of addresses. It only matters where packets are lost or come before the other side
/// is ready; whatever arrives makes the next step happen at once.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// Checks of one pair: ten seconds' worth. A remote may need that long to hear of our addresses.
const CHECKS: u16 = 200;

/// A relayed path is taken only where no other has worked by then: the address that a router gives is known after a round
/// trip to the STUN server, told to the remote after another half, and proven after one and a half between the two.
const RELAY_WAIT: Duration = Duration::from_millis(600);

/// Keeps address mappings in routers alive and tells that the remote is.
const KEEPALIVE: Duration = Duration::from_secs(2);

/// Timers of the protocols are no finer. One that stays due in spite of its being handled must not spin.
const TICK: Duration = Duration::from_millis(1);

/// Packets of streams, and news of tasks, that may wait for us.
const LATE: usize = 256;

/// Packets that come too early and are kept: see [`Early`].
const EARLY: usize = 16;

/// How long the last words may wait for the kernel.
const FLUSH: Duration = Duration::from_secs(1);

/// What a peer connection says.
pub(super) enum Signal {
    /// An address of ours.
    Candidate(RTCIceCandidateInit),
    GatheringComplete,
    IceConnected,
    /// The pair of addresses that worked does so no more.
    IceLost,
    Failed,
    /// Whether the remote is heard.
    News(News),
    /// The way may have changed: see [`Pc::path`].
    Path,
    /// The core cannot go on: its handshake failed, for example.
    Broken(String),
    /// A channel is open.
    Opened(RTCDataChannelId),
    /// A channel is closed. Messages that came before may still be there.
    Closed(RTCDataChannelId),
    /// Something came, was acknowledged, or is due: look at what there is to read and to send.
    Turn,
}

/// See the module. Must be made and used inside a runtime.
pub(super) struct Pc {
    /// On the heap: large, and moved with us otherwise.
    core: Box<RTCPeerConnection>,
    sockets: Sockets,
    gatherer: Gatherer,
    late: mpsc::Receiver<Late>,
    news: mpsc::Sender<Late>,
    out: VecDeque<TaggedBytesMut>,
    signals: VecDeque<Signal>,
    timer: Pin<Box<Sleep>>,
    alarm: Option<Instant>,
    /// Nothing is due before.
    rests: Instant,
    early: Early,
    /// Something has come that ICE and DTLS look at only when they are due, which may be 200 ms later. On the data path
    /// the same would cost CPU for nothing.
    hurries: bool,
    connected: bool,
    /// Has an eye on whether the remote is heard.
    watch: Option<Watch>,
    /// A channel of ours that is used as soon as its name is under way, because what is sent then stays behind that (RFC
    /// 8832, section 6): the core waits a round trip for the remote's word.
    opening: Option<RTCDataChannelId>,
}

impl Datagram for TaggedBytesMut {
    fn route(&self) -> (SocketAddr, SocketAddr) {
        (self.transport.local_addr, self.transport.peer_addr)
    }

    fn bytes(&self) -> &[u8] {
        &self.message
    }
}

fn settings(idle: Duration, relay_only: bool) -> SettingEngine {
    let at_once = Some(Duration::ZERO);
    SettingEngineBuilder::new()
        .with_ice_connection_attempts(Some(CHECK_INTERVAL), Some(CHECKS))
        // The defaults wait a second for something better than a path through a router's new mapping.
        .with_host_acceptance_min_wait(at_once)
        .with_prflx_acceptance_min_wait(at_once)
        .with_srflx_acceptance_min_wait(at_once)
        .with_relay_acceptance_min_wait(if relay_only { at_once } else { Some(RELAY_WAIT) })
        // Silence is noticed after the sum of the first two, and a little.
        .with_ice_timeouts(Some(idle.mul_f32(0.4)), Some(idle.mul_f32(0.5)), Some(KEEPALIVE.min(idle / 5)))
        .with_include_loopback_candidate(true)
        // Asking the local network for `.local` names takes a multicast socket for each connection.
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_sctp_max_message_size(SctpMaxMessageSize::Bounded(MAX_FRAME_BYTES as u32))
        .with_sctp_max_receive_buffer_size(socket::receive_window())
        .build()
}

/// A DTLS record of a handshake begins with that.
const HANDSHAKE: u8 = 22;

/// Whether the remote is at that address: ICE knows it by its description or its checks, which are authentic. The core hands
/// a handshake over wherever it comes from, and a handshake believes an alert.
fn is_known(core: &mut RTCPeerConnection, address: SocketAddr) -> bool {
    let is_it =
        |candidate: &RTCIceCandidate| candidate.port == address.port() && candidate.address.parse() == Ok(address.ip());
    core.sctp().is_some_and(|sctp| sctp.transport().ice_transport().get_remote_candidates().iter().any(is_it))
}

/// What comes before the core can use it, and would have to be sent again: a remote's first checks are often quicker than
/// its answer, which goes through the broker, and its handshake than the answer to its nomination.
#[derive(Default)]
struct Early {
    /// The remote's description is here.
    described: bool,
    /// A pair of addresses is used.
    connected: bool,
    /// The handshake is over: from now on DTLS knows by itself what is the remote's.
    established: bool,
    packets: Vec<TaggedBytesMut>,
}

impl Early {
    /// Hands a packet over, or keeps it.
    fn read(&mut self, core: &mut RTCPeerConnection, packet: TaggedBytesMut) {
        // RFC 7983, section 7: from 20 to 63 it is DTLS.
        let is_dtls = packet.message.first().is_some_and(|first| (20..64).contains(first));
        if !self.described || (is_dtls && !self.connected) {
            if self.packets.len() < EARLY && (!is_dtls || packet.message[0] == HANDSHAKE) {
                self.packets.push(packet);
            }
        } else if is_dtls && !self.established && !is_known(core, packet.transport.peer_addr) {
            tracing::debug!(from = %packet.transport.peer_addr, "a stranger's handshake is passed over");
        } else if let Err(error) = core.handle_read(packet) {
            tracing::debug!(%error, "a packet is passed over");
        }
    }
}

impl Pc {
    /// `direct`: without TURN servers.
    ///
    /// # Errors
    /// Those of the core, and where no socket can be had.
    pub(super) fn new(options: &Options, servers: &[IceServer], direct: bool) -> io::Result<Self> {
        // Servers and `iceTransportPolicy` are the gatherer's: what it does not find the core cannot use.
        let core = RTCPeerConnectionBuilder::new()
            .with_setting_engine(settings(options.timeouts.idle, options.relay_only))
            .build(Instant::now())
            .map(Box::new)
            .map_err(io::Error::other)?;
        let (news, late) = mpsc::channel(LATE);
        Ok(Self {
            core,
            sockets: Sockets::bind(&local_addresses())?,
            gatherer: Gatherer::new(servers, options.relay_only, direct, news.clone()),
            late,
            news,
            out: VecDeque::new(),
            signals: VecDeque::new(),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            alarm: None,
            rests: Instant::now(),
            early: Early::default(),
            hurries: false,
            connected: false,
            watch: None,
            opening: None,
        })
    }

    pub(super) fn has_servers(&self) -> bool {
        self.gatherer.has_servers()
    }

    /// The STUN and TURN servers, and whether they answered: `[{url, answered, error}]`.
    pub(super) fn servers(&self) -> Vec<Value> {
        self.gatherer.servers()
    }

    pub(super) fn create_channel(&mut self, name: &str, options: &ChannelOptions) -> Result<RTCDataChannelId> {
        let init = RTCDataChannelInit {
            ordered: options.ordered,
            max_packet_life_time: options.max_packet_life_time,
            max_retransmits: options.max_retransmits,
            protocol: options.protocol.clone(),
            negotiated: options.negotiated,
        };
        let channel = self.core.create_data_channel(name, Some(init)).map(|channel| channel.id())?;
        self.opening = options.is_reliable().then_some(channel);
        Ok(channel)
    }

    pub(super) fn create_offer(&mut self) -> Result<RTCSessionDescription> {
        self.core.create_offer(None)
    }

    pub(super) fn create_answer(&mut self) -> Result<RTCSessionDescription> {
        self.core.create_answer(None)
    }

    pub(super) fn set_remote(&mut self, description: RTCSessionDescription) -> Result<()> {
        self.hurries = true;
        self.core.set_remote_description(Instant::now(), description)?;
        self.early.described = true;
        self.catch_up();
        Ok(())
    }

    fn catch_up(&mut self) {
        for packet in std::mem::take(&mut self.early.packets) {
            // For ICE, nothing works before it has begun.
            let now = packet.now.max(Instant::now());
            self.feed(TaggedBytesMut { now, ..packet });
        }
    }

    /// Sets our description, and begins to look for our addresses.
    pub(super) fn set_local(&mut self, description: RTCSessionDescription) -> Result<()> {
        let now = Instant::now();
        self.core.set_local_description(now, description)?;
        self.gatherer.start(now, self.sockets.addresses().collect());
        self.hurries = true;
        Ok(())
    }

    /// Our description, with the addresses that are known.
    pub(super) fn local(&self) -> Option<RTCSessionDescription> {
        self.core.local_description()
    }

    /// Adds an address of the remote; one that makes no sense is passed over. A name is resolved first, meanwhile the
    /// others are tried.
    pub(super) fn add_candidate(&mut self, candidate: Candidate) {
        let init = RTCIceCandidateInit {
            candidate: candidate.candidate,
            sdp_mid: candidate.mid,
            sdp_mline_index: candidate.mline_index,
            ..RTCIceCandidateInit::default()
        };
        match mdns::name(&init.candidate).map(str::to_owned) {
            None => self.add_address(init),
            Some(name) => {
                let news = self.news.clone();
                tokio::spawn(async move {
                    let Some(address) = mdns::resolve(&name).await else { return };
                    let line = init.candidate.replacen(&name, &address.to_string(), 1);
                    let _ = news.send(Late::Candidate(RTCIceCandidateInit { candidate: line, ..init })).await;
                });
            }
        }
    }

    fn add_address(&mut self, candidate: RTCIceCandidateInit) {
        if let Err(error) = self.core.add_remote_candidate(candidate) {
            tracing::debug!(%error, "an address of the remote is passed over");
        }
        self.hurries = true;
    }

    /// Bytes of the largest message that both sides take.
    pub(super) fn max_message(&self) -> Option<usize> {
        self.core.sctp().and_then(|sctp| sctp.max_message_size()).map(|size| size as usize)
    }

    /// The channel that is wanted is open.
    pub(super) fn established(&mut self) {
        self.connected = true;
        self.early.established = true;
        let used = self.pair().map(|(local, _)| local);
        self.gatherer.settle(Instant::now(), used);
    }

    /// The addresses that are used: ours and the remote's.
    fn pair(&mut self) -> Option<(SocketAddr, SocketAddr)> {
        let pair = self.core.sctp()?.transport().ice_transport().get_selected_candidate_pair()?;
        let address = |address: &str, port| Some(SocketAddr::new(address.parse().ok()?, port));
        Some((address(&pair.local().address, pair.local().port)?, address(&pair.remote().address, pair.remote().port)?))
    }

    /// From now on there is [`Signal::News`].
    pub(super) fn watch(&mut self, idle: Duration) {
        self.watch = self.pair().map(|(_, remote)| Watch::new(Instant::now(), remote, idle));
    }

    /// Whether a TURN server is on the way.
    pub(super) fn path(&mut self) -> Path {
        if stats::is_relayed(&mut self.core) { Path::Turn } else { Path::Direct }
    }

    /// Follows the remote to the addresses that are used now.
    fn follow(&mut self) {
        if !self.watch.as_mut().is_some_and(Watch::is_strange) {
            return;
        }
        if let (Some((_, remote)), Some(watch)) = (self.pair(), &mut self.watch) {
            watch.set_remote(Instant::now(), remote);
            self.signals.push_back(Signal::Path);
        }
    }

    /// Whether the remote has to acknowledge something.
    pub(super) fn set_asked(&mut self, asked: bool) {
        if let Some(watch) = &mut self.watch {
            watch.set_asked(asked);
        }
    }

    /// Whether the remote has not closed the connection.
    pub(super) fn is_connected(&self) -> bool {
        self.core.sctp().is_some_and(|sctp| sctp.transport().state() == RTCDtlsTransportState::Connected)
    }

    pub(super) fn stats(&mut self) -> Value {
        stats::measure(&mut self.core)
    }

    /// [`Signal::Turn`] comes then, if nothing else does.
    pub(super) fn set_alarm(&mut self, at: Option<Instant>) {
        self.alarm = at;
    }

    /// The next message, and its channel. Where it is left there, the remote's SCTP is slowed down.
    pub(super) fn read(&mut self) -> Option<(RTCDataChannelId, RTCDataChannelMessage)> {
        // The first is a look at a queue, the second one into SCTP.
        let message = self.core.poll_data_read().or_else(|| self.core.poll_read());
        match message?.message {
            RTCMessage::DataChannelMessage(channel, message) => Some((channel, message)),
            // There is no media.
            _ => None,
        }
    }

    /// Bytes that a channel has taken and the remote's SCTP has not acknowledged. None: there is no such channel any more.
    pub(super) fn outstanding(&mut self, channel: RTCDataChannelId) -> Option<usize> {
        self.core.data_channel(channel).map(|channel| channel.outstanding_bytes())
    }

    /// # Errors
    /// The channel takes nothing more.
    pub(super) fn send(&mut self, channel: RTCDataChannelId, body: Message) -> Result<()> {
        let mut channel = self.core.data_channel(channel).ok_or(Error::ErrDataChannelClosed)?;
        match body {
            Message::Text(text) => channel.send_text(Instant::now(), text),
            Message::Binary(bytes) => channel.send(Instant::now(), BytesMut::from(bytes)),
        }
    }

    pub(super) fn close_channel(&mut self, channel: RTCDataChannelId) {
        if let Some(mut channel) = self.core.data_channel(channel) {
            let _ = channel.close();
        }
    }

    /// Waits for what happens next. Nothing is lost where the caller stops waiting.
    pub(super) async fn next(&mut self) -> Signal {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// The same as [`Pc::next`].
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Signal> {
        let mut turned = false;
        loop {
            self.pump();
            // What finds no room waits for the next poll, which the kernel wakes us for.
            let _ = self.poll_flush(cx);
            if let Some(signal) = self.signals.pop_front() {
                return Poll::Ready(signal);
            }
            if turned {
                return Poll::Ready(Signal::Turn);
            }
            // Who sends is not to wait until everything that comes is read.
            turned = !is_here() && (self.poll_late(cx) | self.poll_receive(cx));
            if std::mem::take(&mut self.hurries) {
                // DTLS begins when it is due after it has heard of ICE.
                self.pump();
                self.handle_timeout(Instant::now());
                turned = true;
            }
            self.follow();
            turned |= self.poll_timer(cx);
            if !turned {
                return Poll::Pending;
            }
        }
    }

    /// Moves what the core and the gatherer have to say to where it goes.
    fn pump(&mut self) {
        loop {
            while let Some(event) = self.core.poll_event() {
                self.handle_event(event);
            }
            if self.early.connected && !self.early.packets.is_empty() {
                self.catch_up();
                continue;
            }
            self.open_early();
            while let Some(packet) = self.core.poll_write() {
                if self.gatherer.is_relayed(packet.transport.local_addr) {
                    self.gatherer.relay(packet);
                } else {
                    self.out.push_back(packet);
                }
            }
            while let Some(packet) = self.gatherer.poll_write() {
                self.out.push_back(packet);
            }
            let mut found = false;
            while let Some(news) = self.gatherer.poll_found() {
                found = true;
                self.handle_found(news);
            }
            while let Some(packet) = self.gatherer.poll_packet() {
                found = true;
                self.feed(packet);
            }
            if !found {
                return;
            }
        }
    }

    fn open_early(&mut self) {
        let Some(channel) = self.opening else { return };
        let associated = self.core.sctp().is_some_and(|sctp| sctp.state() == RTCSctpTransportState::Connected);
        if associated && self.core.data_channel(channel).is_some_and(|channel| channel.stream_id().is_some()) {
            self.opening = None;
            self.signals.push_back(Signal::Opened(channel));
        }
    }

    fn handle_event(&mut self, event: RTCPeerConnectionEvent) {
        let signal = match event {
            RTCPeerConnectionEvent::OnIceCandidateEvent(event) => match event.candidate.to_json() {
                Ok(candidate) if !candidate.candidate.is_empty() => Signal::Candidate(candidate),
                Ok(_) => return,
                Err(error) => return tracing::debug!(%error, "an address cannot be written down"),
            },
            RTCPeerConnectionEvent::OnIceGatheringStateChangeEvent(RTCIceGatheringState::Complete) => {
                Signal::GatheringComplete
            }
            RTCPeerConnectionEvent::OnIceConnectionStateChangeEvent(
                RTCIceConnectionState::Connected | RTCIceConnectionState::Completed,
            ) => {
                self.early.connected = true;
                Signal::IceConnected
            }
            RTCPeerConnectionEvent::OnIceConnectionStateChangeEvent(
                RTCIceConnectionState::Disconnected | RTCIceConnectionState::Failed,
            ) => Signal::IceLost,
            RTCPeerConnectionEvent::OnConnectionStateChangeEvent(RTCPeerConnectionState::Failed) => Signal::Failed,
            RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnOpen(channel)) => Signal::Opened(channel),
            RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnClose(channel)) => Signal::Closed(channel),
            _ => return,
        };
        self.signals.push_back(signal);
    }

    fn handle_found(&mut self, found: Found) {
        let candidate = match found {
            Found::Candidate(candidate) => candidate,
            Found::Complete => RTCIceCandidateInit::default(),
        };
        if let Err(error) = self.core.add_local_candidate(candidate) {
            tracing::debug!(%error, "an address of ours is passed over");
        }
        self.hurries = true;
    }

    fn feed(&mut self, packet: TaggedBytesMut) {
        if let Some(watch) = &mut self.watch {
            watch.handle_packet(Instant::now(), packet.transport.peer_addr);
        }
        self.early.read(&mut self.core, packet);
        self.hurries |= !self.connected;
    }

    /// True: there was something.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        for _ in 0..LATE {
            // We have a sender ourselves: it never ends.
            let Poll::Ready(Some(late)) = self.late.poll_recv(cx) else { break };
            any = true;
            let now = Instant::now();
            match self.gatherer.handle_late(now, late) {
                Some(Late::Candidate(candidate)) => self.add_address(candidate),
                Some(Late::Packet { local, remote, bytes }) => {
                    let transport = TransportContext {
                        local_addr: local,
                        peer_addr: remote,
                        transport_protocol: TransportProtocol::TCP,
                        ecn: None,
                    };
                    let packet = TaggedBytesMut { now, transport, message: bytes };
                    // A stream carries nothing but what a TURN server says.
                    drop(self.gatherer.handle_packet(packet));
                }
                _ => {}
            }
        }
        any
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> bool {
        let now = Instant::now();
        let Self { core, sockets, gatherer, watch, early, .. } = self;
        let received = sockets.poll_receive(cx, |local, remote, bytes| {
            let transport = TransportContext {
                local_addr: local,
                peer_addr: remote,
                transport_protocol: TransportProtocol::UDP,
                ecn: None,
            };
            let packet = TaggedBytesMut { now, transport, message: BytesMut::from(bytes) };
            if let Some(watch) = watch {
                watch.handle_packet(now, remote);
            }
            if let Some(packet) = gatherer.handle_packet(packet) {
                early.read(core, packet);
            }
        });
        self.hurries |= received.is_ready() && !self.connected;
        received.is_ready()
    }

    /// True: something was due.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let news = self.watch.as_ref().and_then(Watch::poll_timeout);
        let due = [self.core.poll_timeout(), self.gatherer.poll_timeout(), self.alarm, news];
        let due = due.into_iter().flatten().min();
        let Some(due) = due.map(|due| due.max(self.rests)) else { return false };
        loop {
            let now = Instant::now();
            if due <= now {
                self.rests = now + TICK;
                self.alarm = None;
                self.handle_timeout(now);
                return true;
            }
            // One that rings too early is cheaper than one that is set for each packet.
            if self.timer.deadline().into_std() > due || self.timer.is_elapsed() {
                self.timer.as_mut().reset(due.into());
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return false;
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some(news) = self.watch.as_mut().and_then(|watch| watch.poll(now)) {
            self.signals.push_back(Signal::News(news));
        }
        self.gatherer.handle_timeout(now);
        if let Err(error) = self.core.handle_timeout(now) {
            self.signals.push_back(Signal::Broken(error.to_string()));
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.out.is_empty() {
            match self.sockets.poll_send(cx, self.out.iter()) {
                Poll::Ready(sent) => drop(self.out.drain(..sent)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.out.capacity() > 1024 {
            self.out = VecDeque::new();
        }
        Poll::Ready(())
    }

    /// Ends the connection, says so to the remote, and gives back what servers have lent us.
    pub(super) async fn close(mut self) {
        if let Err(error) = self.core.close() {
            tracing::debug!(%error, "closing a peer connection");
        }
        self.release().await;
    }

    /// Gives back what servers have lent us. The remote hears nothing.
    pub(super) async fn release(mut self) {
        self.pump();
        self.gatherer.release(Instant::now());
        self.pump();
        let flushed = poll_fn(|cx| self.poll_flush(cx));
        if tokio::time::timeout(FLUSH, flushed).await.is_err() {
            tracing::debug!("the last words of a peer connection are lost");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
pub(super) mod tests {
    use linkup_proto::PeerId;
    use rtc::data_channel::RTCDataChannelState;

    use super::*;

    fn pc() -> Pc {
        Pc::new(&Options::new(PeerId::new("me").unwrap()), &[], false).unwrap()
    }

    /// Two of them that have each other's description; the first one's channel.
    pub(in super::super) fn pair(ordered: bool) -> (Pc, Pc, RTCDataChannelId) {
        let (mut a, mut b) = (pc(), pc());
        let channel = a.create_channel("name", &ChannelOptions { ordered, ..ChannelOptions::default() }).unwrap();
        let offer = a.create_offer().unwrap();
        a.set_local(offer).unwrap();
        a.pump();
        b.set_remote(a.local().unwrap()).unwrap();
        let answer = b.create_answer().unwrap();
        b.set_local(answer).unwrap();
        b.pump();
        a.set_remote(b.local().unwrap()).unwrap();
        (a, b, channel)
    }

    pub(in super::super) async fn opened(a: &mut Pc, b: &mut Pc, channel: RTCDataChannelId) {
        loop {
            tokio::select! {
                signal = a.next() => if matches!(signal, Signal::Opened(opened) if opened == channel) {
                    return;
                },
                _ = b.next() => {}
            }
        }
    }

    #[tokio::test]
    async fn a_channel_that_keeps_order_is_used_before_the_remote_has_confirmed_it() {
        let (mut a, mut b, channel) = pair(true);
        opened(&mut a, &mut b, channel).await;
        assert_eq!(a.core.data_channel(channel).unwrap().ready_state(), RTCDataChannelState::Connecting);
        a.send(channel, Message::Text("early".to_owned())).unwrap();
        let got = loop {
            tokio::select! {
                _ = a.next() => {}
                _ = b.next() => if let Some((_, message)) = b.read() {
                    break message;
                },
            }
        };
        assert_eq!((got.is_string, &got.data[..]), (true, &b"early"[..]));
    }

    const WAY: Duration = Duration::from_millis(20);

    struct Call {
        /// From the call until the caller may send.
        time: Duration,
        /// That had gone by then.
        packets: usize,
        /// Packets of DTLS handshakes until long after that.
        handshakes: usize,
        /// What is left of it, and when.
        ends: [Pc; 2],
        now: Instant,
    }

    /// Hands a packet of the other side over.
    fn arrive(end: &mut Pc, now: Instant, TaggedBytesMut { transport, message, .. }: TaggedBytesMut) {
        let (local_addr, peer_addr) = (transport.peer_addr, transport.local_addr);
        let transport = TransportContext { local_addr, peer_addr, ..transport };
        end.feed(TaggedBytesMut { now, transport, message });
    }

    /// A call where everything, the offer and the answer, too, takes `way`. The clock is the test's. `lost`
    /// says of each packet whether it is; `strange` is what a stranger sends to both sides all the time.
    fn call(way: Duration, strange: &[&[u8]], mut lost: impl FnMut(usize) -> bool) -> Call {
        let (mut a, mut b) = (pc(), pc());
        let channel = a.create_channel("name", &ChannelOptions::default()).unwrap();
        let offer = a.create_offer().unwrap();
        a.set_local(offer).unwrap();
        a.pump();
        let start = Instant::now();
        b.set_remote(a.local().unwrap()).unwrap();
        let answer = b.create_answer().unwrap();
        b.set_local(answer).unwrap();
        b.pump();
        let mut answer = b.local();
        let (mut ends, mut now) = ([a, b], start + way);
        let (mut time, mut packets, mut handshakes) = (Duration::MAX, 0, 0);
        let mut under_way: VecDeque<(Instant, usize, TaggedBytesMut)> = VecDeque::new();
        while now < start + time.saturating_add(20 * way).min(Duration::from_secs(20)) {
            if now >= start + 2 * way
                && let Some(answer) = answer.take()
            {
                ends[0].set_remote(answer).unwrap();
            }
            while under_way.front().is_some_and(|(at, ..)| *at <= now) {
                let (now, to, packet) = under_way.pop_front().unwrap();
                arrive(&mut ends[to], now, packet);
                ends[to].handle_timeout(now);
            }
            for (from, end) in ends.iter_mut().enumerate() {
                let local_addr = end.sockets.addresses().next().unwrap();
                for bytes in strange {
                    let transport = TransportContext {
                        local_addr,
                        peer_addr: "192.0.2.9:9".parse().unwrap(),
                        transport_protocol: TransportProtocol::UDP,
                        ecn: None,
                    };
                    end.feed(TaggedBytesMut { now, transport, message: BytesMut::from(*bytes) });
                }
                end.handle_timeout(now);
                end.pump();
                for packet in end.out.drain(..) {
                    handshakes += usize::from((20..=22).contains(&packet.message[0]));
                    if !lost(packets) {
                        under_way.push_back((now + way, 1 - from, packet));
                    }
                    packets += usize::from(time == Duration::MAX);
                }
            }
            let opened = |signal: &Signal| matches!(signal, Signal::Opened(opened) if *opened == channel);
            if time == Duration::MAX && ends[0].signals.iter().any(opened) {
                time = now - start;
            }
            now += Duration::from_millis(1);
        }
        assert!(time < Duration::MAX, "no channel after {} packets", packets);
        Call { time, packets, handshakes, ends, now }
    }

    #[tokio::test]
    async fn a_call_takes_five_round_trips() {
        let Call { time, .. } = call(WAY, &[], |_| false);
        assert!(time.as_millis() / 40 <= 5, "{time:?}");
    }

    #[tokio::test]
    async fn a_lost_packet_costs_little() {
        let Call { packets, .. } = call(WAY, &[], |_| false);
        let times: Vec<_> = (0..packets).map(|lost| call(WAY, &[], |packet| packet == lost).time.as_millis()).collect();
        assert!(times.iter().all(|time| *time <= 700), "{times:?}");
    }

    #[tokio::test]
    async fn a_call_survives_a_path_that_loses_a_quarter_of_all_packets() {
        let mut times = Vec::new();
        for seed in 1..=100_u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let lost = |_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % 4 == 0
            };
            times.push(call(WAY, &[], lost).time.as_millis());
        }
        times.sort_unstable();
        assert!(times[50] <= 2000, "{times:?}");
        // The bound of a call.
        assert!(times[99] <= 15_000, "{times:?}");
    }

    #[tokio::test]
    async fn a_path_that_is_slower_than_the_timers_repeats_a_flight_once_or_twice() {
        // Six flights, but ours are five.
        let handshakes = call(WAY, &[], |_| false).handshakes;
        assert!(handshakes <= 5, "{handshakes}");
        let handshakes = call(WAY * 8, &[], |_| false).handshakes;
        assert!(handshakes <= 10, "{handshakes}");
    }

    #[tokio::test]
    async fn what_strangers_say_of_a_handshake_ends_no_call() {
        let close_notify: &[u8] = &[21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0];
        let hello_request: &[u8] = &[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(call(WAY, &[close_notify], |_| false).time < 6 * 2 * WAY);
        assert!(call(WAY, &[close_notify, hello_request], |_| false).time < Duration::from_secs(1));
    }

    #[tokio::test]
    async fn a_connection_at_rest_sleeps_and_notices_a_remote_that_is_gone() {
        let Call { mut ends, now: start, .. } = call(WAY, &[], |_| false);
        let (rest, mut now, mut turns) = (Duration::from_secs(20), start, 0);
        let is_over = |end: &Pc| end.signals.iter().any(|signal| matches!(signal, Signal::Failed));
        while now < start + Duration::from_secs(60) && !is_over(&ends[0]) {
            let due = ends.iter_mut().filter_map(|end| end.core.poll_timeout()).min().unwrap();
            now = due.max(now + TICK);
            turns += usize::from(now < start + rest);
            for from in 0..2 {
                ends[from].handle_timeout(now);
                ends[from].pump();
                for packet in std::mem::take(&mut ends[from].out) {
                    if now < start + rest {
                        arrive(&mut ends[1 - from], now, packet);
                    }
                }
            }
        }
        // Each end asks every other second.
        assert!(turns <= 30, "{turns} in {rest:?}");
        let noticed = now - start - rest;
        assert!(is_over(&ends[0]) && noticed <= Duration::from_secs(10), "{noticed:?}");
    }

    #[tokio::test]
    async fn a_remote_that_gives_up_at_the_last_moment_is_heard() {
        for polls in 0..20 {
            let (mut a, mut b, channel) = pair(true);
            opened(&mut a, &mut b, channel).await;
            // However far the remote is.
            for _ in 0..polls {
                let _ = tokio::time::timeout(Duration::from_millis(1), b.next()).await;
                let _ = tokio::time::timeout(Duration::from_millis(1), a.next()).await;
            }
            b.close().await;
            let heard = async { while !matches!(a.next().await, Signal::Closed(closed) if closed == channel) {} };
            assert!(tokio::time::timeout(Duration::from_secs(2), heard).await.is_ok(), "{polls}");
        }
    }

    #[tokio::test]
    async fn one_that_does_not_waits_for_that() {
        let (mut a, mut b, channel) = pair(false);
        opened(&mut a, &mut b, channel).await;
        assert_eq!(a.core.data_channel(channel).unwrap().ready_state(), RTCDataChannelState::Open);
    }
}
