//! A program in C, compiled against `linkup.h` and the library, talks over a real broker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::Command;

use linkup_broker::Broker;

/// Where cargo has put the library beside this test.
fn library() -> PathBuf {
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let name = format!("{}linkup_ffi{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    assert!(deps.join(&name).exists(), "{name} is not in {}", deps.display());
    deps
}

#[test]
fn a_program_in_c_talks() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("talk");
    let deps = library();
    let compiled = Command::new("cc")
        .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-O1", "-I"])
        .arg(here.join("include"))
        .arg(here.join("tests/talk.c"))
        .arg("-L")
        .arg(&deps)
        .args(["-llinkup_ffi", "-o"])
        .arg(&program)
        .output()
        .expect("a C compiler named cc");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listeners = Broker::listen(Some("127.0.0.1"), 0).unwrap();
    let broker = Broker::start(listeners, linkup_broker::Options::default(), runtime.handle()).unwrap();
    let url = format!("ws://{}", broker.addresses()[0]);
    let ran = Command::new(&program).arg(url).env("LD_LIBRARY_PATH", &deps).output().unwrap();
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
    let read = |file: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
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
