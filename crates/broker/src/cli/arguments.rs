//! The arguments of the command line, and the environment variables beside them. Knows nothing of what is done then.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::str::FromStr;
use std::time::Duration;

use lexopt::prelude::*;

use crate::{Options, Secret, TurnOptions};

pub(super) const HELP: &str = "\
linkup-broker: introduces peers to each other by their ids

Usage: linkup-broker [OPTIONS]

Peers connect to it with a WebSocket, register an id, and exchange through it what
they need to connect to each other. Their messages do not go through it, except,
encrypted, those of peers that reach each other only through its TURN server.

Options:
      --port N       the port to listen on, 0 for any free one   [PORT, default 5000]
      --host H       the interface to listen on: a name or an address; `localhost` for
                     this machine only                           [HOST, default all]
      --origin O     let only web pages of this origin in, such as https://example.org, or
                     `localhost` for those of this machine; again for more, or with
                     commas. Programs are not asked.   [LINKUP_ORIGIN, default all pages]
      --files DIR    serve the static files of DIR over HTTP     [LINKUP_FILES]
      --log FILTER   what to log on stderr: error, warn, info, debug, or a filter of
                     Rust's tracing                              [LINKUP_LOG, default info]
  -h, --help         show this
  -V, --version      show the version

STUN and TURN, for peers that cannot reach each other: on by default on all
interfaces, otherwise with --turn-port. Peers get credentials from the broker.
      --no-turn          none
      --turn-port N      the port, of UDP and TCP alike, 0 for any free one
                                                       [LINKUP_TURN_PORT, default 3478]
      --turn-address IP  the public address of this machine behind a 1:1 NAT, or where
                         a proxy is before the broker           [LINKUP_TURN_ADDRESS]
      --turn-name H      the host in the URLs: the name in the certificate
                                                                [LINKUP_TURN_NAME]
      --turn-ports A-B   the ports of relayed addresses
                                           [LINKUP_TURN_PORTS, default 49152-65535]
      --turn-allow CIDR  relay to these private addresses too; again for more, or with
                         commas                                 [LINKUP_TURN_ALLOW]
      --turn-secret S    what credentials are made with: rather by the variable
                                               [LINKUP_TURN_SECRET, default random]
      --turn-ttl N       seconds for which credentials are good
                                                 [LINKUP_TURN_TTL, default 3600]
      --tls-cert FILE    certificate chain and key, PEM: TURN over TLS too, on the
      --tls-key FILE     same port                [LINKUP_TLS_CERT, LINKUP_TLS_KEY]
      --ice-url URL      another server to tell peers of: stun:, turn: or turns:, which
                         has the same --turn-secret (coturn: use-auth-secret); again
                         for more, or with commas                  [LINKUP_ICE_URL]

Each option can also be given as the environment variable in brackets.

Examples:
  linkup-broker                               # ws://localhost:5000, open to the network
  linkup-broker --host localhost              # for this machine only
  linkup-broker --port 8080 --files public    # with a page at http://localhost:8080

The broker itself has no TLS: on the internet put it behind a proxy that has, and use
wss:// there. Peers must reach the TURN port directly.
GET /healthz answers 200. SIGTERM and Ctrl-C tell the peers to move on, and end it.
";

const DEFAULT_PORT: u16 = 5000;

/// What to do.
#[derive(Debug)]
pub(super) enum Command {
    Help,
    Version,
    Run { port: u16, host: Option<String>, log: String, options: Box<Options> },
}

/// The options with a value, and the environment variables that give it where the option is missing.
const VALUES: [(&str, &str); 15] = [
    ("port", "PORT"),
    ("host", "HOST"),
    ("origin", "LINKUP_ORIGIN"),
    ("files", "LINKUP_FILES"),
    ("log", "LINKUP_LOG"),
    ("turn-port", "LINKUP_TURN_PORT"),
    ("turn-address", "LINKUP_TURN_ADDRESS"),
    ("turn-name", "LINKUP_TURN_NAME"),
    ("turn-ports", "LINKUP_TURN_PORTS"),
    ("turn-allow", "LINKUP_TURN_ALLOW"),
    ("turn-secret", "LINKUP_TURN_SECRET"),
    ("turn-ttl", "LINKUP_TURN_TTL"),
    ("tls-cert", "LINKUP_TLS_CERT"),
    ("tls-key", "LINKUP_TLS_KEY"),
    ("ice-url", "LINKUP_ICE_URL"),
];

/// Those of which there may be several.
const LISTS: [&str; 3] = ["origin", "turn-allow", "ice-url"];

