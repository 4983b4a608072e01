//! Bodies on their way through: one that can be offered to another host as long as nobody has read of it, and one that
//! tells when it breaks off. Nothing is held back or copied.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

/// The body of a request, until somebody reads of it.
#[derive(Clone)]
pub(crate) struct Whole {
    body: Arc<Mutex<Option<Body>>>,
    broke: Arc<AtomicBool>,
}

impl Whole {
    pub(crate) fn new(body: Body) -> Self {
        Self { body: Arc::new(Mutex::new(Some(body))), broke: Arc::default() }
    }

    /// Whether the client did not send all of it, or sent what is none.
    pub(crate) fn broke(&self) -> bool {
        self.broke.load(Ordering::Relaxed)
    }

    /// Whether nobody has read of it yet.
    pub(crate) fn is_whole(&self) -> bool {
        self.with(|body| body.is_some())
    }

    /// The body for one attempt. If the attempt ends without having read of it, it is whole still.
    pub(crate) fn offer(&self) -> Body {
        Body::new(Offered { whole: self.clone(), taken: None })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Option<Body>) -> T) -> T {
        f(&mut self.body.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Offered {
    whole: Whole,
    taken: Option<Body>,
}

impl HttpBody for Offered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if this.taken.is_none() {
            this.taken = this.whole.with(Option::take);
        }
        // Where another attempt has it, that is the one that counts.
        let Some(body) = &mut this.taken else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if matches!(frame, Some(Err(_))) {
            this.whole.broke.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.taken {
            Some(body) => body.is_end_stream(),
            None => self.whole.with(|body| body.as_ref().is_none_or(HttpBody::is_end_stream)),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.taken {
            Some(body) => body.size_hint(),
            None => self.whole.with(|body| {
                body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
            }),
        }
    }
}

/// The body of an answer. `broke` is called when it breaks off on the host's side.
pub(crate) struct Watched<F> {
    body: Body,
    broke: Option<F>,
}

impl<F: FnOnce() + Send + Unpin + 'static> Watched<F> {
    /// Watches a body.
    pub(crate) fn watch(body: Body, broke: F) -> Body {
        if body.is_end_stream() { body } else { Body::new(Self { body, broke: Some(broke) }) }
    }
}

impl<F: FnOnce() + Send + Unpin + 'static> HttpBody for Watched<F> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        if matches!(frame, Some(Err(_)))
            && let Some(broke) = this.broke.take()
        {
            broke();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
