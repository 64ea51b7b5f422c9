//! A broker on a free port, and a client that speaks to it in plain JSON text.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

pub mod nodes;
pub mod redis;
pub mod tls;
pub mod turn;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use linkup_broker::{Broker, Options};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// Far more than anything here takes: a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("nothing came in 20 s")
}

pub fn start(options: Options) -> Broker {
    let listeners = Broker::listen(Some("127.0.0.1"), 0).unwrap();
    Broker::start(listeners, options, &tokio::runtime::Handle::current()).unwrap()
}

pub fn broker() -> Broker {
    start(Options::default())
}

/// A broker that believes this machine who a client is: then tests have clients of any address.
pub fn behind_proxy(mut options: Options) -> Broker {
    options.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    start(options)
}

/// A number of `/metrics`, by its name and label.
pub fn metric(broker: &Broker, name: &str) -> u64 {
    let page = broker.metrics();
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("there is no {name}")).parse().unwrap()
}

pub fn refused(broker: &Broker, reason: &str) -> u64 {
    metric(broker, &format!("linkup_refused_total{{reason=\"{reason}\"}}"))
}

/// The status of a handshake that was refused.
pub fn status(result: Result<Client, Error>) -> u16 {
    match result {
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was let in"),
    }
}

/// Lets this process have so many sockets, and what it starts: many a shell allows 1024.
pub fn allow_sockets(count: usize) {
    let pid = std::process::id().to_string();
    let _ = std::process::Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={count}:")]).status();
}

/// Asks again until the answer is yes. Nothing tells from outside when a socket's end is noticed.
pub async fn until(mut question: impl AsyncFnMut() -> bool) {
    within(async {
        while !question().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

pub struct Client<S = TcpStream>(pub WebSocketStream<S>);

impl Client {
    pub async fn connect(broker: &Broker) -> Self {
        Self::try_connect(broker.addresses()[0]).await.unwrap()
    }

    pub async fn try_connect(address: SocketAddr) -> Result<Self, Error> {
        Self::over(TcpStream::connect(address).await?).await
    }

    /// A client for which the kernel holds as little as possible while it does not read.
    pub async fn with_small_buffers(broker: &Broker) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        Self::over(socket.connect(broker.addresses()[0]).await.unwrap()).await.unwrap()
    }

    /// A client with more headers.
    pub async fn with_headers(broker: &Broker, headers: &[(&'static str, &str)]) -> Result<Self, Error> {
        let mut request = "ws://localhost/".into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        let tcp = TcpStream::connect(broker.addresses()[0]).await?;
        let (web_socket, _) = within(client_async(request, tcp)).await?;
        Ok(Self(web_socket))
    }

    /// A client that comes, so says a proxy, from an address.
    pub async fn try_from_address(broker: &Broker, address: &str) -> Result<Self, Error> {
        Self::with_headers(broker, &[("x-forwarded-for", address)]).await
    }

    pub async fn from_address(broker: &Broker, address: &str) -> Self {
        Self::try_from_address(broker, address).await.unwrap()
    }

    /// A client with a registered id.
    pub async fn registered(broker: &Broker, id: &str) -> Self {
        let mut client = Self::connect(broker).await;
        assert_eq!(client.ask(json!({"type": "register", "id": id})).await["error"], Value::Null);
        client
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// A client over any stream.
    pub async fn over(stream: S) -> Result<Self, Error> {
        let (web_socket, _) = within(client_async("ws://localhost/", stream)).await?;
        Ok(Self(web_socket))
    }

    pub async fn send(&mut self, text: impl Into<String>) {
        within(self.0.send(Message::text(text.into()))).await.unwrap();
    }

    /// The next frame that is neither ping nor pong.
    pub async fn next(&mut self) -> Option<Message> {
        within(async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(message)) => return Some(message),
                    Some(Err(_)) | None => return None,
                }
            }
        })
        .await
    }

    /// The next text frame, as it is.
    pub async fn text(&mut self) -> String {
        match self.next().await {
            Some(Message::Text(text)) => text.to_string(),
            other => panic!("expected a text, got {other:?}"),
        }
    }

    pub async fn json(&mut self) -> Value {
        serde_json::from_str(&self.text().await).unwrap()
    }

    /// The code and the reason of the close frame that comes next.
    pub async fn close_frame(&mut self) -> (u16, String) {
        match self.next().await {
            Some(Message::Close(Some(frame))) => (frame.code.into(), frame.reason.to_string()),
            other => panic!("expected a close frame, got {other:?}"),
        }
    }

    /// Sends a request and returns its response.
    pub async fn ask(&mut self, message: Value) -> Value {
        self.send(json!({"id": "u", "message": message}).to_string()).await;
        let response = self.json().await;
        assert_eq!(response["id"], "u", "{response}");
        response
    }

    pub async fn find(&mut self, id: &str) -> bool {
        self.ask(json!({"type": "find", "id": id})).await["message"] == id
    }
}

/// The code of a response's error.
pub fn code(response: &Value) -> &str {
    assert_eq!(response["message"], Value::Null, "{response}");
    response["error"]["code"].as_str().unwrap()
}
