//! STUN and TURN as clients meet them: a client of our own, and coturn's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::tls::{certificate, connect_tls};
use common::turn::{Client, SECRET, attribute, credentials, method, unix};
use common::{start, until, within};
use linkup_broker::{Broker, Options, Secret, TurnOptions};
use tokio::net::{TcpStream, UdpSocket};
use tokio::process::Command;
use tokio_rustls::rustls::RootCertStore;

fn options(change: impl FnOnce(&mut TurnOptions)) -> Options {
    let mut turn = TurnOptions::default();
    turn.host = Some("127.0.0.1".into());
    turn.port = 0;
    // Beside the ports that the system gives to sockets of tests.
    turn.relay_ports = 20_000..=29_999;
    change(&mut turn);
    let mut options = Options::default();
    options.turn = Some(turn);
    options.turn_secret = Some(Secret::new(SECRET));
    options
}

fn broker(change: impl FnOnce(&mut TurnOptions)) -> Broker {
    start(options(change))
}

/// One that relays to this machine, where all of these tests are.
fn local() -> Broker {
    broker(allow_loopback)
}

fn allow_loopback(turn: &mut TurnOptions) {
    turn.allow = vec!["127.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
}

async fn client(broker: &Broker) -> Client {
    Client::udp(broker.turn_addresses()[0], credentials("alice")).await
}

async fn peer() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

async fn heard(peer: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2048];
    let (length, from) = within(peer.recv_from(&mut buffer)).await.unwrap();
    (buffer[..length].to_vec(), from)
}

#[tokio::test]
async fn stun_says_where_a_client_is() {
    let broker = local();
    for mut client in [client(&broker).await, Client::tcp(broker.turn_addresses()[0], credentials("a")).await] {
        let answer = client.ask(method::BINDING, &[]).await;
        assert_eq!((answer.code(), answer.address(attribute::XOR_MAPPED_ADDRESS)), (None, Some(client.address())));
        // What it does not know and would have to, it says (RFC 8489, section 6.3.1).
        let answer = client.ask(method::BINDING, &[(0x0003, &[0; 4])]).await;
        assert_eq!((answer.code(), answer.get(attribute::UNKNOWN)), (Some(420), Some(vec![0, 3])));
    }
    let stats = broker.turn_stats().unwrap();
    assert_eq!((stats.allocations, stats.allocated), (0, 0));
}

#[tokio::test]
async fn relays_between_a_client_and_a_peer() {
    let broker = local();
    let address = broker.turn_addresses()[0];
    let mut dropped = 0;
    for mut client in [client(&broker).await, Client::tcp(address, credentials("alice")).await] {
        let relayed = client.allocate().await.unwrap();
        assert!((20_000..=29_999).contains(&relayed.port()) && relayed.ip().is_loopback(), "{relayed}");
        let (peer, peer_address) = peer().await;
        // Without a permission nothing goes either way.
        client.send_indication(peer_address, b"too early").await;
        peer.send_to(b"too early", relayed).await.unwrap();
        dropped += 2;
        until(|| async { broker.turn_stats().unwrap().dropped == dropped }).await;
        assert_eq!(client.permit(peer_address).await, None);
        client.send_indication(peer_address, b"hello").await;
        assert_eq!(heard(&peer).await, (b"hello".to_vec(), relayed));
        peer.send_to(b"world", relayed).await.unwrap();
        assert_eq!(client.data().await, (peer_address, b"world".to_vec()));
        assert_eq!(client.bind(0x4000, peer_address).await, None);
        client.send_channel(0x4000, b"odd").await;
        assert_eq!(heard(&peer).await, (b"odd".to_vec(), relayed));
        peer.send_to(b"even", relayed).await.unwrap();
        assert_eq!(client.channel_data().await, (0x4000, b"even".to_vec()));
        assert_eq!(client.refresh(0).await, Ok(0));
        assert_eq!(client.permit(peer_address).await, Some(437));
    }
    let stats = broker.turn_stats().unwrap();
    assert_eq!((stats.allocated, stats.bytes_up, stats.bytes_down), (2, 2 * 8, 2 * 9));
    until(|| async { broker.turn_stats().unwrap().allocations == 0 }).await;
}

