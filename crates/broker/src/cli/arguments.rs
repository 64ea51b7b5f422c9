//! What the options of the command line mean. Knows nothing of what is done then.

use std::path::PathBuf;
use std::time::Duration;

use super::log::{Filter, Format};
use super::values::Values;
use crate::turn::Cidr;
use crate::{Options, RedisOptions, Secret, TurnOptions};

const DEFAULT_PORT: u16 = 5000;
const DEFAULT_DRAIN: Duration = Duration::from_secs(8);

/// What to run.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) port: u16,
    pub(super) host: Option<String>,
    pub(super) log: Filter,
    pub(super) format: Format,
    pub(super) drain: Duration,
    pub(super) options: Options,
}

/// Reads the values. `files` are served where no others are named.
pub(super) fn settings(values: &mut Values, files: Option<PathBuf>) -> Result<Settings, lexopt::Error> {
    let port = values.parse("port", "a number from 0 to 65535")?.unwrap_or(DEFAULT_PORT);
    let host = values.text("host")?;
    let log = values.text("log")?.unwrap_or_else(|| "info".to_owned()).parse::<Filter>()?;
    let format = values.text("log-format")?.map_or(Ok(Format::Text), |format| format.parse())?;
    let drain = seconds(values, "drain")?.unwrap_or(DEFAULT_DRAIN);
    let mut options = Options { files: values.take("files").map(PathBuf::from).or(files), ..Options::default() };
    let origins = values.parsed("origin")?;
    options.origins = (!origins.is_empty()).then_some(origins);
    options.tls = values.pair("tls-cert", "tls-key")?;
    options.trusted_proxies = values.parsed("trusted-proxies")?;
    if let Some(blocks) = metrics_from(values)? {
        options.metrics_from = blocks;
    }
    limits(values, &mut options)?;
    let secrets = |list: Vec<String>| list.into_iter().map(Secret::new).collect();
    options.auth.secrets = secrets(values.list("auth-secret")?);
    options.auth.jwt_secrets = secrets(values.list("jwt-secret")?);
    options.auth.jwt_keys = values.list("jwt-key")?.into_iter().map(Into::into).collect();
    options.auth.audience = values.text("jwt-audience")?;
    options.auth.issuer = values.text("jwt-issuer")?;
    options.turn_secret = values.text("turn-secret")?.map(Secret::new);
    options.turn_ttl = seconds(values, "turn-ttl")?.unwrap_or(options.turn_ttl);
    options.ice_urls = values.list("ice-url")?;
    if let Some(bytes) = values.parse("relay", "a whole number")? {
        options.relay = (bytes > 0).then_some(bytes);
    }
    options.redis = redis(values)?;
    let no_turn = values.switch("no-turn")?;
    options.turn = turn(values, host.as_deref())?.filter(|_| !no_turn);
    Ok(Settings { port, host, log, format, drain, options })
}

fn seconds(values: &mut Values, name: &str) -> Result<Option<Duration>, lexopt::Error> {
    Ok(values.parse(name, "a number of seconds")?.map(Duration::from_secs))
}

fn metrics_from(values: &mut Values) -> Result<Option<Vec<Cidr>>, lexopt::Error> {
    let list = values.list("metrics-from")?;
    let parse = |text: &String| text.parse().map_err(|error| format!("--metrics-from: {error}"));
    match &list[..] {
        [] => Ok(None),
        [none] if none == "none" => Ok(Some(Vec::new())),
        [all] if all == "all" => Ok(Some(Cidr::ALL.to_vec())),
        list => Ok(Some(list.iter().map(parse).collect::<Result<_, _>>()?)),
    }
}

fn limits(values: &mut Values, options: &mut Options) -> Result<(), lexopt::Error> {
    values.set("max-sockets", &mut options.max_sockets)?;
    options.handshake_timeout = seconds(values, "handshake-timeout")?.unwrap_or(options.handshake_timeout);
    options.ping_interval = seconds(values, "ping-interval")?.unwrap_or(options.ping_interval);
    let limits = &mut options.limits;
    values.set("frame-bytes", &mut limits.frame_bytes)?;
    values.set("queue-frames", &mut limits.queue_frames)?;
    values.set("queue-bytes", &mut limits.queue_bytes)?;
    values.set("socket-messages", &mut limits.socket_messages)?;
    values.set("socket-bytes", &mut limits.socket_bytes)?;
    values.set("address-sockets", &mut limits.address_sockets)?;
    values.set("address-messages", &mut limits.address_messages)?;
    values.set("address-bytes", &mut limits.address_bytes)?;
    limits.loopback = values.switch("loopback-limits")?;
    Ok(())
}

