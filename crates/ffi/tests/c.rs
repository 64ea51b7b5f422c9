//! A program in C, compiled against `linkup.h` and the library, talks over a real broker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use linkup_broker::Broker;
use linkup_driver::core::{ConnectionId, Event};
use linkup_driver::{Message, Sink};
use tokio::runtime::Runtime;

/// Where cargo has put the library beside this test.
fn library() -> PathBuf {
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let name = format!("{}linkup_ffi{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    assert!(deps.join(&name).exists(), "{name} is not in {}", deps.display());
    deps
}

/// Compiles a program in C, which then runs beside the library.
fn compile(source: &Path, name: &str) -> Command {
    let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let deps = library();
    let compiled = Command::new("cc")
        .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-O1", "-I"])
        .arg(here().join("include"))
        .arg(source)
        .arg("-L")
        .arg(&deps)
        .args(["-llinkup_ffi", "-o"])
        .arg(&program)
        .output()
        .expect("a C compiler named cc");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let mut run = Command::new(&program);
    run.env("LD_LIBRARY_PATH", &deps);
    run
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn broker(runtime: &Runtime) -> (Broker, String) {
    let listeners = Broker::listen(Some("127.0.0.1"), 0).unwrap();
    let broker = Broker::start(listeners, linkup_broker::Options::default(), runtime.handle()).unwrap();
    let url = format!("ws://{}", broker.addresses()[0]);
    (broker, url)
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// The program in docs/native.md, with another broker, and a peer that answers and closes.
#[test]
fn the_program_of_the_docs_runs() {
    let runtime = runtime();
    let (_broker, url) = broker(&runtime);
    let text = std::fs::read_to_string(here().join("../../docs/native.md")).unwrap();
    let code = text.split("```c\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(code.contains("ws://localhost:5000"));
    let source = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("docs.c");
    std::fs::write(&source, code.replace("ws://localhost:5000", &url)).unwrap();
    let mut program = compile(&source, "docs");

    let options = linkup_driver::Options::from_json(&format!(r#"{{"id": "bob", "brokers": ["{url}"]}}"#)).unwrap();
    let (said, heard) = std::sync::mpsc::channel();
    let bob = Arc::new(Bob { said });
    let peer = linkup_driver::Peer::start(runtime.handle(), options, Arc::clone(&bob) as _);
    let next = || heard.recv_timeout(Duration::from_secs(30)).expect("in time");
    assert_eq!(next(), Said::Registered);
    let ran = std::thread::spawn(move || program.output().unwrap());
    let Said::Open(connection) = next() else { panic!("no connection") };
    assert_eq!(next(), Said::Message(r#""hi bob!""#.to_owned()));
    peer.link(connection).unwrap().send(Message::Text(r#"{"hello": "alice"}"#.to_owned())).unwrap();
    peer.close(connection, None);
    let ran = ran.join().unwrap();
    assert_eq!((ran.status.code(), &*ran.stdout), (Some(0), &b"{\"hello\": \"alice\"}\n"[..]));
}

#[derive(Debug, PartialEq)]
enum Said {
    Registered,
    Open(ConnectionId),
    Message(String),
}

struct Bob {
    said: std::sync::mpsc::Sender<Said>,
}

impl Sink for Bob {
    fn event(&self, event: Event) {
        let said = match event {
            Event::Registered => Said::Registered,
            Event::Open { connection, .. } => Said::Open(connection),
            _ => return,
        };
        self.said.send(said).unwrap();
    }

    fn message(&self, _: ConnectionId, message: Message) -> bool {
        let Message::Text(text) = message else { panic!("bytes") };
        self.said.send(Said::Message(text)).unwrap();
        true
    }

    fn room(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }

    fn drained(&self, _: ConnectionId) {}
}

#[test]
fn a_program_in_c_talks() {
    let mut program = compile(&here().join("tests/talk.c"), "talk");
    let runtime = runtime();
    let (_broker, url) = broker(&runtime);
    let ran = program.arg(url).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{:?}: {said}{}", ran.status, String::from_utf8_lossy(&ran.stderr));
    let blocks: Vec<u8> = said.lines().filter_map(|line| line.strip_prefix("block ")?.parse().ok()).collect();
    let sent: Vec<u8> = (0..1000).map(|n| n as u8).collect();
    assert_eq!(blocks, sent, "each once and in order");
    assert!(said.contains(&format!("version {}", env!("CARGO_PKG_VERSION"))), "{said}");
}

/// Numbers are written down twice, as no generator is run: in the header and in `events.rs`.
#[test]
fn the_header_has_the_numbers_of_the_code() {
    let read = |file: &str| std::fs::read_to_string(here().join(file)).unwrap();
    let (header, code) = (read("include/linkup.h"), read("src/events.rs"));
    let in_code: Vec<(String, u32)> = code
        .lines()
        .filter_map(|line| line.strip_prefix("pub(crate) const ")?.strip_suffix(';')?.split_once(": u32 = "))
        .map(|(name, number)| (format!("LINKUP_{name}"), number.parse().unwrap()))
        .collect();
    let in_header: Vec<(String, u32)> = header
        .lines()
        .take_while(|line| !line.contains("What linkup_send() returns"))
        .filter_map(|line| line.strip_prefix("#define ")?.split_once(' '))
        .filter_map(|(name, rest)| Some((name.to_owned(), rest.split_whitespace().next()?.parse().ok()?)))
        .collect();
    assert_eq!(in_header.len(), 14);
    assert_eq!(in_header, in_code);
}
