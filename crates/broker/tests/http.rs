//! What the broker answers to plain HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::path::PathBuf;
use std::time::Duration;

use common::{broker, start, within};
use linkup_broker::{Broker, Options, Origin};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends a request and returns the status line, the headers in lower case, and the body.
async fn http(broker: &Broker, request: &str) -> (String, String, Vec<u8>) {
    let mut tcp = TcpStream::connect(broker.addresses()[0]).await.unwrap();
    tcp.write_all(request.replace('\n', "\r\n").as_bytes()).await.unwrap();
    let mut response = Vec::new();
    within(tcp.read_to_end(&mut response)).await.unwrap();
    let end = response.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("no end of the head");
    let head = String::from_utf8(response[..end].to_vec()).unwrap();
    let (status, headers) = head.split_once("\r\n").unwrap();
    (status.to_owned(), headers.to_lowercase(), response[end + 4..].to_vec())
}

async fn get(broker: &Broker, path: &str) -> (String, String, Vec<u8>) {
    http(broker, &format!("GET {path} HTTP/1.1\nHost: a\n\n")).await
}

const OK: &str = "HTTP/1.1 200 OK";
const NOT_FOUND: &str = "HTTP/1.1 404 Not Found";

/// A directory of its own for a test, removed at the end of it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("linkup-broker-{name}-{}", std::process::id()));
        std::fs::create_dir_all(path.join("public/lib")).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.0.join(name), content).unwrap();
    }

    fn broker(&self) -> Broker {
        let mut options = Options::default();
        options.files = Some(self.0.join("public"));
        start(options)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn says_that_it_is_well_and_what_it_is() {
    let broker = broker();
    let (status, headers, body) = get(&broker, "/healthz").await;
    assert_eq!((status.as_str(), body.as_slice()), (OK, &b"ok"[..]));
    assert!(headers.contains("x-content-type-options: nosniff") && !headers.contains("server:"), "{headers}");
    let (status, headers, body) = get(&broker, "/").await;
    assert_eq!(status, OK);
    assert!(headers.contains("content-type: text/plain"));
    assert!(String::from_utf8(body).unwrap().contains("linkup broker"));
    assert_eq!(get(&broker, "/index.html").await.0, NOT_FOUND);
}

#[tokio::test]
async fn takes_only_get_and_head() {
    let broker = broker();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "X"] {
        let (status, headers, _) = http(&broker, &format!("{method} /healthz HTTP/1.1\nHost: a\n\n")).await;
        assert_eq!(status, "HTTP/1.1 405 Method Not Allowed");
        assert!(headers.contains("allow: get, head"));
    }
    let (status, headers, body) = http(&broker, "HEAD /healthz HTTP/1.1\nHost: a\n\n").await;
    assert_eq!((status.as_str(), body.len()), (OK, 0));
    assert!(headers.contains("content-length: 2"));
}

