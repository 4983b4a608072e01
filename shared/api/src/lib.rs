//! HTTP in front of the use cases: one router for CodeDeploy's operations, Cutover's own, and the host protocol.
//!
//! It reads, checks and dispatches. Who may do what is decided by the [`Guard`] that is plugged in, or by what stands
//! in front of the router; hosts are known by their keys and tokens.

mod dispatch;
mod hosts;
mod operations;

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::routing::{get, post};
use control::Control;
use http::request::Parts;
use wire::codedeploy::ApiError;

/// Decides who may call operations.
#[async_trait]
pub trait Guard: Send + Sync + 'static {
    /// Lets a request to `POST /` pass.
    ///
    /// # Errors
    /// What the caller is refused with.
    async fn check(&self, parts: &Parts, body: &[u8]) -> Result<(), ApiError>;
}

/// Lets everybody pass: for a router that stands behind something that checks callers itself.
#[derive(Debug, Clone, Copy)]
pub struct Open;

#[async_trait]
impl Guard for Open {
    async fn check(&self, _parts: &Parts, _body: &[u8]) -> Result<(), ApiError> {
        Ok(())
    }
}

#[derive(Clone)]
struct Api {
    control: Control,
    guard: Arc<dyn Guard>,
}

/// The router: `POST /` for operations by `X-Amz-Target`, `/cutover/v1/host/…` for hosts, `/cutover/v1/health`.
pub fn router(control: Control, guard: impl Guard) -> Router {
    Router::new()
        .route("/", post(operations::call))
        .route("/cutover/v1/host/poll", post(hosts::poll))
        .route("/cutover/v1/host/claim", post(hosts::claim))
        .route("/cutover/v1/host/report", post(hosts::report))
        .route("/cutover/v1/health", get(health))
        .with_state(Api { control, guard: Arc::new(guard) })
}

async fn health() -> axum::Json<serde_json::Value> {
    axum::Json(serde_json::json!({ "version": env!("CARGO_PKG_VERSION") }))
}
