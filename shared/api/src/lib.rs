//! One router for everything that Cutover answers over HTTP: CodeDeploy's operations, its own, and the host protocol.
//! Served by a function in the cloud and by home. Decodes, calls one use case, encodes; decides nothing.

mod hosts;
mod operations;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use control::Control;
use futures::future::BoxFuture;
use http::request::Parts;
use wire::codedeploy::ApiError;

/// Largest body of a request, in bytes. Reports of hosts bring output with them; everything else is far smaller.
const BODY_MAX: usize = 1024 * 1024;

/// Decides who may call operations. Hosts are not asked for it: they bring their own keys and tokens.
pub trait Guard: Send + Sync + 'static {
    /// Lets the request in, or says why not.
    fn check<'a>(&'a self, parts: &'a Parts, body: &'a [u8])
    -> BoxFuture<'a, Result<(), ApiError>>;
}

/// What every handler needs.
struct Shared {
    control: Control,
    guard: Box<dyn Guard>,
}

/// The router over `control`, whose operations are open to whom `guard` lets in.
pub fn router(control: Control, guard: impl Guard) -> Router {
    let shared = Arc::new(Shared { control, guard: Box::new(guard) });
    Router::new()
        .route("/", post(operations::call))
        .route("/cutover/v1/health", get(health))
        .route("/cutover/v1/host/poll", post(hosts::poll))
        .route("/cutover/v1/host/claim", post(hosts::claim))
        .route("/cutover/v1/host/report", post(hosts::report))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(shared)
}

async fn health() -> axum::Json<serde_json::Value> {
    axum::Json(serde_json::json!({ "version": env!("CARGO_PKG_VERSION") }))
}
