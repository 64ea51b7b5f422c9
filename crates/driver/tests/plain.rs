//! Against a simple-peer client that knows nothing of linkup: the documented broker messages and its JSON.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Testee, broker, options, text};
use futures_util::{SinkExt, StreamExt};
use linkup_driver::core::{Event, Token};
use linkup_driver::{Message, SendError};
use linkup_proto::PeerId;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message as Frame;
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceCandidateInit, RTCIceGatheringState,
    RTCSessionDescription,
};

const COUNT: usize = 200;

struct Handler {
    gathered: mpsc::UnboundedSender<()>,
    channels: mpsc::UnboundedSender<Arc<dyn DataChannel>>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.gathered.send(());
        }
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        let _ = self.channels.send(channel);
    }
}

/// Registers as `plain`, answers one offer, reports each message, and ends as simple-peer does when its channel ends.
async fn plain(url: String, messages: mpsc::UnboundedSender<String>, to_send: Vec<String>, close_first: bool) {
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let register = json!({"id": "1", "message": {"type": "register", "id": "plain"}});
    socket.send(Frame::text(register.to_string())).await.unwrap();
    let (gathered, mut is_gathered) = mpsc::unbounded_channel();
    let (channels, mut opened) = mpsc::unbounded_channel();
    let handler = Arc::new(Handler { gathered, channels });
    let pc: Arc<dyn PeerConnection> = Arc::new(
        PeerConnectionBuilder::new().with_handler(handler).with_udp_addrs(vec!["0.0.0.0:0"]).build().await.unwrap(),
    );
    let _ = messages.send("registered".to_owned());
    let channel = loop {
        tokio::select! {
            frame = socket.next() => {
                let Frame::Text(frame) = frame.unwrap().unwrap() else { continue };
                let frame: Value = serde_json::from_str(frame.as_str()).unwrap();
                if frame["message"]["type"] != "signal" {
                    continue;
                }
                let from = frame["message"]["from"].clone();
                let signal: Value = serde_json::from_str(frame["message"]["signal"].as_str().unwrap()).unwrap();
                if signal["type"] == "offer" {
                    let offer = signal["sdp"].as_str().unwrap().to_owned();
                    pc.set_remote_description(RTCSessionDescription::offer(offer).unwrap()).await.unwrap();
                    let answer = pc.create_answer(None).await.unwrap();
                    pc.set_local_description(answer).await.unwrap();
                    is_gathered.recv().await.unwrap();
                    let sdp = pc.local_description().await.unwrap().sdp;
                    let signal = json!({"type": "answer", "sdp": sdp}).to_string();
                    let answer = json!({"message": {"type": "signal", "from": "plain", "to": from, "signal": signal}});
                    socket.send(Frame::text(answer.to_string())).await.unwrap();
                } else if let Some(candidate) = signal["candidate"]["candidate"].as_str() {
                    let candidate = RTCIceCandidateInit { candidate: candidate.to_owned(), ..Default::default() };
                    pc.add_ice_candidate(candidate).await.unwrap();
                }
            }
            channel = opened.recv() => break channel.unwrap(),
        }
    };
    let mut closed = false;
    // webrtc-rs may tell of the end before the last messages, which no browser does: look a while longer.
    let patience = |closed| if closed { Duration::from_millis(300) } else { Duration::from_secs(30) };
    while let Ok(Some(event)) = tokio::time::timeout(patience(closed), channel.poll()).await {
        match event {
            DataChannelEvent::OnOpen => {
                for text in &to_send {
                    channel.send_text(text).await.unwrap();
                }
                if close_first {
                    while channel.outstanding_bytes().await.unwrap() > 0 {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    channel.close().await.unwrap();
                }
            }
            DataChannelEvent::OnMessage(message) => {
                assert!(message.is_string, "a plain client gets text only");
                let _ = messages.send(String::from_utf8(message.data.to_vec()).unwrap());
            }
            DataChannelEvent::OnClose => closed = true,
            _ => {}
        }
    }
    pc.close().await.unwrap();
}

async fn connected(to_send: Vec<String>, close_first: bool) -> (Testee, mpsc::UnboundedReceiver<String>) {
    let (broker, url) = broker();
    // It ends with the test's runtime.
    std::mem::forget(broker);
    let (messages, mut received) = mpsc::unbounded_channel();
    tokio::spawn(plain(url.clone(), messages, to_send, close_first));
    assert_eq!(received.recv().await.unwrap(), "registered");
    let a = Testee::registered(options(&url, "a")).await;
    a.peer.connect(PeerId::new("plain").unwrap());
    (a, received)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_arrives_before_the_close() {
    let (mut a, mut received) = connected(vec!["hello".to_owned()], false).await;
    let event = a.until(|event| matches!(event, Event::Open { .. }).then_some(event)).await;
    let Event::Open { connection, linkup, .. } = event else { unreachable!() };
    assert_eq!(linkup, None);
    let refused = [
        a.link(connection).send(Message::Binary(Bytes::from_static(b"x"))),
        a.link(connection).send_for(text("x"), Some(Token(1))),
        a.link(connection).send_stream(9, 2, b"x"),
    ];
    assert_eq!(refused, [Err(SendError::Unsupported); 3]);
    a.received(1).await;
    let link = a.link(connection);
    // No more than webrtc-rs, which the client is made of, reads in one go: what is behind that when the channel is
    // reset it loses (rtc 0.21.1, `SctpHandler::drain_stream`).
    // And all of it fits into the 208 KiB that the kernel keeps for the client, which sizes no sockets: what is dropped there
    // costs retransmission time-outs, which double.
    let body = |n: usize| format!("{n:0800}");
    for n in 0..COUNT {
        a.send(&link, text(body(n))).await;
    }
    let start = Instant::now();
    a.peer.close(connection, None);
    assert_eq!(a.closed().await, None);
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    let mut count = 0;
    while let Some(text) = received.recv().await {
        assert_eq!(text, body(count));
        count += 1;
    }
    assert_eq!(count, COUNT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_sent_before_it_closed_arrives() {
    let (mut a, _received) = connected(vec!["x".repeat(60_000); 50], true).await;
    a.opened().await;
    assert_eq!(a.closed().await, None);
    assert_eq!(a.take_messages().len(), 50);
}
