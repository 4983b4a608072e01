//! The server: checks the caller, signs the call with the user's keys, and gives the answer back as it came.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use axum::serve::ListenerExt as _;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::json;
use tokio::net::TcpListener;
use wire::codedeploy::ErrorName;

use super::admission::{Admission, Refusal};
use crate::client::{CONTENT_TYPE, CallError, Client};

/// Largest body of a call, in bytes: that of the API.
const BODY_MAX: usize = 1024 * 1024;
/// How long calls may take to end when the server shall.
const GRACE: Duration = Duration::from_secs(2);

/// What belongs to a connection, not to the answer that came over it.
const OF_CONNECTION: [HeaderName; 6] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The proxy.
pub(super) struct Server {
    client: Client,
    admission: Admission,
    port: u16,
}

impl Server {
    pub(super) fn new(client: Client, admission: Admission, port: u16) -> Self {
        Self { client, admission, port }
    }

    /// The environment for who signs with the keys of this run; nothing if that is no way in.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        let Admission::Signed(keys) = &self.admission else { return Vec::new() };
        let region = &self.client.connection().region;
        vec![
            ("AWS_ENDPOINT_URL_CODEDEPLOY", format!("http://127.0.0.1:{}", self.port)),
            ("AWS_REGION", region.clone()),
            ("AWS_DEFAULT_REGION", region.clone()),
            ("AWS_ACCESS_KEY_ID", keys.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY", keys.secret_access_key.clone()),
        ]
    }

    /// Serves until `ended`, and a moment longer for what is being answered.
    pub(super) async fn serve(self, listener: TcpListener, ended: impl Future<Output = ()> + Send) {
        // Otherwise small answers wait for an acknowledgement that the client delays.
        let listener = listener.tap_io(|socket| drop(socket.set_nodelay(true)));
        let router = Router::new().fallback(answer).with_state(Arc::new(self));
        let (end, told) = tokio::sync::oneshot::channel::<()>();
        let serving = axum::serve(listener, router).with_graceful_shutdown(async {
            drop(told.await);
        });
        let mut serving = tokio::spawn(serving.into_future());
        tokio::select! {
            _ = &mut serving => return,
            () = ended => drop(end),
        }
        drop(tokio::time::timeout(GRACE, serving).await);
    }
}

async fn answer(State(server): State<Arc<Server>>, request: Request) -> Response {
    match pass_on(&server, request).await {
        Ok(response) => response,
        Err((status, Refusal { name, message })) => {
            let body = json!({ "__type": name, "message": message }).to_string();
            let mut response = Response::new(Body::from(body));
            *response.status_mut() = status;
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
            response
        }
    }
}

async fn pass_on(server: &Server, request: Request) -> Result<Response, (StatusCode, Refusal)> {
    let forbidden = |refusal| (StatusCode::FORBIDDEN, refusal);
    let wrong = |name: ErrorName, message: String| {
        (StatusCode::BAD_REQUEST, Refusal { name: name.name(), message })
    };
    let (parts, body) = request.into_parts();
    server.admission.check_head(&parts, server.port).map_err(forbidden)?;
    let body = to_bytes(body, BODY_MAX).await.map_err(|error| {
        wrong(ErrorName::Serialization, format!("the body cannot be read: {error}"))
    })?;
    server.admission.check(&parts, &body).map_err(forbidden)?;
    let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    let target = target.filter(|target| parts.method == Method::POST && is_target(target));
    let target = target.ok_or_else(|| {
        wrong(
            ErrorName::UnknownOperation,
            "the request names no operation of CodeDeploy or Cutover in the header X-Amz-Target; use an AWS SDK or the AWS CLI"
                .to_owned(),
        )
    })?;
    let answer = server.client.send(target, body.into()).await.map_err(|error| failed(&error))?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = answer.bytes().await.map_err(|error| {
        let message = format!("the answer was cut off: {error}; try again");
        (StatusCode::SERVICE_UNAVAILABLE, unavailable(message))
    })?;
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    for name in OF_CONNECTION {
        response.headers_mut().remove(name);
    }
    Ok(response)
}

/// Whether it can be the target of an operation: its name becomes a part of the path.
fn is_target(target: &str) -> bool {
    let name = target
        .strip_prefix("CodeDeploy_20141006.")
        .or_else(|| target.strip_prefix(wire::cutover::PREFIX))
        .unwrap_or_default();
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// What a client is told when its call could not be passed on. It tries again by itself what may pass.
fn failed(error: &CallError) -> (StatusCode, Refusal) {
    if error.may_pass() {
        return (StatusCode::SERVICE_UNAVAILABLE, unavailable(format!("{error}; try again")));
    }
    let hint = match error {
        CallError::Keys(_) => "; renew them, `cutover proxy` takes the new ones without a restart",
        CallError::Unreachable { .. }
        | CallError::Refused { .. }
        | CallError::Gateway { .. }
        | CallError::NoCutover { .. }
        | CallError::Endpoint { .. } => "",
    };
    let message = format!("`cutover proxy` cannot pass the call on: {error}{hint}");
    (StatusCode::FORBIDDEN, Refusal { name: ErrorName::AccessDenied.name(), message })
}

fn unavailable(message: String) -> Refusal {
    Refusal { name: ErrorName::ServiceUnavailable.name(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_cannot_lead_to_another_path() {
        for target in ["CodeDeploy_20141006.ListApplications", "Cutover_v1.Subscribe"] {
            assert!(is_target(target), "{target}");
        }
        for target in [
            "",
            "ListApplications",
            "CodeDeploy_20141006.",
            "CodeDeploy_20141006.a/../../cutover/v1/health",
            "CodeDeploy_20141006.%2e%2e",
            "Cutover_v1.a?b",
            "DynamoDB_20120810.Scan",
        ] {
            assert!(!is_target(target), "{target}");
        }
    }
}
