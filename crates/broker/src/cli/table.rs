//! Every option of the program, once: its flag, its environment variable, its name in the file, what it does. The help and
//! the table in docs/operators.md are written from here.

use std::fmt::Write;

/// One option.
pub(super) struct Entry {
    /// The flag without its dashes, and the key in the file.
    pub(super) name: &'static str,
    /// What stands for its value; empty where it is a switch.
    value: &'static str,
    pub(super) variable: &'static str,
    pub(super) default: &'static str,
    help: &'static str,
    /// Whether there may be several, also with commas.
    pub(super) many: bool,
}

impl Entry {
    pub(super) fn is_switch(&self) -> bool {
        self.value.is_empty()
    }
}

const fn one(
    name: &'static str,
    value: &'static str,
    variable: &'static str,
    default: &'static str,
    help: &'static str,
) -> Entry {
    Entry { name, value, variable, default, help, many: false }
}

const fn many(
    name: &'static str,
    value: &'static str,
    variable: &'static str,
    default: &'static str,
    help: &'static str,
) -> Entry {
    Entry { name, value, variable, default, help, many: true }
}

/// The option that names the file, which cannot stand in the file.
pub(super) const CONFIG: &str = "config";

pub(super) const SECTIONS: [(&str, &[Entry]); 7] = [
    (
        "Options",
        &[
            one("port", "N", "PORT", "5000", "the port to listen on, 0 for any free one"),
            one(
                "host",
                "H",
                "HOST",
                "all interfaces",
                "the interface to listen on: a name or an address; `localhost` for this machine only",
            ),
            many(
                "origin",
                "O",
                "LINKUP_ORIGIN",
                "all pages",
                "let only web pages of this origin in, such as https://example.org, or `localhost` for those of this \
                 machine. Programs are not asked",
            ),
            one("files", "DIR", "LINKUP_FILES", "none", "serve the static files of DIR over HTTP"),
            one(CONFIG, "FILE", "LINKUP_CONFIG", "none", "read options from a TOML file: see below"),
            one(
                "log",
                "FILTER",
                "LINKUP_LOG",
                "info",
                "what to log on stderr: error, warn, info, debug, trace or off; also of one part: \
                 info,linkup_broker::turn=debug",
            ),
            one("log-format", "F", "LINKUP_LOG_FORMAT", "text", "`text`, or `json`: one object a line"),
            many(
                "metrics-from",
                "CIDR",
                "LINKUP_METRICS_FROM",
                "loopback and private addresses",
                "who may read /metrics: blocks of addresses, `all` or `none`",
            ),
            one(
                "drain",
                "S",
                "LINKUP_DRAIN",
                "8",
                "seconds for which SIGTERM lets TURN allocations go on, and over half of which, 4 s at most, it tells the \
                 peers to connect again. Docker kills after 10, Kubernetes after 30",
            ),
        ],
    ),
    (
        "TLS and proxies. With a certificate the port speaks wss: and https: only. SIGHUP reads the files again",
        &[
            one("tls-cert", "FILE", "LINKUP_TLS_CERT", "none", "certificate chain, PEM; TURN has it too"),
            one("tls-key", "FILE", "LINKUP_TLS_KEY", "none", "its key, PEM"),
            many(
                "trusted-proxies",
                "CIDR",
                "LINKUP_TRUSTED_PROXIES",
                "none",
                "believe the X-Forwarded-For or Forwarded of these addresses, for limits and logs. The proxy must set \
                 it, or remove what a client has written",
            ),
        ],
    ),
    (
        "Limits. Rates are averages, 20 s' worth may come at once; 0 is no limit. What is over one is answered with an error, \
         who goes on is closed (1008). An address is an IPv4 address or an IPv6 /64",
        &[
            one("max-sockets", "N", "LINKUP_MAX_SOCKETS", "100000", "connections in all"),
            one("socket-messages", "N", "LINKUP_SOCKET_MESSAGES", "1000", "messages a second of one socket"),
            one("socket-bytes", "N", "LINKUP_SOCKET_BYTES", "1048576", "bytes a second of one socket"),
            one("address-sockets", "N", "LINKUP_ADDRESS_SOCKETS", "4096", "sockets of one address"),
            one("address-messages", "N", "LINKUP_ADDRESS_MESSAGES", "5000", "messages a second of one address"),
            one("address-bytes", "N", "LINKUP_ADDRESS_BYTES", "8388608", "bytes a second of one address"),
            one(
                "loopback-limits",
                "",
                "LINKUP_LOOPBACK_LIMITS",
                "off",
                "the limits of an address for 127.0.0.1 and ::1 too, which are exempt from them",
            ),
            one("frame-bytes", "N", "LINKUP_FRAME_BYTES", "65536", "bytes of one frame, from 16384 to 1048576"),
            one("queue-frames", "N", "LINKUP_QUEUE_FRAMES", "1024", "frames that wait for a client that does not read"),
            one("queue-bytes", "N", "LINKUP_QUEUE_BYTES", "1048576", "bytes that wait for it; then it is dropped"),
            one(
                "handshake-timeout",
                "S",
                "LINKUP_HANDSHAKE_TIMEOUT",
                "10",
                "seconds for a client's TLS handshake, and for its request",
            ),
            one(
                "ping-interval",
                "S",
                "LINKUP_PING_INTERVAL",
                "15",
                "seconds between pings; who is silent for two is dropped, and its id free",
            ),
        ],
    ),
    (
        "Who may register: everybody, unless one of these is given. A peer sends its option `token`",
        &[
            many(
                "auth-secret",
                "S",
                "LINKUP_AUTH_SECRET",
                "none",
                "a token that is good for every id: rather by the variable; without commas",
            ),
            many(
                "jwt-secret",
                "S",
                "LINKUP_JWT_SECRET",
                "none",
                "tokens are JWTs, signed with this (HS256), of 32 bytes at least. Their claim `ids`, a pattern such as \
                 \"team-*\" or a list, says for which ids; without it for all",
            ),
            many(
                "jwt-key",
                "FILE",
                "LINKUP_JWT_KEY",
                "none",
                "the same with a public key, PEM: RSA (RS256), P-256 (ES256) or Ed25519 (EdDSA)",
            ),
            one("jwt-audience", "A", "LINKUP_JWT_AUDIENCE", "any", "the `aud` that tokens must have"),
            one("jwt-issuer", "I", "LINKUP_JWT_ISSUER", "any", "the `iss` that tokens must have"),
        ],
    ),
    (
        "STUN and TURN, for peers that cannot reach each other: on by default on all interfaces, otherwise with --turn-port. \
         Peers get credentials from the broker",
        &[
            one("no-turn", "", "LINKUP_NO_TURN", "off", "no STUN and TURN"),
            one("turn-port", "N", "LINKUP_TURN_PORT", "3478", "the port, of UDP and TCP alike, 0 for any free one"),
            one(
                "turn-address",
                "IP",
                "LINKUP_TURN_ADDRESS",
                "where a peer reaches us",
                "the public address of this machine behind a 1:1 NAT, or where a proxy is before the broker",
            ),
            one(
                "turn-name",
                "H",
                "LINKUP_TURN_NAME",
                "the address",
                "the host in the URLs: the name in the certificate",
            ),
            one("turn-ports", "A-B", "LINKUP_TURN_PORTS", "49152-65535", "the ports of relayed addresses"),
            many("turn-allow", "CIDR", "LINKUP_TURN_ALLOW", "none", "relay to these private addresses too"),
            one(
                "turn-secret",
                "S",
                "LINKUP_TURN_SECRET",
                "random",
                "what credentials are made with: rather by the variable. The same on all brokers",
            ),
            one("turn-ttl", "S", "LINKUP_TURN_TTL", "3600", "seconds for which credentials are good"),
            one(
                "turn-cert",
                "FILE",
                "LINKUP_TURN_CERT",
                "that of --tls-cert",
                "certificate chain, PEM: TURN over TLS too, on the same port",
            ),
            one("turn-key", "FILE", "LINKUP_TURN_KEY", "that of --tls-key", "its key, PEM"),
            one("turn-allocations", "N", "LINKUP_TURN_ALLOCATIONS", "4096", "allocations in all; each is a socket"),
            one("turn-user-allocations", "N", "LINKUP_TURN_USER_ALLOCATIONS", "128", "allocations of one peer"),
            one(
                "turn-address-allocations",
                "N",
                "LINKUP_TURN_ADDRESS_ALLOCATIONS",
                "512",
                "allocations, and TCP connections, of one address",
            ),
            one("turn-connections", "N", "LINKUP_TURN_CONNECTIONS", "4096", "TCP and TLS connections in all"),
            one(
                "turn-bandwidth",
                "N",
                "LINKUP_TURN_BANDWIDTH",
                "4194304",
                "bytes a second of one allocation, in each direction; more is lost",
            ),
        ],
    ),
    (
        "Other ways",
        &[
            many(
                "ice-url",
                "URL",
                "LINKUP_ICE_URL",
                "none",
                "another server to tell peers of: stun:, turn: or turns:, which has the same --turn-secret (coturn: \
                 use-auth-secret)",
            ),
            one(
                "relay",
                "N",
                "LINKUP_RELAY",
                "65536",
                "bytes a second that peers are told to send at most for connections over the broker itself, where there is \
                 no other way; encrypted from end to end; 0: they do not. Who does not keep to it meets the limits of a \
                 socket, as everybody does",
            ),
        ],
    ),
    (
        "Many brokers that are one, over Redis 6.2 or newer, Valkey, or Redis Cluster 7",
        &[
            many(
                "redis",
                "URL",
                "LINKUP_REDIS",
                "none",
                "redis://[user:password@]host[:port][/database], rediss: with TLS; of a cluster some of its nodes",
            ),
            one(
                "redis-prefix",
                "P",
                "LINKUP_REDIS_PREFIX",
                "linkup",
                "how the names of keys and channels begin: one for each set of brokers",
            ),
            one(
                "redis-lease",
                "N",
                "LINKUP_REDIS_LEASE",
                "30",
                "seconds for which a broker goes on without Redis, and for which the ids of one that died are kept; alike \
                 for all brokers",
            ),
        ],
    ),
];