/// The values that were given, by the names of the options.
struct Values(BTreeMap<&'static str, Vec<OsString>>);

impl Values {
    fn take(&mut self, name: &str) -> Option<OsString> {
        self.0.remove(name).and_then(|mut values| values.pop())
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, lexopt::Error> {
        self.take(name).map(OsString::string).transpose()
    }

    fn parse<T: FromStr>(&mut self, name: &str, what: &str) -> Result<Option<T>, lexopt::Error> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let parsed = value.to_str().and_then(|text| text.parse().ok());
        let wrong = || format!("--{name} is {what}, not {:?}", value.to_string_lossy());
        parsed.map(Some).ok_or_else(|| wrong().into())
    }

    fn list(&mut self, name: &str) -> Result<Vec<String>, lexopt::Error> {
        let mut list = Vec::new();
        for values in self.0.remove(name).unwrap_or_default() {
            list.extend(values.string()?.split(',').map(|value| value.trim().to_owned()));
        }
        list.retain(|value| !value.is_empty());
        Ok(list)
    }
}

pub(super) fn parse(
    args: impl Iterator<Item = OsString>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Command, lexopt::Error> {
    let mut given: BTreeMap<&str, Vec<OsString>> = BTreeMap::new();
    let mut no_turn = false;
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next()? {
        let known = match arg {
            Short('h') | Long("help") => return Ok(Command::Help),
            Short('V') | Long("version") => return Ok(Command::Version),
            Long("no-turn") => {
                no_turn = true;
                continue;
            }
            Long(name) => VALUES.iter().map(|(option, _)| *option).find(|option| *option == name),
            _ => None,
        };
        let Some(name) = known else { return Err(arg.unexpected()) };
        let values = given.entry(name).or_default();
        if !LISTS.contains(&name) {
            values.clear();
        }
        values.push(parser.value()?);
    }
    for (name, key) in VALUES {
        // An empty variable is one that is not set: so it is in many a compose file.
        if let Some(value) = variable(key).filter(|value| !value.is_empty()) {
            given.entry(name).or_insert_with(|| vec![value]);
        }
    }
    let mut values = Values(given);
    let port = values.parse("port", "a number from 0 to 65535")?.unwrap_or(DEFAULT_PORT);
    let host = values.text("host")?;
    let log = values.text("log")?.unwrap_or_else(|| "info".to_owned());
    let mut options = Options { files: values.take("files").map(Into::into), ..Options::default() };
    for origin in values.list("origin")? {
        let origin = origin.parse().map_err(|error: String| format!("--origin: {error}"))?;
        options.origins.get_or_insert_default().push(origin);
    }
    options.turn_secret = values.text("turn-secret")?.map(Secret::new);
    if let Some(seconds) = values.parse("turn-ttl", "a number of seconds")? {
        options.turn_ttl = Duration::from_secs(seconds);
    }
    options.ice_urls = values.list("ice-url")?;
    let turn = turn(&mut values, host.as_deref())?;
    options.turn = turn.filter(|_| !no_turn);
    Ok(Command::Run { port, host, log, options: Box::new(options) })
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
    for block in values.list("turn-allow")? {
        turn.allow.push(block.parse().map_err(|error: String| format!("--turn-allow: {error}"))?);
    }
    turn.tls = match (values.take("tls-cert"), values.take("tls-key")) {
        (None, None) => None,
        (Some(cert), Some(key)) => Some((cert.into(), key.into())),
        _ => return Err("--tls-cert and --tls-key go together".into()),
    };
    Ok((port.is_some() || host.is_none()).then_some(turn))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::Origin;

    fn parse(args: &[&str], variables: &[(&str, &str)]) -> Result<(u16, Option<String>, String, Options), String> {
        let variable = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        match super::parse(args.iter().map(Into::into), variable) {
            Ok(Command::Run { port, host, log, options }) => Ok((port, host, log, *options)),
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn options_come_before_variables_and_those_before_defaults() {
        let run = |args: &[&str], variables: &[(&str, &str)]| {
            let (port, host, log, options) = parse(args, variables).unwrap();
            (port, host, options.files, log)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(run(&[], &[]), (5000, None, None, "info".into()));
        let variables = [("PORT", "1"), ("HOST", "h"), ("LINKUP_FILES", "f"), ("LINKUP_LOG", "warn")];
        assert_eq!(run(&[], &variables), (1, some("h"), Some("f".into()), "warn".into()));
        let args = ["--port=2", "--host", "g", "--files", "e", "--log", "debug"];
        assert_eq!(run(&args, &variables), (2, some("g"), Some("e".into()), "debug".into()));
        assert_eq!(run(&[], &[("PORT", ""), ("HOST", "")]), (5000, None, None, "info".into()));
    }

    #[test]
    fn turn_is_on_where_the_network_is() {
        let turn = |args: &[&str]| parse(args, &[]).unwrap().3.turn;
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
        let (.., options) = parse(&[&args[..], &more].concat(), &[("LINKUP_TURN_SECRET", "north")]).unwrap();
        assert_eq!(options.ice_urls, ["stun:a", "stun:b"]);
        assert_eq!((options.turn_ttl, options.turn_secret), (Duration::from_secs(60), Some(Secret::new("north"))));
        let turn = options.turn.unwrap();
        let allow: Vec<_> = turn.allow.iter().map(ToString::to_string).collect();
        assert_eq!(allow, ["10.0.0.0/8", "::1/128", "127.0.0.1/32"]);
        assert_eq!((turn.relay_ports, turn.address), (1000..=2000, Some([192, 0, 2, 1].into())));
    }

    #[test]
    fn reads_origins() {
        let origins = |args: &[&str], variables: &[(&str, &str)]| parse(args, variables).unwrap().3.origins;
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
    fn the_help_names_every_option() {
        for (option, variable) in VALUES {
            assert!(HELP.contains(&format!("--{option} ")) && HELP.contains(variable), "{option}");
        }
    }
}
