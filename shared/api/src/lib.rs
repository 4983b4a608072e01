//! One router for everything that Cutover answers over HTTP: CodeDeploy's operations, its own, and the host protocol.
//! Served by a function in the cloud and by home. Decodes, calls one use case, encodes; decides nothing.

mod hosts;
mod operations;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use control::{HostApi, OperatorApi};
use futures::future::BoxFuture;
use http::request::Parts;
use wire::codedeploy::ApiError;

/// What the path of an operation that is called under its name begins with.
const NAMED: &str = "/codedeploy/";

/// Largest body of an operation, in bytes.
const BODY_MAX: usize = 1024 * 1024;

/// Largest body of a host's request, in bytes: a report brings the output of hooks, whose control characters take six
/// bytes each.
const HOST_BODY_MAX: usize = 4 * 1024 * 1024;

/// Decides who may call operations. Hosts are not asked for it: they bring their own keys and tokens.
pub trait Guard: Send + Sync + 'static {
    /// Lets the request in, or says why not.
    fn check<'a>(&'a self, parts: &'a Parts, body: &'a [u8])
    -> BoxFuture<'a, Result<(), ApiError>>;
}

/// Lets everybody in: for a router behind something that checks callers itself.
#[derive(Debug, Clone, Copy)]
pub struct Open;

impl Guard for Open {
    fn check<'a>(
        &'a self,
        _parts: &'a Parts,
        _body: &'a [u8],
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// What every handler needs.
struct Shared {
    operators: OperatorApi,
    hosts: HostApi,
    guard: Box<dyn Guard>,
}

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

#[cfg(test)]
mod tests;