#[tokio::test]
async fn forged_expired_and_replayed_credentials_are_refused() {
    let broker = local();
    let address = broker.turn_addresses()[0];
    let secret = Secret::new(SECRET);
    let good = credentials("alice");
    let changed = (good.0.replace("alice", "bob"), good.1.clone());
    let longer = (format!("{}:alice", unix() + 200), good.1.clone());
    for credentials in [
        secret.credentials("alice", unix() - 1),
        Secret::new("south").credentials("alice", unix() + 100),
        (good.0.clone(), String::new()),
        ("alice".into(), good.1.clone()),
        changed,
        longer,
    ] {
        let mut client = Client::udp(address, credentials).await;
        assert_eq!(client.allocate().await, Err(401));
    }
    // Signed, but with a nonce that is not for this client: recorded elsewhere, or made up.
    let mut other = Client::udp(address, good.clone()).await;
    other.allocate().await.unwrap();
    for nonce in [other.nonce(), format!("{:x}-{}", unix(), "0".repeat(24)), String::new()] {
        let mut client = Client::udp(address, good.clone()).await;
        client.set_nonce(&nonce);
        let answer = client.signed(method::ALLOCATE, &[(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0])]).await;
        assert_eq!(answer.code(), Some(438), "{nonce}");
        assert!(answer.get(attribute::NONCE).is_some() && answer.get(attribute::REALM).is_some());
    }
    let stats = broker.turn_stats().unwrap();
    assert_eq!((stats.allocated, stats.allocations), (1, 1));
    // Another user on the same 5-tuple (RFC 8656, section 5).
    let mut thief = other.with_credentials(credentials("bob"));
    assert_eq!(thief.refresh(600).await, Err(441));
    assert_eq!(thief.allocate().await, Err(437));
}

/// A lost answer must not cost the allocation: the request comes again, and is the same.
#[tokio::test]
async fn a_repeated_allocate_gets_the_same_answer() {
    let broker = local();
    let mut client = client(&broker).await;
    let relayed = client.allocate().await.unwrap();
    let again = client.repeat().await;
    assert_eq!((again.code(), again.address(attribute::XOR_RELAYED_ADDRESS)), (None, Some(relayed)));
    assert_eq!(broker.turn_stats().unwrap().allocated, 1);
    assert_eq!(client.allocate().await, Err(437));
}

#[tokio::test]
async fn refuses_targets_that_are_nobodys_business() {
    let broker = broker(|_| {});
    let mut client = client(&broker).await;
    client.allocate().await.unwrap();
    let (peer, peer_address) = peer().await;
    let private = ["10.0.0.1:1", "192.168.1.1:1", "169.254.169.254:80", "127.0.0.2:1", "0.0.0.0:1", "224.0.0.1:1"];
    for address in private.map(|address| address.parse::<SocketAddr>().unwrap()) {
        assert_eq!(client.permit(address).await, Some(403), "{address}");
        assert_eq!(client.bind(0x4000, address).await, Some(403), "{address}");
    }
    // The relay's own address is for other allocations only: there is a permission, and it leads nowhere else.
    assert_eq!(client.bind(0x4000, peer_address).await, Some(403));
    assert_eq!(client.permit(peer_address).await, None);
    client.send_indication(peer_address, b"to a service of the server").await;
    client.send_indication(broker.addresses()[0], b"to the broker").await;
    until(|| async { broker.turn_stats().unwrap().dropped == 2 }).await;
    let nothing = tokio::time::timeout(Duration::from_millis(50), heard(&peer)).await;
    assert!(nothing.is_err(), "{nothing:?}");
    // Not the other family either (RFC 8656, section 10.2), nor together with a good one.
    assert_eq!(client.permit("[2001:4860::1]:1".parse().unwrap()).await, Some(443));
    assert_eq!(client.permit("[::ffff:127.0.0.1]:1".parse().unwrap()).await, Some(443));
    assert_eq!(client.permit("8.8.8.8:1".parse().unwrap()).await, None);
}

#[tokio::test]
async fn refuses_mapped_addresses_of_an_ipv6_allocation() {
    let broker = broker(|turn| turn.host = Some("::1".into()));
    let mut client = client(&broker).await;
    let relayed = client.allocate_v6().await.unwrap();
    assert!(relayed.is_ipv6());
    for address in ["[::ffff:127.0.0.1]:1", "[::127.0.0.1]:1", "[64:ff9b::7f00:1]:1", "[2002:7f00:1::]:1", "[::]:1"] {
        let address: SocketAddr = address.parse().unwrap();
        assert_eq!(client.permit(address).await, Some(403), "{address}");
        assert_eq!(client.bind(0x4000, address).await, Some(403), "{address}");
    }
}

