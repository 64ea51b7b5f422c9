//! The program, as a user starts and ends it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linkup-broker"));
    command.args(args).env_remove("PORT").env_remove("HOST").env_remove("LINKUP_FILES").env_remove("LINKUP_LOG");
    command
}

/// Ends what a failed test leaves behind.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[cfg(unix)]
fn announces_itself_and_ends_well_on_a_signal() {
    for (signal, args) in [("-TERM", &["--host", "localhost"][..]), ("-INT", &[])] {
        let child = program(args).args(["--port", "0", "--log", "warn"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut running = Running(child);
        let mut line = String::new();
        BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.strip_prefix("linkup broker listening on ws://localhost:").expect(&line);
        let port: u16 = port.split(' ').next().unwrap().parse().unwrap();
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let pid = running.0.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        assert_eq!(running.0.wait().unwrap().code(), Some(0));
    }
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
