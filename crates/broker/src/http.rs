//! What comes before a WebSocket: one HTTP request. Knows the paths and the headers, nothing of peers.
//!
//! One request per connection: a broker is not a web server, and an idle connection costs a descriptor.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::IpAddr;
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::Either;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use crate::admission::{About, Guest, Slot, count_refusal, refusal};
use crate::farewell::FAREWELL;
use crate::files::{Body, Files};
use crate::limits::Visit;
use crate::metrics::{Count, render};
use crate::proxies;
use crate::session::web_socket;
use crate::stream::Stream;

/// Bytes of a request's head: browsers send all cookies of `localhost`, whichever project they are of.
const MAX_HEAD: usize = 16 * 1024;

/// How long a whole response may take, so that a client that does not read holds nothing for ever.
const RESPONSE: Duration = Duration::from_secs(300);

const PAGE: &str = "This is a linkup broker: it introduces peers by their ids.\n\n\
    Connect to it with the address of this page, with ws: instead of http:, for example:\n\n    \
    const peer = createPeer('my-id', { brokerUrl: 'ws://localhost:5000' })\n\n\
    GET /healthz says whether it is well, /readyz whether it takes new peers.\n";

/// Answers the request of a connection. A WebSocket, and whose it is, where it asked for one.
///
/// `visit` is there unless a trusted proxy has connected: then it is the client's that the request names.
pub(crate) async fn serve(
    stream: Stream,
    slot: Slot,
    ip: IpAddr,
    visit: Option<Visit>,
) -> Option<(WebSocketStream<Stream>, Guest)> {
    let shared = slot.shared();
    let (metrics, limits) = (shared.clone(), shared.options.limits.clone());
    let handshake_timeout = shared.options.handshake_timeout;
    let visit = Cell::new(visit);
    let service = Service { slot, ip, visit, about: Cell::new(None), upgraded: Cell::new(false) };
    let connection = hyper::server::conn::http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .timer(TokioTimer::new())
        .header_read_timeout(handshake_timeout)
        .serve_connection(TokioIo::new(stream), service)
        .without_shutdown();
    // Errors are the client's: it left, was too slow, or does not speak HTTP.
    let parts = match tokio::time::timeout(handshake_timeout + RESPONSE, connection).await {
        Ok(Ok(parts)) => parts,
        failed => {
            if failed.is_err()
                || failed.is_ok_and(|served| served.is_err_and(|error| error.is_timeout() || error.is_parse()))
            {
                metrics.router.metrics().count(Count::RefusedHandshake);
            }
            return None;
        }
    };
    let Service { slot, visit, about, upgraded, .. } = parts.service;
    if !upgraded.get() {
        // With TLS a client cannot tell otherwise that this is all.
        let _ = tokio::time::timeout(FAREWELL, parts.io.into_inner().shutdown()).await;
        return None;
    }
    let guest = Guest { visit: visit.into_inner()?, about: about.into_inner(), slot };
    Some((web_socket(parts.io.into_inner(), &parts.read_buf, &limits).await, guest))
}

struct Service {
    slot: Slot,
    /// Whose connection it is.
    ip: IpAddr,
    visit: Cell<Option<Visit>>,
    about: Cell<Option<Box<About>>>,
    upgraded: Cell<bool>,
}

type Answer = Result<Response<Body>, Infallible>;

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Ready<Answer>, Pin<Box<dyn Future<Output = Answer> + Send>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let shared = self.slot.shared();
        let response = if wants_web_socket(&request) {
            self.upgrade(&request)
        } else if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        } else {
            match (request.uri().path(), &shared.files) {
                ("/healthz", _) => text(StatusCode::OK, "ok"),
                ("/readyz", _) if shared.is_draining() => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
                ("/readyz", _) if !shared.router.is_ready() => {
                    text(StatusCode::SERVICE_UNAVAILABLE, "not yet one with the other brokers\n")
                }
                ("/readyz", _) => text(StatusCode::OK, "ready"),
                ("/metrics", _) if self.may_read_metrics(&request) => {
                    let page = render(shared.router.metrics(), &shared.gauges());
                    response(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", Bytes::from(page).into())
                }
                (path, Some(files)) if path != "/metrics" => {
                    return Either::Right(Box::pin(file(files.clone(), path.to_owned())));
                }
                ("/", None) => text(StatusCode::OK, PAGE),
                _ => text(StatusCode::NOT_FOUND, "not found\n"),
            }
        };
        Either::Left(ready(Ok(response)))
    }
}

impl Service {
    fn upgrade(&self, request: &Request<Incoming>) -> Response<Body> {
        let shared = self.slot.shared();
        let metrics = shared.router.metrics();
        if shared.is_draining() {
            metrics.count(Count::RefusedDraining);
            return text(StatusCode::SERVICE_UNAVAILABLE, "this broker is about to end: connect to another one\n");
        }
        if !self.admits(request) {
            metrics.count(Count::RefusedOrigin);
            return text(StatusCode::FORBIDDEN, "this broker is not for pages of this origin\n");
        }
        let answer = match create_response_with_body(request, Body::default) {
            Ok(response) => response,
            Err(error) => {
                let mut response = text(StatusCode::BAD_REQUEST, format!("{error}\n"));
                // RFC 6455, section 4.2.2: what a client of another version may try instead.
                response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
                return response;
            }
        };
        let ip = self.client(request).unwrap_or(self.ip);
        let visit = match self.visit.take() {
            Some(visit) => visit,
            None => match shared.clients.enter(ip, Instant::now()) {
                Ok(visit) => visit,
                Err(full) => {
                    count_refusal(shared, full, ip);
                    return text(StatusCode::TOO_MANY_REQUESTS, refusal(full));
                }
            },
        };
        self.visit.set(Some(visit));
        if shared.router.guard().asks() {
            let origin = request.headers().get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
            self.about.set(Some(Box::new(About { address: ip, origin: origin.map(Into::into) })));
        }
        self.upgraded.set(true);
        answer
    }

    /// Where the request comes from. `None` where nobody knows: an unknown proxy has passed it on, or a known one does
    /// not say for whom.
    fn client(&self, request: &Request<Incoming>) -> Option<IpAddr> {
        let trusted = &self.slot.shared().options.trusted_proxies;
        match (proxies::is_in(trusted, self.ip), proxies::is_forwarded(request.headers())) {
            (true, true) => proxies::client(request.headers(), trusted),
            (false, true) => None,
            (_, false) => Some(self.ip),
        }
    }

    fn may_read_metrics(&self, request: &Request<Incoming>) -> bool {
        let allowed = &self.slot.shared().options.metrics_from;
        self.client(request).is_some_and(|ip| proxies::is_in(allowed, ip))
    }

    /// Whether the page that asks may use this broker. RFC 6455, section 10.2.
    fn admits(&self, request: &Request<Incoming>) -> bool {
        let Some(allowed) = &self.slot.shared().options.origins else { return true };
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