/// Two peers that both need the relay: one server's allocations reach each other, although its address is private.
#[tokio::test]
async fn allocations_reach_each_other() {
    let broker = broker(|_| {});
    let address = broker.turn_addresses()[0];
    let mut alice = Client::udp(address, credentials("alice")).await;
    let mut bob = Client::tcp(address, credentials("bob")).await;
    let (at_alice, at_bob) = (alice.allocate().await.unwrap(), bob.allocate().await.unwrap());
    assert_eq!(alice.permit(at_bob).await, None);
    alice.send_indication(at_bob, b"not yet permitted by bob").await;
    assert_eq!(bob.permit(at_alice).await, None);
    alice.send_indication(at_bob, b"hello").await;
    assert_eq!(bob.data().await, (at_alice, b"hello".to_vec()));
    assert_eq!(bob.bind(0x4001, at_alice).await, None);
    assert_eq!(alice.bind(0x4002, at_bob).await, None);
    bob.send_channel(0x4001, b"world!").await;
    assert_eq!(alice.channel_data().await, (0x4002, b"world!".to_vec()));
    // An allocation that is gone is nobody, not a port of this machine.
    assert_eq!(bob.refresh(0).await, Ok(0));
    let port = UdpSocket::bind(at_bob).await.unwrap();
    let dropped = broker.turn_stats().unwrap().dropped;
    alice.send_channel(0x4002, b"hello").await;
    until(|| async { broker.turn_stats().unwrap().dropped > dropped }).await;
    assert!(port.try_recv(&mut [0; 8]).is_err());
}

#[tokio::test]
async fn quotas_bound_a_user_an_address_and_all() {
    let broker = broker(|turn| {
        turn.max_user_allocations = 2;
        turn.max_ip_allocations = 3;
        turn.max_allocations = 4;
    });
    let address = broker.turn_addresses()[0];
    let mut kept = Vec::new();
    let mut results = Vec::new();
    for user in ["alice", "alice", "alice", "bob", "carol"] {
        let mut client = Client::udp(address, credentials(user)).await;
        results.push(client.allocate().await.map(|_| ()));
        kept.push(client);
    }
    // The third of alice is one too many for her; that of carol for the address of all.
    assert_eq!(results, [Ok(()), Ok(()), Err(486), Ok(()), Err(486)]);
    assert_eq!(kept[0].refresh(0).await, Ok(0));
    until(|| async { broker.turn_stats().unwrap().allocations == 2 }).await;
    assert!(kept[2].allocate().await.is_ok());
    let stats = broker.turn_stats().unwrap();
    assert_eq!((stats.allocations, stats.allocated, stats.refused), (3, 4, 2));
}

#[tokio::test]
async fn a_full_server_says_so() {
    for change in [
        |turn: &mut TurnOptions| turn.max_allocations = 1,
        |turn: &mut TurnOptions| {
            turn.relay_ports = 30_100..=30_100;
        },
    ] {
        let broker = broker(change);
        let mut first = client(&broker).await;
        let mut second = client(&broker).await;
        first.allocate().await.unwrap();
        assert_eq!(second.allocate().await, Err(508));
        assert_eq!(first.refresh(0).await, Ok(0));
        // Its socket is closed by its task.
        within(async { while second.allocate().await.is_err() {} }).await;
    }
}

#[tokio::test]
async fn lifetimes_are_bounded_and_end() {
    let broker = broker(|turn| {
        allow_loopback(turn);
        turn.max_lifetime = Duration::from_secs(2);
    });
    let mut client = client(&broker).await;
    client.allocate().await.unwrap();
    assert_eq!(client.refresh(100_000).await, Ok(2));
    until(|| async { broker.turn_stats().unwrap().allocations == 0 }).await;
    assert_eq!(client.permit("127.0.0.1:1".parse().unwrap()).await, Some(437));
    assert!(client.allocate().await.is_ok());
    drop(broker);
    let generous = local();
    let mut client = self::client(&generous).await;
    client.allocate().await.unwrap();
    assert_eq!(client.refresh(1).await, Ok(600));
    assert_eq!(client.refresh(100_000).await, Ok(3_600));
}

