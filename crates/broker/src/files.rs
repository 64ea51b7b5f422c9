//! Static files of one directory, and the body of every HTTP response. Knows paths and bytes, nothing of peers.
//!
//! A file is read in pieces on the runtime's threads for blocking work: however large it is, a request holds one
//! piece of it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::task::{JoinHandle, spawn_blocking};

/// Bytes of a piece.
const PIECE: usize = 64 * 1024;

/// A directory whose files are served. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// Without links, so that a path can be compared with it.
    root: Arc<Path>,
}

impl Files {
    pub(crate) fn new(root: &Path) -> io::Result<Self> {
        let explain = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", root.display()));
        let canonical = root.canonicalize().map_err(explain)?;
        if !canonical.is_dir() {
            return Err(explain(io::ErrorKind::NotADirectory.into()));
        }
        Ok(Self { root: canonical.into() })
    }

    /// Opens the file of a URL's path: its content type and its bytes.
    pub(crate) async fn open(self, url_path: String) -> Option<(&'static str, Body)> {
        spawn_blocking(move || self.open_blocking(&url_path)).await.ok().flatten()
    }

    fn open_blocking(&self, url_path: &str) -> Option<(&'static str, Body)> {
        let path = self.root.join(relative(url_path)?).canonicalize().ok()?;
        // A link may lead anywhere.
        if !path.starts_with(&self.root) {
            return None;
        }
        let file = File::open(&path).ok()?;
        let metadata = file.metadata().ok()?;
        if !metadata.is_file() {
            return None;
        }
        let body = Body(State::File { left: metadata.len(), reading: Reading::Idle(file) });
        Some((content_type(&path), body))
    }
}

/// The path below the root that a URL's path names: nothing hidden, nothing above.
fn relative(url_path: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for segment in percent_decoded(url_path)?.strip_prefix('/')?.split('/') {
        // A colon is a drive or a stream on Windows, a backslash one more separator.
        if segment.starts_with('.') || segment.contains(['\\', ':', '\0']) {
            return None;
        }
        path.push(segment);
    }
    if url_path.ends_with('/') {
        path.push("index.html");
    }
    Some(path)
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            u8::try_from(digit()? * 16 + digit()?).ok()?
        } else {
            byte
        });
    }
    String::from_utf8(bytes).ok()
}

fn content_type(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "wasm" => "application/wasm",
        "txt" | "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// The body of a response.
#[derive(Default)]
pub(crate) struct Body(State);

#[derive(Default)]
enum State {
    #[default]
    Empty,
    Bytes(Bytes),
    File {
        left: u64,
        reading: Reading,
    },
}

enum Reading {
    Idle(File),
    Busy(JoinHandle<io::Result<(File, Bytes)>>),
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(if bytes.is_empty() { State::Empty } else { State::Bytes(bytes) })
    }
}

/// Reads the next piece of at most `left` bytes.
fn read(mut file: File, left: u64) -> io::Result<(File, Bytes)> {
    let mut piece = vec![0; usize::try_from(left).map_or(PIECE, |left| left.min(PIECE))];
    let bytes = file.read(&mut piece)?;
    if bytes == 0 {
        // It was cut while it was read: the promised length cannot be kept.
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    piece.truncate(bytes);
    Ok((file, piece.into()))
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let busy = match std::mem::take(&mut self.0) {
            State::Empty | State::File { left: 0, .. } => return Poll::Ready(None),
            State::Bytes(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
            State::File { left, reading: Reading::Idle(file) } => (left, spawn_blocking(move || read(file, left))),
            State::File { left, reading: Reading::Busy(busy) } => (left, busy),
        };
        let (left, mut busy) = busy;
        let result = Pin::new(&mut busy).poll(cx);
        if result.is_pending() {
            self.0 = State::File { left, reading: Reading::Busy(busy) };
        }
        let (file, bytes) = match ready!(result).map_err(io::Error::other).flatten() {
            Ok(read) => read,
            Err(error) => return Poll::Ready(Some(Err(error))),
        };
        self.0 = State::File { left: left.saturating_sub(bytes.len() as u64), reading: Reading::Idle(file) };
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match &self.0 {
            State::Empty => 0,
            State::Bytes(bytes) => bytes.len() as u64,
            State::File { left, .. } => *left,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_files_below_the_root() {
        let path = |url| relative(url).map(|path| path.to_str().unwrap().to_owned());
        assert_eq!(path("/").as_deref(), Some("index.html"));
        assert_eq!(path("/a/b.js").as_deref(), Some("a/b.js"));
        assert_eq!(path("/a/").as_deref(), Some("a/index.html"));
        assert_eq!(path("/%C3%A9%20.js").as_deref(), Some("é .js"));
    }

    #[test]
    fn names_nothing_hidden_and_nothing_above() {
        for url in [
            "/../a",
            "/%2e%2e/a",
            "/a/%2E./b",
            "/a%2f..%2fb",
            "/.git/config",
            "/.env",
            "/a\\..\\b",
            "/%5c%5chost",
            "/c:/x",
            "/%00",
            "/%",
            "/%2",
            "/%zz",
            "/%ff",
            "a",
            "",
        ] {
            assert_eq!(relative(url), None, "{url}");
        }
    }

    proptest! {
        #[test]
        fn never_leaves_the_root(url in "(/|%2[eEfF]|%5[cC]|[.]|a|%|:|\\\\|é){0,12}") {
            if let Some(path) = relative(&url) {
                let normal = |part| matches!(part, std::path::Component::Normal(_));
                prop_assert!(path.components().all(normal), "{}", path.display());
            }
        }
    }
}
