//! The command line of the broker: the program `linkup-broker`, and for whoever else wants to offer it.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::prelude::*;
use tracing_subscriber::EnvFilter;

use crate::{Broker, Options};

const HELP: &str = "\
linkup-broker: introduces peers to each other by their ids

Usage: linkup-broker [OPTIONS]

Peers connect to it with a WebSocket, register an id, and exchange through it what
they need to connect to each other. Their messages do not go through it.

Options:
      --port N       the port to listen on, 0 for any free one   [PORT, default 5000]
      --host H       the interface to listen on: a name or an address; `localhost` for
                     this machine only                           [HOST, default all]
      --files DIR    serve the static files of DIR over HTTP     [LINKUP_FILES]
      --log FILTER   what to log on stderr: error, warn, info, debug, or a filter of
                     Rust's tracing                              [LINKUP_LOG, default info]
  -h, --help         show this
  -V, --version      show the version

Each option can also be given as the environment variable in brackets.

Examples:
  linkup-broker                               # ws://localhost:5000, open to the network
  linkup-broker --host localhost              # for this machine only
  linkup-broker --port 8080 --files public    # with a page at http://localhost:8080

It has no TLS: on the internet put it behind a proxy that has, and use wss:// there.
GET /healthz answers 200. SIGTERM and Ctrl-C tell the peers to move on, and end it.
";

const DEFAULT_PORT: u16 = 5000;

/// What to do.
#[derive(Debug, PartialEq)]
enum Command {
    Help,
    Version,
    Run { port: u16, host: Option<String>, files: Option<PathBuf>, log: String },
}

/// Runs the command until a signal ends it. `args` are without the program's name.
///
/// The exit code is 0 after a signal, 1 where the broker cannot run, 2 where an option is wrong.
pub fn cli(args: impl Iterator<Item = OsString>) -> ExitCode {
    match parse(args, |name| std::env::var_os(name)) {
        Ok(Command::Help) => say(HELP),
        Ok(Command::Version) => say(format_args!("linkup-broker {}\n", env!("CARGO_PKG_VERSION"))),
        Ok(Command::Run { port, host, files, log }) => run(port, host.as_deref(), files, &log),
        Err(error) => fail(2, format_args!("{error}; see --help")),
    }
}

/// The options with a value, and the environment variables that give it where the option is missing.
const VALUES: [(&str, &str); 4] =
    [("port", "PORT"), ("host", "HOST"), ("files", "LINKUP_FILES"), ("log", "LINKUP_LOG")];

fn parse(
    args: impl Iterator<Item = OsString>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Command, lexopt::Error> {
    // An empty variable is one that is not set: so it is in many a compose file.
    let mut values = VALUES.map(|(_, name)| variable(name).filter(|value| !value.is_empty()));
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next()? {
        let index = match arg {
            Short('h') | Long("help") => return Ok(Command::Help),
            Short('V') | Long("version") => return Ok(Command::Version),
            Long(name) => VALUES.iter().position(|(option, _)| *option == name),
            _ => None,
        };
        match index {
            Some(index) => values[index] = Some(parser.value()?),
            None => return Err(arg.unexpected()),
        }
    }
    let [port, host, files, log] = values;
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) => port
            .to_str()
            .and_then(|port| port.parse().ok())
            .ok_or_else(|| format!("the port is a number from 0 to 65535, not {:?}", port.to_string_lossy()))?,
    };
    let host = host.map(OsString::string).transpose()?;
    let log = log.map_or(Ok("info".to_owned()), OsString::string)?;
    Ok(Command::Run { port, host, files: files.map(Into::into), log })
}