#[tokio::test]
async fn bandwidth_is_bounded() {
    let broker = broker(|turn| {
        allow_loopback(turn);
        turn.bandwidth = 10_000;
    });
    let mut client = client(&broker).await;
    client.allocate().await.unwrap();
    let (_peer, peer_address) = peer().await;
    assert_eq!(client.bind(0x4000, peer_address).await, None);
    for _ in 0..30 {
        client.send_channel(0x4000, &[0; 1_000]).await;
    }
    let seen = || async {
        let stats = broker.turn_stats().unwrap();
        stats.bytes_up / 1_000 + stats.dropped == 30
    };
    until(seen).await;
    let stats = broker.turn_stats().unwrap();
    assert!((10_000..20_000).contains(&stats.bytes_up), "{stats:?}");
}

#[tokio::test]
async fn closing_ends_allocations_and_frees_the_port() {
    let broker = local();
    let address = broker.turn_addresses()[0];
    let mut udp = client(&broker).await;
    let mut tcp = Client::tcp(address, credentials("alice")).await;
    let relayed = [udp.allocate().await.unwrap(), tcp.allocate().await.unwrap()];
    within(broker.close()).await;
    assert!(tcp.is_closed().await);
    for address in relayed.into_iter().chain([address]) {
        UdpSocket::bind(address).await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_ends_with_its_allocation_and_on_nonsense() {
    let broker = local();
    let address = broker.turn_addresses()[0];
    let mut client = Client::tcp(address, credentials("alice")).await;
    client.allocate().await.unwrap();
    drop(client);
    until(|| async { broker.turn_stats().unwrap().allocations == 0 }).await;
    for nonsense in [[0xff; 40], [0x80; 40]] {
        let client = Client::tcp(address, credentials("alice")).await;
        client.send_raw(&nonsense).await;
        assert!(client.is_closed().await);
    }
}

#[tokio::test]
async fn the_public_address_is_what_clients_hear() {
    let broker = broker(|turn| turn.address = Some("198.51.100.7".parse().unwrap()));
    let address = broker.turn_addresses()[0];
    let mut alice = Client::udp(address, credentials("alice")).await;
    let mut bob = Client::udp(address, credentials("bob")).await;
    let (at_alice, at_bob) = (alice.allocate().await.unwrap(), bob.allocate().await.unwrap());
    assert_eq!(at_alice.ip().to_string(), "198.51.100.7");
    // They need no NAT that sends the server's datagrams back to it.
    assert_eq!((alice.permit(at_bob).await, bob.permit(at_alice).await), (None, None));
    alice.send_indication(at_bob, b"hello").await;
    assert_eq!(bob.data().await, (at_alice, b"hello".to_vec()));
}

/// On a socket for all interfaces, each client gets answers from, and a relay on, the address that it has reached.
#[tokio::test]
async fn on_all_interfaces_the_address_is_the_one_that_was_reached() {
    let broker = broker(|turn| {
        turn.host = None;
        allow_loopback(turn);
    });
    let port = broker.turn_addresses()[0].port();
    for ip in ["127.0.0.1", "127.0.0.2"] {
        let server = SocketAddr::new(ip.parse().unwrap(), port);
        let mut client = Client::udp(server, credentials("alice")).await;
        assert_eq!(client.allocate().await.unwrap().ip(), server.ip());
    }
}

#[tokio::test]
async fn a_flood_from_one_address_is_not_answered_for_ever() {
    let broker = local();
    let mut client = client(&broker).await;
    for _ in 0..3_000 {
        client.send_request(method::BINDING).await;
        tokio::task::yield_now().await;
    }
    let answers = client.count_answers(Duration::from_millis(200)).await;
    assert!((100..2_000).contains(&answers), "{answers}");
}

#[tokio::test]
async fn tls_is_on_the_same_port() {
    let (files, roots) = certificate();
    let broker = broker(|turn| {
        allow_loopback(turn);
        turn.tls = Some(files.paths());
    });
    let address = broker.turn_addresses()[0];
    let mut client = tls_client(address, roots).await;
    let relayed = client.allocate().await.unwrap();
    let (peer, peer_address) = peer().await;
    assert_eq!(client.bind(0x4000, peer_address).await, None);
    let large = vec![5; 3_001];
    client.send_channel(0x4000, &large).await;
    let mut buffer = vec![0; 4_000];
    let (length, from) = within(peer.recv_from(&mut buffer)).await.unwrap();
    assert_eq!((&buffer[..length], from), (&large[..], relayed));
    peer.send_to(&large, relayed).await.unwrap();
    assert_eq!(client.channel_data().await, (0x4000, large));
    let mut plain = Client::tcp(address, credentials("bob")).await;
    plain.allocate().await.unwrap();
}

async fn tls_client(address: SocketAddr, roots: RootCertStore) -> Client {
    let tcp = TcpStream::connect(address).await.unwrap();
    let local = tcp.local_addr().unwrap();
    let tls = connect_tls(tcp, roots).await.unwrap();
    Client::stream(Box::new(tls), local, credentials("alice"))
}

#[tokio::test]
async fn a_wrong_certificate_is_an_error_of_the_start() {
    for content in ["", "no certificate"] {
        let (files, _) = certificate();
        std::fs::write(files.paths().1, content).unwrap();
        let options = options(|turn| turn.tls = Some(files.paths()));
        let listeners = Broker::listen(Some("127.0.0.1"), 0).unwrap();
        let error = Broker::start(listeners, options, &tokio::runtime::Handle::current()).unwrap_err();
        assert!(error.to_string().contains("key.pem"), "{error}");
    }
}

/// Runs a program of coturn's, if it is there.
async fn coturn(program: &str, args: &[&str]) -> Option<String> {
    let output = match Command::new(program).args(args).output().await {
        Ok(output) => output,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "{program}: {error}; install coturn");
            eprintln!("SKIPPED: {program} is not installed: {error}");
            return None;
        }
    };
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{program} {args:?}: {}\n{text}", output.status);
    Some(text)
}

