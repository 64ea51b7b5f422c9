//! What comes before a WebSocket: one HTTP request. Knows the paths and the headers, nothing of peers.
//!
//! One request per connection: a broker is not a web server, and an idle connection costs a descriptor.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::Either;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use crate::files::{Body, Files};
use crate::server::Shared;
use crate::session;

/// Bytes of a request's head: browsers send all cookies of `localhost`, whichever project they are of.
const MAX_HEAD: usize = 16 * 1024;

/// How long a whole response may take, so that a client that does not read holds nothing for ever.
const RESPONSE: Duration = Duration::from_secs(300);

const PAGE: &str = "This is a linkup broker: it introduces peers by their ids.\n\n\
    Connect to it with the address of this page, with ws: instead of http:, for example:\n\n    \
    const peer = createPeer('my-id', { brokerUrl: 'ws://localhost:5000' })\n\n\
    GET /healthz says whether it is well.\n";

/// Answers the request of a connection. A WebSocket where it asked for one.
pub(crate) async fn serve(tcp: TcpStream, shared: Arc<Shared>) -> Option<WebSocketStream<TcpStream>> {
    let handshake_timeout = shared.options.handshake_timeout;
    let connection = hyper::server::conn::http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .timer(TokioTimer::new())
        .header_read_timeout(handshake_timeout)
        .serve_connection(TokioIo::new(tcp), Service { shared, upgraded: Cell::new(false) })
        .without_shutdown();
    // Errors are the client's: it left, was too slow, or does not speak HTTP.
    let parts = tokio::time::timeout(handshake_timeout + RESPONSE, connection).await.ok()?.ok()?;
    if !parts.service.upgraded.get() {
        return None;
    }
    Some(session::web_socket(parts.io.into_inner(), parts.read_buf).await)
}

struct Service {
    shared: Arc<Shared>,
    upgraded: Cell<bool>,
}

type Answer = Result<Response<Body>, Infallible>;

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Ready<Answer>, Pin<Box<dyn Future<Output = Answer> + Send>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let response = if wants_web_socket(&request) {
            self.upgrade(&request)
        } else if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        } else {
            match (request.uri().path(), &self.shared.files) {
                ("/healthz", _) => text(StatusCode::OK, "ok"),
                (path, Some(files)) => return Either::Right(Box::pin(file(files.clone(), path.to_owned()))),
                ("/", None) => text(StatusCode::OK, PAGE),
                (_, None) => text(StatusCode::NOT_FOUND, "not found\n"),
            }
        };
        Either::Left(ready(Ok(response)))
    }
}

impl Service {
    fn upgrade(&self, request: &Request<Incoming>) -> Response<Body> {
        if !self.admits(request) {
            return text(StatusCode::FORBIDDEN, "this broker is not for pages of this origin\n");
        }
        match create_response_with_body(request, Body::default) {
            Ok(response) => {
                self.upgraded.set(true);
                response
            }
            Err(error) => {
                let mut response = text(StatusCode::BAD_REQUEST, format!("{error}\n"));
                // RFC 6455, section 4.2.2: what a client of another version may try instead.
                response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
                response
            }
        }
    }
}

impl Service {
    /// Whether the page that asks may use this broker. RFC 6455, section 10.2.
    fn admits(&self, request: &Request<Incoming>) -> bool {
        let Some(allowed) = &self.shared.options.origins else { return true };
        let mut said = request.headers().get_all(header::ORIGIN).iter();
        said.all(|origin| origin.to_str().is_ok_and(|origin| allowed.iter().any(|allowed| allowed.is(origin))))
    }
}

fn wants_web_socket(request: &Request<Incoming>) -> bool {
    let upgrade = request.headers().get(header::UPGRADE);
    upgrade.is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

async fn file(files: Files, path: String) -> Answer {
    Ok(match files.open(path).await {
        Some((content_type, body)) => response(StatusCode::OK, content_type, body),
        None => text(StatusCode::NOT_FOUND, "not found\n"),
    })
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    response(status, "text/plain; charset=utf-8", Body::from(text.into()))
}

fn response(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
