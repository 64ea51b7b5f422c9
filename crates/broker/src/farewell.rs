//! How a session ends, and the last words to its client. Knows nothing of what they are about.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::SinkExt;
use linkup_proto::broker::Response;
use linkup_proto::{Error as LinkupError, ErrorCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::stream::Stream;

pub(crate) const CLOSE_GOING_AWAY: u16 = 1001;
pub(crate) const CLOSE_PROTOCOL: u16 = 1002;
pub(crate) const CLOSE_UNSUPPORTED: u16 = 1003;
pub(crate) const CLOSE_INVALID: u16 = 1007;
pub(crate) const CLOSE_POLICY: u16 = 1008;
pub(crate) const CLOSE_TOO_BIG: u16 = 1009;
/// Of the registry of RFC 6455, section 11.7: "service restart".
pub(crate) const CLOSE_RESTART: u16 = 1012;

/// How long the last words may take, the client's own close included.
pub(crate) const FAREWELL: Duration = Duration::from_secs(1);

/// How a session ends.
pub(crate) enum Over {
    /// The connection is gone.
    Gone,
    /// The client closed it.
    Closed,
    /// Dropped without a word, which would not be heard: the reason for the log.
    Dropped(&'static str),
    /// With a close frame.
    Close(Close),
}

/// The last words to a client.
pub(crate) struct Close {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    /// Said before.
    pub(crate) error: Option<Response>,
}

impl Over {
    pub(crate) fn close(code: u16, reason: &'static str) -> Self {
        Self::Close(Close { code, reason, error: None })
    }

    pub(crate) fn close_with_error(code: u16, reason: &'static str, message: String) -> Self {
        let error = Some(Response::error(None, LinkupError::new(ErrorCode::Protocol, message)));
        Self::Close(Close { code, reason, error })
    }
}

/// Sends what still waits, the error and the close frame, and gives the client a second to read them.
pub(crate) async fn say_farewell(mut web_socket: WebSocketStream<Stream>, rest: VecDeque<Utf8Bytes>, close: Close) {
    let Close { code, reason, error } = close;
    let words = async {
        for frame in rest {
            web_socket.feed(Message::Text(frame)).await?;
        }
        if let Some(error) = error {
            web_socket.feed(Message::text(error.to_text())).await?;
        }
        let frame = CloseFrame { code: code.into(), reason: Utf8Bytes::from_static(reason) };
        web_socket.send(Message::Close(Some(frame))).await?;
        let mut tcp = web_socket.into_inner();
        tcp.shutdown().await?;
        // To close while bytes of the client are unread resets the connection, and our last words are lost with it.
        let mut unread = [0; 1024];
        while tcp.read(&mut unread).await? > 0 {}
        Ok::<_, Error>(())
    };
    // A client that is gone, or takes longer, does not hear them.
    let _ = timeout(FAREWELL, words).await;
}
