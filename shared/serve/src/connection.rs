//! One connection, watched: when a byte last passed, and whether it is the client that is waited for.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::room::Place;

/// Whom a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Waits {
    /// For the client, who is to send a request, and owes nothing before.
    Idle,
    /// For the client, who is to send the rest of a body, or to take an answer.
    Client,
    /// For the application, or for nobody: the connection was upgraded.
    Not,
}

/// What is known of a connection. It is written by its task and read by its room.
#[derive(Debug)]
pub(super) struct Connection {
    opened: Instant,
    /// When a byte last passed or the connection's state changed, in milliseconds since it was opened.
    last_ms: AtomicU64,
    is_owed: AtomicBool,
    wants_body: AtomicBool,
    cannot_write: AtomicBool,
    is_upgraded: AtomicBool,
    close: CancellationToken,
}

impl Connection {
    pub(super) fn new() -> Self {
        Self {
            opened: Instant::now(),
            last_ms: AtomicU64::new(0),
            is_owed: AtomicBool::new(false),
            wants_body: AtomicBool::new(false),
            cannot_write: AtomicBool::new(false),
            is_upgraded: AtomicBool::new(false),
            close: CancellationToken::new(),
        }
    }

    /// Whom it waits for.
    pub(super) fn waits(&self) -> Waits {
        let is = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        if is(&self.is_upgraded) {
            Waits::Not
        } else if is(&self.cannot_write) || is(&self.wants_body) {
            Waits::Client
        } else if is(&self.is_owed) {
            Waits::Not
        } else {
            Waits::Idle
        }
    }

    /// For how long no byte has passed.
    pub(super) fn silent_for(&self) -> Duration {
        let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
        self.opened.elapsed().saturating_sub(last)
    }

    /// Ends it.
    pub(super) fn close(&self) {
        self.close.cancel();
    }

    /// Ready when it is to end.
    pub(super) async fn closed(&self) {
        self.close.cancelled().await;
    }

    /// The application has a request, until what is returned is dropped.
    pub(super) fn owe(self: &Arc<Self>) -> Owing {
        self.is_owed.store(true, Ordering::Relaxed);
        self.touch();
        Owing(Arc::clone(self))
    }

    /// From now on it is no HTTP.
    pub(super) fn upgrade(&self) {
        self.is_upgraded.store(true, Ordering::Relaxed);
    }

    fn touch(&self) {
        let now = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(now, Ordering::Relaxed);
    }

    fn set(&self, flag: &AtomicBool, to: bool) {
        if flag.swap(to, Ordering::Relaxed) != to {
            self.touch();
        }
    }
}

/// An answer is owed to the client.
pub(super) struct Owing(Arc<Connection>);

impl Drop for Owing {
    fn drop(&mut self) {
        self.0.is_owed.store(false, Ordering::Relaxed);
        self.0.touch();
    }
}

/// The socket of a connection, which says when a byte passes. It has its place for as long as it is open, also after an
/// upgrade.
pub(super) struct Counted {
    socket: TcpStream,
    connection: Arc<Connection>,
    _place: Place,
}

impl Counted {
    pub(super) fn new(socket: TcpStream, place: Place) -> Self {
        Self { socket, connection: place.connection(), _place: place }
    }

    fn wrote(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let connection = &self.connection;
        connection.set(&connection.cannot_write, polled.is_pending());
        if matches!(polled, Poll::Ready(Ok(count)) if count > 0) {
            connection.touch();
        }
        polled
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.connection.touch();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.wrote(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        self.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

/// The body of a request, which says while somebody waits for more of it.
pub(super) struct Asked {
    body: Incoming,
    connection: Arc<Connection>,
}

impl Asked {
    pub(super) fn watch(body: Incoming, connection: Arc<Connection>) -> Body {
        Body::new(Self { body, connection })
    }

    fn waits(&self, to: bool) {
        self.connection.set(&self.connection.wants_body, to);
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.waits(false);
    }
}

impl HttpBody for Asked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.waits(polled.is_pending());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer: it is owed until it has ended.
pub(super) struct Owed {
    body: Body,
    _owing: Owing,
}

impl Owed {
    pub(super) fn new(body: Body, owing: Owing) -> Self {
        Self { body, _owing: owing }
    }
}

impl HttpBody for Owed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
