//! An application on a host, with a life of its own: it can be killed with everything that it has open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use bytes::Bytes;

/// What an application does; a test may change it while it runs.
pub(super) struct Behaviour {
    name: String,
    /// The status of its health path.
    pub(super) health: AtomicU16,
    /// Of how many answers one is an error; 0 for none.
    pub(super) bad_every: AtomicU64,
    /// How long an answer takes, in milliseconds.
    pub(super) delay_ms: AtomicU64,
    /// Requests that began, other than probes.
    pub(super) began: AtomicU64,
}

/// An application that runs.
pub(super) struct App {
    runtime: Option<tokio::runtime::Runtime>,
    pub(super) does: Arc<Behaviour>,
}

impl App {
    pub(super) fn start(address: SocketAddr, number: u8) -> Self {
        let does = Arc::new(Behaviour {
            name: format!("host-{number}"),
            health: AtomicU16::new(200),
            bad_every: AtomicU64::new(0),
            delay_ms: AtomicU64::new(0),
            began: AtomicU64::new(0),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let router = Router::new()
            .route("/health", get(health))
            .route("/headers", get(headers))
            .route("/broken", get(broken))
            .route("/reset", get(|| async { std::future::pending::<()>().await }))
            .route("/echo", post(|body: Body| async { Response::new(body) }))
            .fallback(answer)
            .with_state(Arc::clone(&does));
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
        Self { runtime: Some(runtime), does }
    }

    /// Ends it as a killed process ends: all its connections break.
    pub(super) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    pub(super) fn began(&self) -> u64 {
        self.does.began.load(Ordering::SeqCst)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.end();
    }
}

async fn health(State(does): State<Arc<Behaviour>>) -> StatusCode {
    StatusCode::from_u16(does.health.load(Ordering::SeqCst)).unwrap()
}

async fn answer(State(does): State<Arc<Behaviour>>) -> Response {
    let count = does.began.fetch_add(1, Ordering::SeqCst) + 1;
    let delay = does.delay_ms.load(Ordering::SeqCst);
    if delay > 0 {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    let every = does.bad_every.load(Ordering::SeqCst);
    if every > 0 && count.is_multiple_of(every) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    does.name.clone().into_response()
}

async fn headers(headers: HeaderMap) -> String {
    headers.iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap())).collect()
}

/// An answer that says it will be long, and breaks off.
async fn broken() -> Response {
    let parts = futures::stream::unfold(0, async |part| match part {
        0 => Some((Ok(Bytes::from_static(b"some")), 1)),
        // Until the first part is on its way.
        1 => {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Some((Err(std::io::Error::other("gone")), 2))
        }
        _ => None,
    });
    let body = Body::from_stream(parts);
    Response::builder().header("content-length", "100").body(body).unwrap()
}