fn run(port: u16, host: Option<&str>, files: Option<PathBuf>, log: &str) -> ExitCode {
    match EnvFilter::try_new(log) {
        // Fails where the process that offers this command has set its own: then that one is heard.
        Ok(filter) => drop(tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).try_init()),
        Err(error) => return fail(2, format_args!("the log filter {log:?} is wrong: {error}; see --help")),
    }
    let options = Options { files, ..Options::default() };
    let listeners = match Broker::listen(host, port) {
        Ok(listeners) => listeners,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let advice = "perhaps by another broker: end that one, or choose another port with --port";
            return fail(1, format_args!("port {port} is in use, {advice}"));
        }
        Err(error) => {
            return fail(
                1,
                format_args!("cannot listen on port {port} of {}: {error}", host.unwrap_or("this machine")),
            );
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, format_args!("cannot start: {error}")),
    };
    runtime.block_on(async {
        // Before anybody is told that it listens: a signal must not be lost.
        let signal = match Signals::new() {
            Ok(signals) => signals,
            Err(error) => return fail(1, format_args!("cannot listen to signals: {error}")),
        };
        let broker = match Broker::start(listeners, options, runtime.handle()) {
            Ok(broker) => broker,
            Err(error) => return fail(1, format_args!("cannot start: {error}")),
        };
        announce(host, broker.addresses());
        signal.wait().await;
        broker.close().await;
        ExitCode::SUCCESS
    })
}

fn announce(host: Option<&str>, addresses: &[SocketAddr]) {
    let list: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
    let port = addresses.first().map_or(0, SocketAddr::port);
    let host = match host {
        None | Some("0.0.0.0" | "::") => "localhost".to_owned(),
        Some(host) if host.contains(':') => format!("[{host}]"),
        Some(host) => host.to_owned(),
    };
    // A closed stdout is no reason not to run.
    let _ = say(format_args!("linkup broker listening on ws://{host}:{port} ({})\n", list.join(", ")));
}

/// What ends the program. Made first and waited for later.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    #[cfg(unix)]
    async fn wait(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    #[cfg(not(unix))]
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn wait(self) {
        if tokio::signal::ctrl_c().await.is_err() {
            // Without signals it runs until it is killed.
            std::future::pending().await
        }
    }
}

fn say(text: impl Display) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match write!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn fail(code: u8, why: impl Display) -> ExitCode {
    // Where stderr is closed, the code has to say it all.
    let _ = writeln!(io::stderr(), "linkup-broker: {why}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn parse(args: &[&str], variables: &[(&str, &str)]) -> Result<Command, String> {
        let variable = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        super::parse(args.iter().map(Into::into), variable).map_err(|error| error.to_string())
    }

    fn run(port: u16, host: Option<&str>, files: Option<&str>, log: &str) -> Result<Command, String> {
        Ok(Command::Run { port, host: host.map(Into::into), files: files.map(Into::into), log: log.into() })
    }

    #[test]
    fn options_come_before_variables_and_those_before_defaults() {
        assert_eq!(parse(&[], &[]), run(5000, None, None, "info"));
        let variables = [("PORT", "1"), ("HOST", "h"), ("LINKUP_FILES", "f"), ("LINKUP_LOG", "warn")];
        assert_eq!(parse(&[], &variables), run(1, Some("h"), Some("f"), "warn"));
        let args = ["--port=2", "--host", "g", "--files", "e", "--log", "debug"];
        assert_eq!(parse(&args, &variables), run(2, Some("g"), Some("e"), "debug"));
        assert_eq!(parse(&[], &[("PORT", ""), ("HOST", "")]), run(5000, None, None, "info"));
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
        ] {
            let error = parse(args, &[]).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn help_and_version_need_nothing_else() {
        assert_eq!(parse(&["--port", "1", "--help"], &[("PORT", "x")]), Ok(Command::Help));
        assert_eq!(parse(&["-V"], &[]), Ok(Command::Version));
    }

    #[test]
    fn the_help_names_every_option() {
        for (option, variable) in VALUES {
            assert!(HELP.contains(&format!("--{option} ")) && HELP.contains(variable));
        }
    }
}
