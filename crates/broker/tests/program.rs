//! The program, as a user starts and ends it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use common::tls::{certificate, connect_tls, renew};
use common::{Client, turn, until};
use tokio::net::TcpStream;

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linkup-broker"));
    command.args(args).env_remove("PORT").env_remove("HOST");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LINKUP_")) {
        command.env_remove(name);
    }
    command
}

/// Ends what a failed test leaves behind.
struct Running {
    child: Child,
    port: u16,
}

impl Running {
    fn start(args: &[&str]) -> Self {
        let mut command = program(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.strip_prefix("linkup broker listening on ").and_then(|line| line.rsplit_once(':'));
        let port = port.and_then(|(_, port)| port.trim_end().parse().ok());
        Self { port: port.unwrap_or_else(|| panic!("{line:?}")), child }
    }

    #[cfg(unix)]
    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    async fn peer(&self) -> Client {
        let mut client = Client::try_connect(([127, 0, 0, 1], self.port).into()).await.unwrap();
        client.ask(serde_json::json!({"type": "register", "id": "a"})).await;
        client
    }

    /// Its exit code, and what is on stderr.
    fn end(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        (code, text)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
#[cfg(unix)]
async fn announces_itself_and_ends_well_on_a_signal() {
    for (signal, args) in [("-TERM", &["--host", "localhost"][..]), ("-INT", &[]), ("-HUP", &["--no-turn"])] {
        let running = Running::start(&[args, &["--port", "0", "--log", "warn"]].concat());
        let _http = TcpStream::connect(("127.0.0.1", running.port)).await.unwrap();
        let mut peer = running.peer().await;
        running.signal(signal);
        assert_eq!(peer.close_frame().await.0, 1012);
        assert_eq!(running.end(), (Some(0), String::new()));
    }
}

/// The port of TURN, out of the log.
#[cfg(unix)]
fn turn_port(running: &mut Running) -> u16 {
    let mut log = BufReader::new(running.child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("STUN and TURN listen") {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0);
    }
    running.child.stderr = Some(log.into_inner());
    let address = line.split_once("127.0.0.1:").unwrap().1;
    address.split(|digit: char| !digit.is_ascii_digit()).next().unwrap().parse().unwrap()
}

#[tokio::test]
#[cfg(unix)]
async fn a_second_signal_ends_it_at_once() {
    let args =
        ["--host", "127.0.0.1", "--port", "0", "--turn-port", "0", "--turn-secret", turn::SECRET, "--drain", "600"];
    let mut running = Running::start(&args);
    let server = ([127, 0, 0, 1], turn_port(&mut running)).into();
    let mut relayed = turn::Client::udp(server, turn::credentials("alice")).await;
    relayed.allocate().await.unwrap();
    let mut peer = running.peer().await;
    running.signal("-TERM");
    assert_eq!(peer.close_frame().await.0, 1012);
    // The allocation goes on.
    relayed.refresh(600).await.unwrap();
    running.signal("-TERM");
    let (code, log) = running.end();
    assert_eq!(code, Some(1));
    assert!(log.contains("second signal"), "{log}");
}

#[tokio::test]
#[cfg(unix)]
async fn a_hang_up_reads_the_certificate_again() {
    let (files, old) = certificate();
    let (cert, key) = files.paths();
    let paths = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let running = Running::start(&[&["--host", "localhost", "--port", "0"][..], &paths].concat());
    let connect = async |roots| {
        let tcp = TcpStream::connect(("127.0.0.1", running.port)).await.unwrap();
        connect_tls(tcp, roots).await.is_ok()
    };
    assert!(connect(old).await);
    let new = renew(&files);
    running.signal("-HUP");
    until(|| async { connect(new.clone()).await }).await;
}

#[test]
#[cfg(unix)]
fn reads_a_file_and_logs_json() {
    let path = std::env::temp_dir().join(format!("linkup-broker-program-{}.toml", std::process::id()));
    std::fs::write(&path, "host = \"localhost\"\nport = 0\nlog-format = \"json\"\n").unwrap();
    let running = Running::start(&["--config", path.to_str().unwrap()]);
    std::fs::remove_file(path).unwrap();
    running.signal("-TERM");
    let (code, log) = running.end();
    assert_eq!(code, Some(0));
    for line in log.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["level"], "info", "{event}");
    }
    assert!(log.contains("\"message\":\"draining\""), "{log}");
}

/// The exit code and what is on stderr.
fn fails(args: &[&str]) -> (Option<i32>, String) {
    let output = program(args).output().unwrap();
    assert!(output.stdout.is_empty());
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_used_port_is_one_clear_sentence() {
    let used = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = used.local_addr().unwrap().port().to_string();
    let (code, error) = fails(&["--host", "localhost", "--port", &port]);
    assert_eq!(code, Some(1));
    assert!(error.contains(&format!("port {port} is in use")) && error.lines().count() == 1, "{error}");
}

#[test]
fn a_wrong_option_is_one_clear_sentence() {
    for args in [&["--prot", "1"][..], &["--port", "x"], &["--log", "a=b=c"], &["serve"]] {
        let (code, error) = fails(args);
        assert_eq!(code, Some(2), "{error}");
        assert!(error.starts_with("linkup-broker: ") && error.lines().count() == 1, "{error}");
    }
    let (code, error) = fails(&["--host", "localhost", "--port", "0", "--files", "/does/not/exist"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("/does/not/exist"), "{error}");
}

#[test]
fn helps() {
    let output = program(&["--help"]).output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("--port N"));
    let output = program(&["--version"]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("linkup-broker {}\n", env!("CARGO_PKG_VERSION")));
}
