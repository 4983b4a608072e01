//! One router for everything that Cutover answers over HTTP: CodeDeploy's operations, its own, and the host protocol.
//! Served by a function in the cloud and by home. Decodes, calls one use case, encodes; decides nothing.

mod guard;
mod hosts;
mod operations;
mod shared;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use control::{HostApi, OperatorApi};

pub use guard::{Guard, Open};
use operations::NAMED;
use shared::Shared;

/// Largest body of an operation, in bytes.
const BODY_MAX: usize = 1024 * 1024;

/// Largest body of a host's request, in bytes: a report brings the output of hooks, whose control characters take six
/// bytes each.
const HOST_BODY_MAX: usize = 4 * 1024 * 1024;

/// The router over both roles of the API, whose operations are open to whom `guard` lets in. Operations are called at `/`, as AWS's
/// clients do, or under their names.
pub fn router(operators: OperatorApi, hosts: HostApi, guard: impl Guard) -> Router {
    let unnamed =
        Router::new().route("/", post(operations::call).layer(DefaultBodyLimit::max(BODY_MAX)));
    routes(operators, hosts, guard, unnamed)
}

/// The router for behind a gateway that decides by the path who may call what: operations are called under their names
/// only, never at `/`.
pub fn named_router(operators: OperatorApi, hosts: HostApi, guard: impl Guard) -> Router {
    routes(operators, hosts, guard, Router::new())
}

fn routes(
    operators: OperatorApi,
    hosts: HostApi,
    guard: impl Guard,
    unnamed: Router<Arc<Shared>>,
) -> Router {
    let shared = Arc::new(Shared { operators, hosts, guard: Box::new(guard) });
    let hosts = Router::new()
        .route("/poll", post(hosts::poll))
        .route("/claim", post(hosts::claim))
        .route("/batch/claim", post(hosts::claim_batch))
        .route("/runner", get(hosts::runner))
        .route("/report", post(hosts::report))
        .layer(DefaultBodyLimit::max(HOST_BODY_MAX));
    let named = post(operations::call).layer(DefaultBodyLimit::max(BODY_MAX));
    unnamed
        .route(&format!("{NAMED}{{operation}}"), named)
        .route("/cutover/v1/health", get(health))
        .nest("/cutover/v1/host", hosts)
        .with_state(shared)
}

async fn health() -> axum::Json<serde_json::Value> {
    axum::Json(serde_json::json!({ "version": env!("CARGO_PKG_VERSION") }))
}