#[tokio::test]
async fn serves_files() {
    let directory = Directory::new("files");
    let large: Vec<u8> = (0..300_000_u32).map(|byte| byte as u8).collect();
    directory.write("public/index.html", "<p>");
    directory.write("public/lib/linkup.mjs", "js");
    directory.write("public/large", &large);
    directory.write("public/empty.css", "");
    let broker = directory.broker();
    for (path, content_type, content) in [
        ("/", "text/html", &b"<p>"[..]),
        ("/index.html?a=/../b", "text/html", b"<p>"),
        ("/lib/linkup.mjs", "text/javascript", b"js"),
        ("/large", "application/octet-stream", &large),
        ("/empty.css", "text/css", b""),
        ("/healthz", "text/plain", b"ok"),
    ] {
        let (status, headers, body) = get(&broker, path).await;
        assert_eq!(status, OK, "{path}");
        assert!(headers.contains(&format!("content-type: {content_type}")), "{path}: {headers}");
        assert!(headers.contains(&format!("content-length: {}", content.len())), "{path}: {headers}");
        assert!(headers.contains("nosniff"));
        assert!(body == content, "{path}");
    }
    let (status, headers, body) = http(&broker, "HEAD /large HTTP/1.1\nHost: a\n\n").await;
    assert_eq!((status.as_str(), body.len()), (OK, 0));
    assert!(headers.contains("content-length: 300000"), "{headers}");
    for path in ["/lib", "/lib/", "/nothing", "/index.html/"] {
        assert_eq!(get(&broker, path).await.0, NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn serves_nothing_outside_and_nothing_hidden() {
    let directory = Directory::new("outside");
    directory.write("secret", "secret");
    directory.write("public/.env", "secret");
    directory.write("public/index.html", "<p>");
    #[cfg(unix)]
    std::os::unix::fs::symlink(directory.0.join("secret"), directory.0.join("public/link")).unwrap();
    let broker = directory.broker();
    for path in [
        "/../secret",
        "/lib/../../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/..%5csecret",
        "/link",
        "/.env",
        "/%2eenv",
        "//etc/passwd",
        "/%00",
    ] {
        let (status, _, body) = get(&broker, path).await;
        assert_eq!((status.as_str(), body.as_slice()), (NOT_FOUND, &b"not found\n"[..]), "{path}");
    }
}

#[tokio::test]
async fn a_directory_that_does_not_exist_is_an_error() {
    let mut options = Options::default();
    options.files = Some("/does/not/exist".into());
    let listeners = Broker::listen(Some("127.0.0.1"), 0).unwrap();
    let error = Broker::start(listeners, options, &tokio::runtime::Handle::current()).unwrap_err();
    assert!(error.to_string().contains("/does/not/exist"), "{error}");
}

#[tokio::test]
async fn upgrades_on_any_path_and_says_what_is_wrong_with_a_handshake() {
    let broker = broker();
    let upgrade = "Host: a\nConnection: keep-alive, Upgrade\nUpgrade: WebSocket\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n";
    let mut tcp = TcpStream::connect(broker.addresses()[0]).await.unwrap();
    let request = format!("GET /any/path?x HTTP/1.1\n{upgrade}{key}Sec-WebSocket-Version: 13\n\n");
    // The first frame, a masked ping, comes together with the request.
    let mut bytes = request.replace('\n', "\r\n").into_bytes();
    bytes.extend([0x89, 0x80, 1, 2, 3, 4]);
    tcp.write_all(&bytes).await.unwrap();
    let mut response = Vec::new();
    while !response.ends_with(&[0x8a, 0x00]) {
        assert_ne!(within(tcp.read_buf(&mut response)).await.unwrap(), 0);
    }
    let head = String::from_utf8_lossy(&response).to_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    // RFC 6455, section 1.3.
    assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");

    for headers in
        [format!("{upgrade}{key}Sec-WebSocket-Version: 8\n"), format!("{upgrade}Sec-WebSocket-Version: 13\n")]
    {
        let (status, answer, _) = http(&broker, &format!("GET / HTTP/1.1\n{headers}\n")).await;
        assert_eq!(status, "HTTP/1.1 400 Bad Request");
        assert!(answer.contains("sec-websocket-version: 13"));
    }
}

#[tokio::test]
async fn lets_in_only_pages_of_the_origins_that_it_is_for() {
    let handshake = "Host: a\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n";
    let status = async |broker: &Broker, origin: &str| {
        let mut tcp = TcpStream::connect(broker.addresses()[0]).await.unwrap();
        let request = format!("GET / HTTP/1.1\n{handshake}{origin}\n").replace('\n', "\r\n");
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut response = Vec::new();
        while response.len() < 12 {
            assert_ne!(within(tcp.read_buf(&mut response)).await.unwrap(), 0);
        }
        String::from_utf8_lossy(&response[9..12]).into_owned()
    };
    let mut options = Options::default();
    options.origins = Some(vec!["https://example.org".parse().unwrap(), Origin::Localhost]);
    let (open, choosy) = (broker(), start(options));
    for (origin, expected) in [
        ("", "101"),
        ("Origin: https://example.org\n", "101"),
        ("Origin: http://localhost:5000\n", "101"),
        ("Origin: https://example.com\n", "403"),
        ("Origin: https://example.org.example.com\n", "403"),
        ("Origin: null\n", "403"),
        ("Origin: \n", "403"),
        ("Origin: https://example.org\nOrigin: https://example.com\n", "403"),
    ] {
        assert_eq!(status(&choosy, origin).await, expected, "{origin}");
        assert_eq!(status(&open, origin).await, "101", "{origin}");
    }
    // Anybody may see what it is.
    let (status, ..) = http(&choosy, "GET /healthz HTTP/1.1\nHost: a\nOrigin: https://example.com\n\n").await;
    assert_eq!(status, OK);
}

#[tokio::test]
async fn a_client_that_sends_no_request_is_dropped() {
    let mut options = Options::default();
    options.handshake_timeout = Duration::from_millis(100);
    let broker = start(options);
    for begin in ["", "GET / HTTP/1.1\r\n"] {
        let mut tcp = TcpStream::connect(broker.addresses()[0]).await.unwrap();
        tcp.write_all(begin.as_bytes()).await.unwrap();
        let _ = within(tcp.read_to_end(&mut Vec::new())).await;
    }
}

#[tokio::test]
async fn says_how_it_is_doing() {
    let broker = broker();
    let mut a = common::Client::registered(&broker, "a").await;
    a.ask(serde_json::json!({"type": "signal", "to": "a", "signal": ""})).await;
    let (status, headers, body) = get(&broker, "/metrics").await;
    assert_eq!(status, OK);
    assert!(headers.contains("content-type: text/plain; version=0.0.4"), "{headers}");
    let page = String::from_utf8(body).unwrap();
    for line in [
        "linkup_peers 1",
        "linkup_web_sockets 1",
        "linkup_messages_total{type=\"signal\"} 1",
        "linkup_messages_total{type=\"register\"} 1",
        "linkup_web_sockets_total 1",
        "linkup_connections_total 2",
    ] {
        assert!(page.lines().any(|written| written == line), "{line}\n{page}");
    }
    assert!(common::metric(&broker, "linkup_bytes_total{direction=\"in\"}") > 100);
    a.json().await;
    common::until(|| async { common::metric(&broker, "linkup_route_seconds_count") == 1 }).await;
}

#[tokio::test]
async fn the_public_may_not_read_the_metrics() {
    let request = |headers: &str| format!("GET /metrics HTTP/1.1\nHost: a\n{headers}\n");
    let open = broker();
    // Some proxy, which may stand for anybody.
    assert_eq!(http(&open, &request("X-Forwarded-For: 10.0.0.1\n")).await.0, NOT_FOUND);
    let proxied = common::behind_proxy(Options::default());
    for (headers, status) in [
        ("", OK),
        ("X-Forwarded-For: 10.0.0.1\n", OK),
        ("Forwarded: for=10.0.0.1\n", OK),
        ("X-Forwarded-For: 192.0.2.1\n", NOT_FOUND),
        ("X-Forwarded-For: 10.0.0.1, 192.0.2.1\n", NOT_FOUND),
        ("X-Forwarded-For: nonsense\n", NOT_FOUND),
    ] {
        assert_eq!(http(&proxied, &request(headers)).await.0, status, "{headers}");
    }
    let mut options = Options::default();
    options.metrics_from = Vec::new();
    assert_eq!(get(&start(options), "/metrics").await.0, NOT_FOUND);
}
