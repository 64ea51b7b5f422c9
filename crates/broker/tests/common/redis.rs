//! A real redis-server on a free port of this machine, to be killed, paused, emptied and started again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

static DIRECTORIES: AtomicU32 = AtomicU32::new(0);

pub struct RedisServer {
    program: &'static str,
    child: Child,
    pub port: u16,
    directory: PathBuf,
    arguments: Vec<String>,
}

impl RedisServer {
    /// `None`, said loudly, where there is none to start; in CI that is a failure.
    pub fn start(arguments: &[&str]) -> Option<Self> {
        let runs = |program: &&&str| Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok();
        let Some(program) = ["redis-server", "valkey-server"].iter().find(runs) else {
            assert!(std::env::var_os("CI").is_none(), "redis-server is not installed: `apt-get install redis-server`");
            eprintln!("SKIPPED: redis-server is not installed, so nothing of this was tested");
            return None;
        };
        let number = DIRECTORIES.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("linkup-redis-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        // Somebody else may take the port meanwhile.
        let (child, port) = (0..10)
            .find_map(|_| {
                let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
                Some((launch(program, port, &directory, &arguments)?, port))
            })
            .expect("redis-server does not start");
        Some(Self { program, child, port, directory, arguments })
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Sends a signal: `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again on its port, with what it has saved, which by default is nothing.
    pub fn start_again(&mut self) {
        self.child = (0..10)
            .find_map(|_| launch(self.program, self.port, &self.directory, &self.arguments))
            .expect("redis-server does not start again");
    }

    /// One command, as `redis-cli` would do it.
    pub fn command(&self, words: &[&str]) -> redis::Value {
        let mut connection = redis::Client::open(self.url()).unwrap().get_connection().unwrap();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut connection).unwrap()
    }
}

/// Sends a signal to a process that a test has started. One that is to stop has done so: each of its threads does by itself.
pub fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap().success());
    while name == "STOP" && is_running(pid) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether a thread of it still runs, or may (proc(5), `/proc/pid/stat`).
fn is_running(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let state = |stat: String| stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    threads
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok())
        .any(|stat| state(stat) != Some('T'))
}

fn launch(program: &str, port: u16, directory: &std::path::Path, arguments: &[String]) -> Option<Child> {
    let mut child = Command::new(program)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
        .arg(directory)
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    if lines.any(|line| line.to_ascii_lowercase().contains("ready to accept connections")) {
        // Nobody reads the rest; a full pipe would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        return Some(child);
    }
    let _ = child.wait();
    None
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
