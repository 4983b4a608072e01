//! The tables over HTTP, for tests and for functions that run beside a home. Every request has to be signed with the
//! home's keys; no other origin is let in, so that no web page reads an answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::CONTENT_TYPE;
use serve::sigv4;
use store::InProcess as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{Error, Tables, calls};

/// The largest body of a request, in bytes: DynamoDB's own limit.
const BODY_MAX: usize = 16 * 1024 * 1024;
/// What the name of an operation comes after.
const TARGET: &str = "DynamoDB_20120810.";

/// Tables that are on the network. They are no longer when this is dropped.
#[derive(Debug)]
pub struct Network {
    address: SocketAddr,
    server: JoinHandle<()>,
}

/// Serves `tables` on `listener` to those who sign with `keys`.
///
/// # Errors
/// When the listener is not a loopback one.
pub fn serve(tables: Tables, keys: sigv4::Keys, listener: TcpListener) -> Result<Network, Error> {
    let address = listener.local_addr().map_err(Error::Listener)?;
    if !address.ip().is_loopback() {
        return Err(Error::NotLoopback(address));
    }
    let router = Router::new().fallback(handle).with_state(Arc::new((tables, keys)));
    let server = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::warn!(%error, "the tables cannot accept connections any more");
        }
    });
    Ok(Network { address, server })
}

impl Network {
    /// The endpoint for an AWS SDK.
    #[must_use]
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn handle(
    State(shared): State<Arc<(Tables, sigv4::Keys)>>,
    request: Request,
) -> Response<Body> {
    let (tables, keys) = &*shared;
    let (parts, body) = request.into_parts();
    let refused = |name: &str, message: &str| {
        respond(calls::refusal(400, &format!("com.amazon.coral.service#{name}"), message))
    };
    let Ok(body) = axum::body::to_bytes(body, BODY_MAX).await else {
        return refused("SerializationException", "the body is longer than 16 MB, or broke off");
    };
    if let Err(error) = sigv4::verify(&parts, &body, keys, "dynamodb", SystemTime::now()) {
        return refused(error.code(), &error.to_string());
    }
    let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    match target.and_then(|target| target.strip_prefix(TARGET)) {
        Some(operation) => respond(tables.answer(operation, &body).await),
        None => refused("UnknownOperationException", "`x-amz-target` names no operation"),
    }
}

fn respond((status, body): (u16, String)) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let content = http::HeaderValue::from_static("application/x-amz-json-1.0");
    response.headers_mut().insert(CONTENT_TYPE, content);
    response
}
