//! The options of a Peer, as `js/options.js` hands them over: checked there, read here.

use std::time::Duration;

use linkup_driver::core::Timeouts;
use linkup_driver::{ChannelOptions, IceServer, Limits, Options};
use linkup_proto::PeerId;
use linkup_proto::key::decode;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerOptions {
    id: String,
    brokers: Vec<String>,
    #[serde(default)]
    pub embedded: bool,
    token: Option<String>,
    metadata: Option<serde_json::Value>,
    private_key: Option<String>,
    login: Option<String>,
    #[serde(default)]
    verifies: bool,
    #[serde(default)]
    asks: bool,
    #[serde(default)]
    transforms: bool,
    #[serde(default = "yes")]
    trickle: bool,
    ice_complete_timeout: Option<u64>,
    ice_servers: Option<Vec<Server>>,
    ice_transport_policy: Option<String>,
    channel_name: Option<String>,
    channel_config: Option<Channel>,
    timeouts: Option<Times>,
    limits: Option<Bounds>,
}

#[derive(Deserialize)]
struct Server {
    urls: Vec<String>,
    #[serde(default)]
    username: String,
    #[serde(default)]
    credential: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Channel {
    #[serde(default = "yes")]
    ordered: bool,
    max_retransmits: Option<u16>,
    max_packet_life_time: Option<u16>,
    #[serde(default)]
    protocol: String,
    #[serde(default)]
    negotiated: bool,
    id: Option<u16>,
}

#[derive(Deserialize)]
struct Times {
    connect: u64,
    idle: u64,
    close: u64,
    broker: u64,
    resume: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bounds {
    message_bytes: usize,
    buffered_bytes: usize,
    high_water_mark: usize,
    connections: usize,
}

fn yes() -> bool {
    true
}

impl PeerOptions {
    /// The driver's options, without the keeper.
    ///
    /// # Errors
    /// A sentence about the id.
    pub fn into_driver(self) -> Result<Options, String> {
        let id = PeerId::new(&self.id).map_err(|why| why.to_string())?;
        let mut options = Options::new(id);
        options.brokers = self.brokers;
        options.token = self.token;
        options.metadata = self.metadata;
        options.identity = self.private_key.map(|key| decode(&key).ok_or("no private key")).transpose()?;
        options.login = self.login;
        options.verifies = self.verifies;
        options.asks = self.asks;
        options.transforms = self.transforms;
        options.trickle = self.trickle;
        if let Some(ms) = self.ice_complete_timeout {
            options.ice_complete_timeout = Duration::from_millis(ms);
        }
        let server = |s: Server| IceServer { urls: s.urls, username: s.username, credential: s.credential };
        options.ice_servers = self.ice_servers.map(|servers| servers.into_iter().map(server).collect());
        options.relay_only = self.ice_transport_policy.as_deref() == Some("relay");
        options.channel_name = self.channel_name;
        if let Some(channel) = self.channel_config {
            options.channel = ChannelOptions {
                ordered: channel.ordered,
                max_retransmits: channel.max_retransmits,
                max_packet_life_time: channel.max_packet_life_time,
                protocol: channel.protocol,
                negotiated: channel.id.filter(|_| channel.negotiated),
            };
        }
        if let Some(times) = self.timeouts {
            let ms = Duration::from_millis;
            options.timeouts = Timeouts {
                connect: ms(times.connect),
                idle: ms(times.idle),
                close: ms(times.close),
                broker: ms(times.broker),
                resume: ms(times.resume),
            };
        }
        if let Some(bounds) = self.limits {
            options.limits = Limits {
                message_bytes: bounds.message_bytes,
                buffered_bytes: bounds.buffered_bytes,
                high_water_mark: bounds.high_water_mark,
                connections: bounds.connections,
            };
        }
        Ok(options)
    }
}