/// The options of many brokers; none where this one is alone.
fn redis(values: &mut Values) -> Result<Option<RedisOptions>, lexopt::Error> {
    let (urls, prefix) = (values.list("redis")?, values.text("redis-prefix")?);
    let lease: Option<f64> = values.parse("redis-lease", "a number of seconds")?;
    let Some((first, rest)) = urls.split_first() else { return Ok(None) };
    let mut redis = RedisOptions::new(first);
    redis.urls.extend_from_slice(rest);
    redis.prefix = prefix.unwrap_or(redis.prefix);
    if let Some(lease) = lease {
        redis.lease = Duration::try_from_secs_f64(lease).map_err(|error| format!("--redis-lease: {error}"))?;
    }
    Ok(Some(redis))
}

/// The options of TURN; none where there is no reason for it.
fn turn(values: &mut Values, host: Option<&str>) -> Result<Option<TurnOptions>, lexopt::Error> {
    let port = values.parse("turn-port", "a number from 0 to 65535")?;
    let mut turn = TurnOptions { host: host.map(str::to_owned), optional: port.is_none(), ..TurnOptions::default() };
    turn.port = port.unwrap_or(turn.port);
    turn.address = values.parse("turn-address", "an IP address")?;
    turn.name = values.text("turn-name")?;
    if let Some(ports) = values.text("turn-ports")? {
        let range = ports.split_once('-').and_then(|(a, b)| Some(a.parse().ok()?..=b.parse().ok()?));
        let valid = range.filter(|range| !range.is_empty() && *range.start() > 0);
        turn.relay_ports =
            valid.ok_or_else(|| format!("--turn-ports is a range such as 49152-65535, not {ports:?}"))?;
    }
    turn.allow = values.parsed("turn-allow")?;
    turn.tls = values.pair("turn-cert", "turn-key")?;
    values.set("turn-allocations", &mut turn.max_allocations)?;
    values.set("turn-user-allocations", &mut turn.max_user_allocations)?;
    values.set("turn-address-allocations", &mut turn.max_ip_allocations)?;
    values.set("turn-connections", &mut turn.max_connections)?;
    values.set("turn-bandwidth", &mut turn.bandwidth)?;
    Ok((port.is_some() || host.is_none()).then_some(turn))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::table::{CONFIG, entries};
    use super::super::values::{Asked, read};
    use super::*;
    use crate::Origin;

    fn parse(args: &[&str], variables: &[(&str, &str)]) -> Result<Settings, String> {
        let variable = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        match read(args.iter().map(Into::into), variable).map_err(|error| error.to_string())? {
            Asked::Run(mut values) => {
                let settings = settings(&mut values, None).map_err(|error| error.to_string())?;
                assert_eq!(values.rest(), [""; 0]);
                Ok(settings)
            }
            other => Err(format!("{other:?}")),
        }
    }

    /// A file of a test, removed at the end of it.
    struct File(PathBuf);

    impl File {
        fn new(name: &str, content: &str) -> Self {
            let path = std::env::temp_dir().join(format!("linkup-broker-{name}-{}.toml", std::process::id()));
            std::fs::write(&path, content).unwrap();
            Self(path)
        }

        fn path(&self) -> &str {
            self.0.to_str().unwrap()
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn options_come_before_variables_and_those_before_defaults() {
        let run = |args: &[&str], variables: &[(&str, &str)]| {
            let Settings { port, host, log, options, .. } = parse(args, variables).unwrap();
            (port, host, options.files, log)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(run(&[], &[]), (5000, None, None, "info".parse().unwrap()));
        let variables = [("PORT", "1"), ("HOST", "h"), ("LINKUP_FILES", "f"), ("LINKUP_LOG", "warn")];
        assert_eq!(run(&[], &variables), (1, some("h"), Some("f".into()), "warn".parse().unwrap()));
        let args = ["--port=2", "--host", "g", "--files", "e", "--log", "debug"];
        assert_eq!(run(&args, &variables), (2, some("g"), Some("e".into()), "debug".parse().unwrap()));
        assert_eq!(run(&[], &[("PORT", ""), ("HOST", "")]), (5000, None, None, "info".parse().unwrap()));
    }

    #[test]
    fn turn_is_on_where_the_network_is() {
        let turn = |args: &[&str]| parse(args, &[]).unwrap().options.turn;
        let default = turn(&[]).unwrap();
        assert_eq!((default.port, default.optional), (3478, true));
        assert!(turn(&["--no-turn"]).is_none() && turn(&["--host", "localhost"]).is_none());
        let asked = turn(&["--host", "localhost", "--turn-port", "0"]).unwrap();
        assert_eq!((asked.port, asked.optional, asked.host.as_deref()), (0, false, Some("localhost")));
    }

    #[test]
    fn reads_the_options_of_turn() {
        let args = ["--turn-allow", "10.0.0.0/8", "--turn-allow=::1, 127.0.0.1", "--ice-url", "stun:a,stun:b"];
        let more = ["--turn-ports", "1000-2000", "--turn-address", "192.0.2.1", "--turn-ttl", "60"];
        let Settings { options, .. } = parse(&[&args[..], &more].concat(), &[("LINKUP_TURN_SECRET", "north")]).unwrap();
        assert_eq!(options.ice_urls, ["stun:a", "stun:b"]);
        assert_eq!((options.turn_ttl, options.turn_secret), (Duration::from_secs(60), Some(Secret::new("north"))));
        let turn = options.turn.unwrap();
        let allow: Vec<_> = turn.allow.iter().map(ToString::to_string).collect();
        assert_eq!(allow, ["10.0.0.0/8", "::1/128", "127.0.0.1/32"]);
        assert_eq!((turn.relay_ports, turn.address), (1000..=2000, Some([192, 0, 2, 1].into())));
    }

    #[test]
    fn reads_the_options_of_redis() {
        let redis = |args: &[&str], variables: &[(&str, &str)]| parse(args, variables).unwrap().options.redis;
        assert!(redis(&[], &[]).is_none() && redis(&["--redis-lease", "5"], &[]).is_none());
        let one = redis(&[], &[("LINKUP_REDIS", "redis://a")]).unwrap();
        assert_eq!(
            (one.urls, one.prefix, one.lease),
            (vec!["redis://a".into()], "linkup".into(), Duration::from_secs(30))
        );
        let args =
            ["--redis", "redis://a,redis://b", "--redis=redis://c", "--redis-prefix", "p", "--redis-lease", "0.5"];
        let three = redis(&args, &[("LINKUP_REDIS", "redis://d")]).unwrap();
        assert_eq!(three.urls, ["redis://a", "redis://b", "redis://c"]);
        assert_eq!((three.prefix.as_str(), three.lease), ("p", Duration::from_millis(500)));
    }

    #[test]
    fn reads_origins() {
        let origins = |args: &[&str], variables: &[(&str, &str)]| parse(args, variables).unwrap().options.origins;
        assert_eq!(origins(&[], &[]), None);
        let https: Origin = "https://example.org".parse().unwrap();
        assert_eq!(origins(&["--origin", "https://example.org,localhost"], &[]), Some(vec![https, Origin::Localhost]));
        assert_eq!(origins(&[], &[("LINKUP_ORIGIN", "localhost")]), Some(vec![Origin::Localhost]));
    }

    #[test]
    fn says_what_is_wrong() {
        for (args, part) in [
            (&["--port"][..], "--port"),
            (&["--port", "65536"], "65535"),
            (&["--port", "http"], "\"http\""),
            (&["--colour"], "--colour"),
            (&["-x"], "-x"),
            (&["start"], "start"),
            (&["--turn-port", "x"], "--turn-port"),
            (&["--turn-ports", "2000-1000"], "2000-1000"),
            (&["--turn-ports", "0-1000"], "0-1000"),
            (&["--turn-address", "a.example"], "a.example"),
            (&["--turn-allow", "10.0.0.0/33"], "10.0.0.0/33"),
            (&["--turn-ttl", "soon"], "soon"),
            (&["--origin", "example.org"], "example.org"),
            (&["--tls-cert", "cert.pem"], "--tls-key"),
            (&["--turn-key", "key.pem"], "--turn-cert"),
            (&["--log", "loud"], "loud"),
            (&["--log-format", "xml"], "xml"),
            (&["--socket-bytes", "-1"], "--socket-bytes"),
            (&["--drain", "soon"], "--drain"),
            (&["--redis-lease", "long"], "long"),
            (&["--redis", "redis://a", "--redis-lease", "-1"], "--redis-lease"),
            (&["--trusted-proxies", "proxy"], "--trusted-proxies"),
            (&["--metrics-from", "none,all"], "--metrics-from"),
        ] {
            let error = parse(args, &[]).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn help_and_version_need_nothing_else() {
        assert_eq!(parse(&["--port", "1", "--help"], &[("PORT", "x")]).unwrap_err(), "Help");
        assert_eq!(parse(&["-V"], &[]).unwrap_err(), "Version");
    }

    #[test]
    fn the_file_comes_last() {
        let file = File::new("last", "port = 1\nhost = \"f\"\nlog = \"warn\"\nsocket-bytes = 7\n");
        let settings = parse(&["--config", file.path(), "--port", "3"], &[("HOST", "h"), ("PORT", "2")]).unwrap();
        assert_eq!((settings.port, settings.host.as_deref(), settings.log), (3, Some("h"), "warn".parse().unwrap()));
        assert_eq!(settings.options.limits.socket_bytes, 7);
        assert_eq!(parse(&[], &[("LINKUP_CONFIG", file.path())]).unwrap().port, 1);
        let wrong = File::new("wrong", "prot = 1");
        let error = parse(&["--config", wrong.path()], &[]).unwrap_err();
        assert!(error.contains("prot") && error.contains(wrong.path()), "{error}");
        assert!(parse(&["--config", "/does/not/exist"], &[]).unwrap_err().contains("/does/not/exist"));
    }

    #[test]
    fn every_option_is_read_from_everywhere() {
        for entry in entries().filter(|entry| entry.name != CONFIG) {
            let value = match entry.name {
                "port" | "turn-port" => "0",
                "origin" => "localhost",
                "log" => "off",
                "log-format" => "json",
                "turn-address" => "192.0.2.1",
                "turn-ports" => "1-2",
                "turn-allow" | "trusted-proxies" | "metrics-from" => "10.0.0.0/8",
                _ if entry.is_switch() => "true",
                _ => "30000",
            };
            // What a pair needs.
            let other = match entry.name.rsplit_once('-') {
                Some((of, "cert")) => Some(format!("--{of}-key")),
                Some(("redis", _)) => Some("--redis".to_owned()),
                Some((of @ ("tls" | "turn"), "key")) => Some(format!("--{of}-cert")),
                _ => None,
            };
            let pair: Vec<&str> = other.iter().flat_map(|flag| [flag.as_str(), "f"]).collect();
            let default = format!("{:?}", parse(&[], &[]).unwrap());
            let flag = format!("--{}", entry.name);
            let flags = if entry.is_switch() { vec![flag.as_str()] } else { vec![flag.as_str(), value] };
            let given = format!("{:?}", parse(&[&flags[..], &pair].concat(), &[]).unwrap());
            let variable = format!("{:?}", parse(&pair, &[(entry.variable, value)]).unwrap());
            let file = File::new(entry.name, &format!("{} = \"{value}\"", entry.name));
            let file = format!("{:?}", parse(&[&["--config", file.path()][..], &pair].concat(), &[]).unwrap());
            assert_eq!((&given, &given), (&variable, &file), "{flag}");
            // Secrets are not printed.
            assert!(given != default || entry.name.contains("secret") || entry.name.starts_with("jwt-"), "{flag}");
        }
    }

    #[test]
    fn the_defaults_are_as_the_help_says() {
        let default = format!("{:?}", parse(&[], &[]).unwrap());
        // One that is asked for is not optional.
        let numbers =
            entries().filter(|entry| entry.default.starts_with(char::is_numeric) && entry.name != "turn-port");
        for entry in numbers {
            let flag = format!("--{}", entry.name);
            assert_eq!(format!("{:?}", parse(&[&flag, entry.default], &[]).unwrap()), default, "{flag}");
        }
    }

    #[test]
    fn reads_limits_and_authorisation() {
        let args = ["--socket-messages", "5", "--loopback-limits", "--auth-secret", "a,b", "--jwt-audience", "chat"];
        let more =
            ["--metrics-from", "all", "--jwt-key", "k.pem", "--trusted-proxies", "10.0.0.0/8,::1", "--drain", "0"];
        let Settings { options, drain, .. } = parse(&[&args[..], &more].concat(), &[]).unwrap();
        assert_eq!((options.limits.socket_messages, options.limits.loopback), (5, true));
        assert_eq!(options.auth.secrets, [Secret::new("a"), Secret::new("b")]);
        assert_eq!(options.auth.jwt_keys, [PathBuf::from("k.pem")]);
        assert_eq!(options.auth.audience.as_deref(), Some("chat"));
        assert_eq!((options.trusted_proxies.len(), drain), (2, Duration::ZERO));
        assert!(options.metrics_from.iter().any(|block| block.contains([8, 8, 8, 8].into())));
        assert_eq!(parse(&["--metrics-from", "none"], &[]).unwrap().options.metrics_from, []);
        assert!(!parse(&[], &[("LINKUP_LOOPBACK_LIMITS", "0")]).unwrap().options.limits.loopback);
    }
}
