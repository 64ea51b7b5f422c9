//! [`Options`] as JSON, with the names of `index.d.ts`: for whoever comes from another language. What is absent is as the
//! default has it.

use std::time::Duration;

use linkup_core::Timeouts;
use linkup_proto::PeerId;
use linkup_proto::key::decode;
use linkup_proto::limits::MAX_METADATA_BYTES;
use serde::Deserialize;

use crate::options::{ChannelOptions, IceServer, Limits, Options};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Json {
    id: String,
    brokers: Option<Vec<String>>,
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

#[derive(Deserialize, Default)]
#[serde(default)]
struct Times {
    connect: Option<u64>,
    idle: Option<u64>,
    close: Option<u64>,
    broker: Option<u64>,
    resume: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Bounds {
    message_bytes: Option<usize>,
    buffered_bytes: Option<usize>,
    high_water_mark: Option<usize>,
    connections: Option<usize>,
}

fn yes() -> bool {
    true
}

impl Options {
    /// Reads them from JSON, without the keeper. Only `id` has to be there.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let json: Json = serde_json::from_str(text).map_err(|error| error.to_string())?;
        json.read()
    }
}

impl Json {
    fn read(self) -> Result<Options, String> {
        let id = PeerId::new(&self.id).map_err(|why| why.to_string())?;
        let mut options = Options::new(id);
        if let Some(brokers) = self.brokers.filter(|brokers| !brokers.is_empty()) {
            options.brokers = brokers;
        }
        options.token = self.token;
        if self.metadata.as_ref().is_some_and(|any| any.to_string().len() > MAX_METADATA_BYTES) {
            return Err(format!("metadata has more than {MAX_METADATA_BYTES} bytes"));
        }
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
        options.relay_only = match self.ice_transport_policy.as_deref() {
            None | Some("all") => false,
            Some("relay") => true,
            Some(_) => return Err("iceTransportPolicy is \"all\" or \"relay\"".to_owned()),
        };
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
        let Times { connect, idle, close, broker, resume } = self.timeouts.unwrap_or_default();
        let usual = Timeouts::default();
        let ms = |given: Option<u64>, usual| given.map_or(usual, Duration::from_millis);
        options.timeouts = Timeouts {
            connect: ms(connect, usual.connect),
            idle: ms(idle, usual.idle),
            close: ms(close, usual.close),
            broker: ms(broker, usual.broker),
            resume: ms(resume, usual.resume),
        };
        let Bounds { message_bytes, buffered_bytes, high_water_mark, connections } = self.limits.unwrap_or_default();
        let usual = Limits::default();
        options.limits = Limits {
            message_bytes: message_bytes.unwrap_or(usual.message_bytes),
            buffered_bytes: buffered_bytes.unwrap_or(usual.buffered_bytes),
            high_water_mark: high_water_mark.unwrap_or(usual.high_water_mark),
            connections: connections.unwrap_or(usual.connections),
        };
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_absent_is_as_the_default_has_it() {
        let read = Options::from_json(r#"{"id": "a", "timeouts": {"idle": 5}, "limits": {"connections": 2}}"#).unwrap();
        let usual = Options::new(PeerId::new("a").unwrap());
        assert_eq!((read.id, read.brokers, read.trickle), (usual.id, usual.brokers, true));
        assert_eq!((read.timeouts.idle, read.timeouts.close), (Duration::from_millis(5), usual.timeouts.close));
        assert_eq!(read.limits, Limits { connections: 2, ..usual.limits });
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, why) in [
            ("", "EOF"),
            ("{}", "missing field `id`"),
            (r#"{"id": ""}"#, "an id must not be empty"),
            (r#"{"id": "a", "privateKey": "x"}"#, "no private key"),
            (&format!(r#"{{"id": "a", "metadata": "{}"}}"#, "x".repeat(16_383)), "more than 16384 bytes"),
            (r#"{"id": "a", "iceTransportPolicy": "Relay"}"#, "iceTransportPolicy is"),
            (r#"{"id": "a", "timeouts": {"idle": -1}}"#, "invalid value"),
        ] {
            let said = Options::from_json(text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }
}