const END: &str = "
Each option can also be given as the environment variable in brackets, and in the file of
--config under its name: flags come before variables, variables before the file.
  port = 8080
  origin = [\"https://example.org\", \"localhost\"]
  no-turn = true
Options that are lists may come again, or with commas.

Examples:
  {program}                               # ws://localhost:5000, open to the network
  {program} --host localhost              # for this machine only
  {program} --port 8080 --files public    # with a page at http://localhost:8080
  {program} --port 443 --tls-cert cert.pem --tls-key key.pem --turn-name example.org

GET /healthz answers 200, /readyz 503 during a drain, /metrics is for Prometheus.
SIGTERM and Ctrl-C drain: peers are told to connect again, and the program ends with 0;
a second signal ends it at once. SIGHUP reads the certificates again; without any it
ends, too.
";

pub(super) fn entries() -> impl Iterator<Item = &'static Entry> {
    SECTIONS.iter().flat_map(|(_, entries)| entries.iter())
}

/// What `--help` says; `program` is how the user calls it.
pub(super) fn help(program: &str) -> String {
    let mut text = format!("{program}: introduces peers to each other by their ids\n\nUsage: {program} [OPTIONS]\n\n");
    text.push_str(&wrapped(
        "Peers connect to it with a WebSocket, register an id, and exchange through it what they need to connect to each \
         other. Their messages do not go through it, except, encrypted, those of peers that reach each other only through \
         its TURN server.",
        0,
    ));
    for (title, entries) in &SECTIONS {
        text.push('\n');
        text.push_str(&wrapped(&format!("{title}:"), 0));
        for entry in *entries {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{}", format!("  --{} {}", entry.name, entry.value).trim_end());
            let facts = format!("{}. [{}, default {}]", entry.help, entry.variable, entry.default);
            text.push_str(&wrapped(&facts, 8));
        }
    }
    text.push_str("\n  -h, --help     show this\n  -V, --version  show the version\n");
    text + &END.replace("{program}", program)
}

