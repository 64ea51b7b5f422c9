//! The command line of the broker: the program `linkup-broker`, and for whoever else wants to offer it.

mod arguments;
mod log;
mod table;
mod values;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use self::arguments::{Settings, settings};
use self::values::{Asked, read};
use crate::Broker;

/// Who offers the command.
#[derive(Clone, Debug)]
pub struct Program {
    /// What the user calls, for the help and before each error.
    pub name: &'static str,
    /// A directory to serve where the user names none.
    pub files: Option<PathBuf>,
}

/// Runs the command until a signal ends it. `args` are without the program's name.
///
/// The exit code is 0 after a signal, 1 where the broker cannot run or a second signal came, 2 where an option is wrong.
pub fn cli(args: impl Iterator<Item = OsString>) -> ExitCode {
    run(&Program { name: "linkup-broker", files: None }, args).into()
}

/// The same for another program, with the exit code as a number.
pub fn run(program: &Program, args: impl Iterator<Item = OsString>) -> u8 {
    let asked = read(args, |name| std::env::var_os(name));
    let settings = asked.and_then(|asked| match asked {
        Asked::Help => Ok(Err(say(table::help(program.name)))),
        Asked::Version => Ok(Err(say(format_args!("{} {}\n", program.name, env!("CARGO_PKG_VERSION"))))),
        Asked::Run(mut values) => settings(&mut values, program.files.clone()).map(Ok),
    });
    match settings {
        Ok(Ok(settings)) => serve(program, settings),
        Ok(Err(code)) => code,
        Err(error) => fail(program, 2, format_args!("{error}; see --help")),
    }
}

fn serve(program: &Program, settings: Settings) -> u8 {
    let Settings { port, host, log, format, drain, options } = settings;
    log::start(log, format);
    let host = host.as_deref();
    let max_sockets = options.max_sockets;
    let listeners = match Broker::listen(host, port) {
        Ok(listeners) => listeners,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let advice = "perhaps by another broker: end that one, or choose another port with --port";
            return fail(program, 1, format_args!("port {port} is in use, {advice}"));
        }
        Err(error) => {
            let host = host.unwrap_or("this machine");
            return fail(program, 1, format_args!("cannot listen on port {port} of {host}: {error}"));
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(program, 1, format_args!("cannot start: {error}")),
    };
    let code = runtime.block_on(async {
        // Before anybody is told that it listens: a signal must not be lost.
        let mut signals = match Signals::new() {
            Ok(signals) => signals,
            Err(error) => return fail(program, 1, format_args!("cannot listen to signals: {error}")),
        };
        let broker = match Broker::start(listeners, options, runtime.handle()) {
            Ok(broker) => broker,
            Err(error) => return fail(program, 1, format_args!("cannot start: {error}")),
        };
        tell_of_few_files(max_sockets);
        announce(host, &broker);
        // Without a certificate it is what a terminal says that closes.
        while signals.next().await == Signal::Reload && broker.has_certificates() {
            match broker.reload() {
                Ok(()) => tracing::info!("the certificates were read again"),
                Err(error) => tracing::error!(%error, "the certificates are as they were"),
            }
        }
        tokio::select! {
            () = broker.drain(drain) => 0,
            () = signals.end() => fail(program, 1, "ended at once by a second signal"),
        }
    });
    // Not dropped: that would wait for files that are being read.
    runtime.shutdown_background();
    code
}

fn announce(host: Option<&str>, broker: &Broker) {
    let scheme = if broker.has_tls() { "wss" } else { "ws" };
    let port = broker.addresses().first().map_or(0, std::net::SocketAddr::port);
    let host = match host {
        None | Some("0.0.0.0" | "::") => "localhost".to_owned(),
        Some(host) if host.contains(':') => format!("[{host}]"),
        Some(host) => host.to_owned(),
    };
    // A closed stdout is no reason not to run.
    let _ = say(format_args!("linkup broker listening on {scheme}://{host}:{port}\n"));
}

/// Each socket is a file descriptor. Only Linux tells without unsafe code how many there may be.
fn tell_of_few_files(max_sockets: usize) {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    if let Some(files) = open_files(&limits).filter(|files| *files < max_sockets) {
        tracing::info!(files, max_sockets, "fewer files may be open than sockets: raise `ulimit -n`");
    }
}

/// The soft limit in `/proc/self/limits`.
fn open_files(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What the program is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    End,
    Reload,
}

/// Where it is told. Made first and waited for later.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    hang_up: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    #[cfg(unix)]
    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::End,
            _ = self.interrupt.recv() => Signal::End,
            _ = self.hang_up.recv() => Signal::Reload,
        }
    }

    #[cfg(not(unix))]
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn next(&mut self) -> Signal {
        if tokio::signal::ctrl_c().await.is_err() {
            // Without signals it runs until it is killed.
            std::future::pending().await
        }
        Signal::End
    }

    async fn end(&mut self) {
        while self.next().await != Signal::End {}
    }
}

fn say(text: impl Display) -> u8 {
    let mut stdout = io::stdout().lock();
    u8::from(write!(stdout, "{text}").and_then(|()| stdout.flush()).is_err())
}

fn fail(program: &Program, code: u8, why: impl Display) -> u8 {
    // Where stderr is closed, the code has to say it all.
    let _ = writeln!(io::stderr(), "{}: {why}", program.name);
    code
}

#[cfg(test)]
mod tests {
    use super::open_files;

    #[test]
    fn reads_the_limit_of_files() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max processes             95000                95000                processes \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(open_files(limits), Some(1024));
        assert_eq!(open_files(&limits.replace("1024", "unlimited")), None);
        assert_eq!(open_files(""), None);
    }
}