#[tokio::test]
async fn coturns_stun_client_hears_its_address() {
    let broker = local();
    let port = broker.turn_addresses()[0].port().to_string();
    if let Some(text) = within(coturn("turnutils_stunclient", &["-p", &port, "127.0.0.1"])).await {
        assert!(text.contains("UDP reflexive addr: 127.0.0.1:"), "{text}");
    }
}

/// A peer that sends everything back.
async fn echo() -> SocketAddr {
    let (peer, address) = peer().await;
    tokio::spawn(async move {
        let mut buffer = [0; 65_536];
        while let Ok((length, from)) = peer.recv_from(&mut buffer).await {
            let _ = peer.send_to(&buffer[..length], from).await;
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coturns_client_relays_over_every_transport() {
    let (files, _) = certificate();
    let broker = broker(|turn| {
        allow_loopback(turn);
        turn.tls = Some(files.paths());
    });
    let port = broker.turn_addresses()[0].port().to_string();
    let peer = echo().await.port().to_string();
    // Channels and Send indications, to a peer and between two allocations, with padding and without.
    let runs = [
        &["-e", "127.0.0.1", "-r", &peer][..],
        &["-s", "-e", "127.0.0.1", "-r", &peer],
        &["-D", "-y"],
        &["-s", "-y"],
        &["-t", "-e", "127.0.0.1", "-r", &peer],
        &["-t", "-s", "-y"],
        &["-t", "-S", "-y"],
        &["-t", "-S", "-s", "-e", "127.0.0.1", "-r", &peer],
    ]
    .map(|run| {
        let args = ["-u", "alice", "-W", SECRET, "-p", &port, "-c", "-n", "20", "-z", "2"];
        [&args, run, &["127.0.0.1"]].concat()
    });
    let runs = runs.iter().map(|args| async move {
        // It picks a version of TLS by lot, and gives up without a word where that is an old one.
        for _ in 0..30 {
            let text = coturn("turnutils_uclient", args).await?;
            if text.contains("Total transmit time") {
                assert!(text.contains("lost packets 0 (0.000000%)"), "{args:?}\n{text}");
                return Some(());
            }
            assert!(args.contains(&"-S"), "{args:?}\n{text}");
        }
        panic!("{args:?} never connected");
    });
    if within(futures_util::future::join_all(runs)).await.contains(&None) {
        return;
    }
    let stats = broker.turn_stats().unwrap();
    assert_eq!(stats.refused, 0, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coturns_client_with_a_wrong_secret_is_refused() {
    let broker = local();
    let port = broker.turn_addresses()[0].port().to_string();
    let args = ["-u", "alice", "-W", "south", "-p", &port, "-c", "-y", "-n", "1", "127.0.0.1"];
    let output = match Command::new("turnutils_uclient").args(args).kill_on_drop(true).output().await {
        Ok(output) => output,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "{error}");
            return eprintln!("SKIPPED: turnutils_uclient is not installed: {error}");
        }
    };
    assert!(!output.status.success());
    assert_eq!(broker.turn_stats().unwrap().allocated, 0);
}
