//! The names that browsers put in the place of a host's addresses (`….local`, draft-ietf-mmusic-mdns-ice-candidates):
//! asks the local network for what is behind them.
//!
//! One socket for the process, open only while somebody waits. Where multicast is blocked nobody answers, and a
//! connection has to do with its other pairs of addresses: as a rule the browser reaches us, and its address is seen then.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::mdns::{Mdns, MdnsConfig, MdnsEvent, MulticastSocket};
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};

/// How often a question is repeated, and how long it is asked: an attempt does not wait for it.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(3);

/// Questions at once, over all peers of the process: a remote names them, and each is heard by the whole local network.
const MAX_QUESTIONS: usize = 256;

/// Bytes of an mDNS packet (RFC 6762, section 17).
const MAX_PACKET: usize = 9000;

type Question = (String, oneshot::Sender<IpAddr>);

/// The way to the task that has the socket.
static RESOLVER: Mutex<Option<mpsc::UnboundedSender<Question>>> = Mutex::new(None);

/// The name in a candidate's line that is to be resolved: what browsers make, and nothing else. What anybody may make us
/// ask the local network for must not be a printer's name.
pub(crate) fn name(candidate: &str) -> Option<&str> {
    let name = candidate.split_ascii_whitespace().nth(4)?;
    let uuid = name.strip_suffix(".local")?;
    let wellformed = uuid.len() == 36 && uuid.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    wellformed.then_some(name)
}

/// The address behind a name. `None` where nobody answers in time. Must be called inside a runtime.
pub(crate) async fn resolve(name: &str) -> Option<IpAddr> {
    let (answer, answered) = oneshot::channel();
    ask((name.to_owned(), answer));
    answered.await.ok()
}

fn ask(question: Question) {
    let mut resolver = RESOLVER.lock().unwrap_or_else(PoisonError::into_inner);
    let question = match &*resolver {
        Some(sender) => match sender.send(question) {
            Ok(()) => return,
            // The task has ended, with its work or with its runtime.
            Err(mpsc::error::SendError(question)) => question,
        },
        None => question,
    };
    start(&mut resolver, question);
}

fn start(resolver: &mut Option<mpsc::UnboundedSender<Question>>, question: Question) {
    let (sender, questions) = mpsc::unbounded_channel();
    // The receiver is right here.
    let _ = sender.send(question);
    *resolver = Some(sender);
    tokio::spawn(run(questions));
}

async fn run(mut questions: mpsc::UnboundedReceiver<Question>) {
    let answered = answer(&mut questions).await;
    // Who comes now finds it closed, and starts another.
    questions.close();
    match answered {
        Ok(()) => std::iter::from_fn(|| questions.try_recv().ok()).for_each(ask),
        Err(error) => tracing::debug!(%error, "names of the local network cannot be resolved"),
    }
}

/// Answers questions until there are none.
async fn answer(questions: &mut mpsc::UnboundedReceiver<Question>) -> std::io::Result<()> {
    let socket = UdpSocket::from_std(MulticastSocket::new().into_std()?)?;
    let local = socket.local_addr()?;
    let config = MdnsConfig::new().with_query_interval(AGAIN_AFTER).with_query_timeout(PATIENCE);
    let mut mdns = Mdns::new(Instant::now(), config);
    let mut waiting = HashMap::new();
    let mut buffer = vec![0; MAX_PACKET];
    loop {
        while let Ok((name, answer)) = questions.try_recv() {
            if waiting.len() < MAX_QUESTIONS {
                waiting.insert(mdns.query_now(Instant::now(), &name), answer);
            }
        }
        while let Some(packet) = mdns.poll_write() {
            // Where one interface does not take it, another may.
            let _ = socket.send_to(&packet.message, packet.transport.peer_addr).await;
        }
        while let Some(event) = mdns.poll_event() {
            match event {
                MdnsEvent::QueryAnswered(query, address) => {
                    if let Some(answer) = waiting.remove(&query) {
                        // Its connection may have come up, or failed, meanwhile.
                        let _ = answer.send(address);
                    }
                }
                MdnsEvent::QueryTimeout(query) => drop(waiting.remove(&query)),
                _ => {}
            }
        }
        if waiting.is_empty() {
            return Ok(());
        }
        let due = mdns.poll_timeout().unwrap_or_else(|| Instant::now() + AGAIN_AFTER);
        tokio::select! {
            question = questions.recv() => {
                let Some((name, answer)) = question else { return Ok(()) };
                if waiting.len() < MAX_QUESTIONS {
                    waiting.insert(mdns.query_now(Instant::now(), &name), answer);
                }
            }
            received = socket.recv_from(&mut buffer) => {
                let (length, peer_addr) = received?;
                let transport = TransportContext {
                    local_addr: local,
                    peer_addr,
                    transport_protocol: TransportProtocol::UDP,
                    ecn: None,
                };
                let message = BytesMut::from(&buffer[..length]);
                // Whatever else is said in the local network means nothing here.
                let _ = mdns.handle_read(TaggedBytesMut { now: Instant::now(), transport, message });
            }
            () = tokio::time::sleep_until(due.into()) => {
                let _ = mdns.handle_timeout(Instant::now());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::net::Ipv4Addr;

    const NAME: &str = "0c36178c-8f3b-4674-8863-eeb4bb6c137d.local";

    #[test]
    fn takes_only_names_that_browsers_make() {
        let line = |name: &str| format!("candidate:1 1 udp 2113937151 {name} 47367 typ host generation 0");
        assert_eq!(name(&line(NAME)), Some(NAME));
        for other in ["printer.local", "192.0.2.1", "example.com", ".local", "0c36178c-8f3b-4674-8863-eeb4bb6c137d.com"]
        {
            assert_eq!(name(&line(other)), None, "{other}");
        }
        assert_eq!(name(""), None);
    }

    /// Somebody who answers for a name, as a browser does.
    async fn responder(name: &'static str, address: Ipv4Addr) -> std::io::Result<()> {
        let socket = UdpSocket::from_std(MulticastSocket::new().into_std()?)?;
        let local = socket.local_addr()?;
        let config = MdnsConfig::new().with_local_names(vec![name.to_owned()]).with_local_ip(IpAddr::V4(address));
        let mut mdns = Mdns::new(Instant::now(), config);
        let mut buffer = vec![0; MAX_PACKET];
        loop {
            let (length, peer_addr) = socket.recv_from(&mut buffer).await?;
            let transport = TransportContext {
                local_addr: local,
                peer_addr,
                transport_protocol: TransportProtocol::UDP,
                ecn: None,
            };
            let message = BytesMut::from(&buffer[..length]);
            let _ = mdns.handle_read(TaggedBytesMut { now: Instant::now(), transport, message });
            while let Some(packet) = mdns.poll_write() {
                socket.send_to(&packet.message, packet.transport.peer_addr).await?;
            }
        }
    }

    #[tokio::test]
    async fn names_are_resolved_and_nobody_waits_for_ever() {
        let address = Ipv4Addr::new(192, 0, 2, 77);
        let task = tokio::spawn(responder(NAME, address));
        let nobody = "00000000-0000-0000-0000-000000000000.local";
        let start = Instant::now();
        let (found, again, missing) = tokio::join!(resolve(NAME), resolve(NAME), resolve(nobody));
        assert_eq!(missing, None);
        assert!(start.elapsed() < PATIENCE * 2, "{:?}", start.elapsed());
        // Without multicast the responder has ended, and nobody could hear it.
        if !task.is_finished() {
            assert_eq!((found, again), (Some(IpAddr::V4(address)), Some(IpAddr::V4(address))));
        }
    }
}