/// The table of docs/operators.md.
#[cfg(test)]
fn markdown() -> String {
    let mut text = String::new();
    for (title, entries) in &SECTIONS {
        let _ = writeln!(text, "\n**{title}.**\n\n| option | environment | default | |\n|---|---|---|---|");
        for entry in *entries {
            let flag = format!("--{} {}", entry.name, entry.value);
            let again = if entry.many { "; may come again" } else { "" };
            let help = entry.help.replace('|', "\\|");
            let _ =
                writeln!(text, "| `{}` | `{}` | {} | {help}{again} |", flag.trim_end(), entry.variable, entry.default);
        }
    }
    text
}

/// Text in lines of 88 columns.
fn wrapped(text: &str, indent: usize) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && indent + line.chars().count() + 1 + word.chars().count() > 88 {
            let _ = writeln!(lines, "{:indent$}{line}", "");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(lines, "{:indent$}{line}", "");
    lines
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_help_names_every_option() {
        let help = help("linkup-broker");
        for Entry { name, variable, default, .. } in entries() {
            assert!(help.contains(&format!("  --{name}")) && help.contains(&format!("[{variable},")), "{name}");
            assert!(help.contains(default), "{name}");
        }
        assert!(help.lines().all(|line| line.chars().count() <= 90), "{help}");
    }

    #[test]
    fn nothing_has_two_meanings() {
        let names: std::collections::HashSet<_> = entries().map(|entry| entry.name).collect();
        let variables: std::collections::HashSet<_> = entries().map(|entry| entry.variable).collect();
        assert_eq!((names.len(), variables.len()), (entries().count(), entries().count()));
    }

    /// `UPDATE=1 cargo test -p linkup-broker operators` writes it.
    #[test]
    fn the_page_for_operators_has_the_same_table() {
        const MARKS: (&str, &str) = ("<!-- options -->\n", "<!-- /options -->\n");
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operators.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (before, rest) = page.split_once(MARKS.0).unwrap();
        let (written, after) = rest.split_once(MARKS.1).unwrap();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, format!("{before}{}{}{}{after}", MARKS.0, markdown(), MARKS.1)).unwrap();
        } else {
            assert_eq!(
                written,
                markdown(),
                "docs/operators.md is behind: UPDATE=1 cargo test -p linkup-broker operators"
            );
        }
    }
}
