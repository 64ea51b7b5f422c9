//! The command line of the broker: the program `linkup-broker`, and for whoever else wants to offer it.

mod arguments;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use self::arguments::{Command, HELP, parse};
use crate::{Broker, Options};

/// Runs the command until a signal ends it. `args` are without the program's name.
///
/// The exit code is 0 after a signal, 1 where the broker cannot run, 2 where an option is wrong.
pub fn cli(args: impl Iterator<Item = OsString>) -> ExitCode {
    match parse(args, |name| std::env::var_os(name)) {
        Ok(Command::Help) => say(HELP),
        Ok(Command::Version) => say(format_args!("linkup-broker {}\n", env!("CARGO_PKG_VERSION"))),
        Ok(Command::Run { port, host, log, options }) => run(port, host.as_deref(), *options, &log),
        Err(error) => fail(2, format_args!("{error}; see --help")),
    }
}

fn run(port: u16, host: Option<&str>, options: Options, log: &str) -> ExitCode {
    match EnvFilter::try_new(log) {
        // Fails where the process that offers this command has set its own: then that one is heard.
        Ok(filter) => drop(tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).try_init()),
        Err(error) => return fail(2, format_args!("the log filter {log:?} is wrong: {error}; see --help")),
    }
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
