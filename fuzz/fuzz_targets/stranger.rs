//! Whatever comes to the socket of a connection whose keys are not agreed yet: a STUN message, and packets among those of a
//! DTLS handshake, which may be changed, lost and repeated on their way.
#![no_main]

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use linkup_fuzz::steps;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::Endpoint;
use rtc_shared::TransportProtocol;
use rtc_stun::message::Message;

/// As rtc has it: all that is under one connection has one address.
const REMOTE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5000);

/// Those of the server and of the client.
fn configs() -> &'static [Arc<HandshakeConfig>; 2] {
    static CONFIGS: OnceLock<[Arc<HandshakeConfig>; 2]> = OnceLock::new();
    CONFIGS.get_or_init(|| {
        let provider = rtc_dtls::crypto_provider::default_provider().expect("cryptography");
        [false, true].map(|is_client| {
            let certificate = Certificate::generate_self_signed(vec!["x".to_owned()], provider.crypto());
            let config = ConfigBuilder::default()
                .with_crypto_provider(provider.clone())
                .with_certificates(vec![certificate.expect("a certificate")])
                .with_client_auth(ClientAuthType::RequireAnyClientCert)
                .with_insecure_skip_verify(true)
                .with_extended_master_secret(ExtendedMasterSecretType::Require)
                .build(is_client, None);
            Arc::new(config.expect("a configuration"))
        })
    })
}

fn packets(end: &mut Endpoint) -> Vec<BytesMut> {
    std::iter::from_fn(|| end.poll_transmit()).map(|packet| packet.message).collect()
}

fuzz_target!(|data: &[u8]| {
    let mut message = Message::new();
    message.raw = data.to_vec();
    let _ = message.decode();

    let [server, client] = configs();
    let mut now = Instant::now();
    let mut ends = [Some(server.clone()), None].map(|config| Endpoint::new(REMOTE, TransportProtocol::UDP, config));
    ends[1].connect(now, REMOTE, client.clone(), None).expect("a handshake");
    let mut old = BytesMut::new();
    for ([kind, to, _], step) in steps(data) {
        let to = usize::from(to % 2);
        match (kind % 4, step) {
            (0, raw) => drop(ends[to].read(now, REMOTE, None, BytesMut::from(raw))),
            (1, [hundredths, ..]) => {
                now += Duration::from_millis(10 * u64::from(*hundredths));
                for end in &mut ends {
                    let _ = end.handle_timeout(REMOTE, now);
                }
            }
            (2, _) => drop(ends[to].read(now, REMOTE, None, old.clone())),
            // What the other has to say, with changes: where, and to what.
            (_, changes) => {
                for mut packet in packets(&mut ends[1 - to]) {
                    for change in changes.chunks_exact(3) {
                        let at = usize::from(u16::from_be_bytes([change[0], change[1]]));
                        match packet.len() {
                            length if at < length => packet[at] = change[2],
                            length => packet.truncate(length.saturating_sub(usize::from(change[2]))),
                        }
                    }
                    old = packet.clone();
                    let _ = ends[to].read(now, REMOTE, None, packet);
                }
            }
        }
    }
});
