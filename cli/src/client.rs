//! Calls the API's operations: CodeDeploy's and Cutover's own, signed with AWS Signature Version 4.
//!
//! It does not repeat a call: whoever can wait, as `watch` does, decides that.

use std::time::Duration;

use aws_sigv4::http_request::{SignableBody, SigningSettings};
use http::HeaderValue;
use runner::http::Trust;
use serde::Deserialize;
use thiserror::Error;
use wire::codedeploy::{ErrorName, Request};

use crate::cloud::KeysError;
use crate::failure::{Exit, Failure};
use crate::find::{Connection, Origin};
use crate::sign::Signer;

/// How long the service may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection is kept for the next call; API Gateway closes one sooner than others do.
const KEPT: Duration = Duration::from_secs(20);

/// A client of one Cutover.
pub(crate) struct Client {
    http: reqwest::Client,
    connection: Connection,
}

/// Why a call failed.
#[derive(Debug, Error)]
pub(crate) enum CallError {
    /// Nothing answers.
    #[error("nothing answers at {endpoint}: {}", root_cause(.source))]
    Unreachable {
        /// The URL.
        endpoint: String,
        /// How the endpoint was found.
        origin: Origin,
        /// What the client said.
        #[source]
        source: reqwest::Error,
    },
    /// The service refused, or failed.
    #[error("{message}")]
    Refused {
        /// The exception's name.
        name: String,
        /// Its message.
        message: String,
        /// The HTTP status.
        status: u16,
    },
    /// API Gateway answers in the stead of the function behind it.
    #[error("API Gateway answers to `{operation}` with HTTP status {status}: {message}")]
    Gateway {
        /// The operation.
        operation: String,
        /// The HTTP status.
        status: u16,
        /// What it says.
        message: String,
    },
    /// There are no keys to sign with.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// Something else than a Cutover answers.
    #[error("{endpoint} does not answer as a Cutover does (HTTP status {status})")]
    NoCutover {
        /// The URL.
        endpoint: String,
        /// The HTTP status.
        status: u16,
    },
    /// The endpoint cannot be called, or the keys cannot sign.
    #[error("{endpoint} cannot be called: {reason}")]
    Endpoint {
        /// The URL.
        endpoint: String,
        /// Why.
        reason: String,
    },
}

impl CallError {
    /// Whether the service refused with this exception.
    pub(crate) fn is(&self, expected: ErrorName) -> bool {
        matches!(self, Self::Refused { name, .. } if name == expected.name())
    }

    /// Whether it may work again soon without anybody doing anything about it.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => *status >= 500 || self.is(ErrorName::Throttling),
            Self::Gateway { status, .. } => *status >= 500 || *status == 429,
            Self::NoCutover { .. } | Self::Endpoint { .. } | Self::Keys(_) => false,
        }
    }
}

impl Client {
    pub(crate) fn new(connection: Connection) -> Result<Self, CallError> {
        let uses_proxy = connection.origin.is_cloud() && !is_loopback(&connection.api);
        let http = http_client(&connection.api, uses_proxy).map_err(|error| {
            CallError::Endpoint { endpoint: connection.api.clone(), reason: root_cause(&*error) }
        })?;
        Ok(Self { http, connection })
    }

    /// How the Cutover was found, and where its bucket is.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Calls one operation.
    pub(crate) async fn call<R: Request>(&self, request: &R) -> Result<R::Response, CallError> {
        let endpoint = &self.connection.api;
        let body = serde_json::to_vec(request).map_err(|error| self.uncallable(&error))?;
        let answer = self.send(R::TARGET, body).await?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.map_err(|source| self.unreachable(source))?;
        if !(200..300).contains(&status) {
            return Err(self.refusal(R::TARGET, status, &body));
        }
        // An operation with nothing to tell may answer with an empty body.
        let body: &[u8] = if body.is_empty() { b"{}" } else { &body };
        serde_json::from_slice(body)
            .map_err(|_| CallError::NoCutover { endpoint: endpoint.clone(), status })
    }

    /// Signs and sends a call of `target`, and returns the answer as it comes.
    pub(crate) async fn send(
        &self,
        target: &str,
        body: Vec<u8>,
    ) -> Result<reqwest::Response, CallError> {
        let request = self.signed(target, body).await?;
        let mut request =
            reqwest::Request::try_from(request).map_err(|error| self.uncallable(&error))?;
        *request.timeout_mut() = Some(ANSWER_TIMEOUT);
        self.http.execute(request).await.map_err(|source| self.unreachable(source))
    }

    async fn signed(
        &self,
        target: &str,
        body: Vec<u8>,
    ) -> Result<http::Request<Vec<u8>>, CallError> {
        let Connection { api, region, keys, origin, .. } = &self.connection;
        let api = api.trim_end_matches('/');
        let (url, service) = if origin.is_cloud() {
            (format!("{api}/codedeploy/{}", operation_of(target)), "execute-api")
        } else {
            (format!("{api}/"), "codedeploy")
        };
        let uri: http::Uri = url.parse().map_err(|error| self.uncallable(&error))?;
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        let mut request = http::Request::post(uri)
            .header(http::header::HOST, authority)
            .header(http::header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE))
            .header("x-amz-target", target)
            .body(body)
            .map_err(|error| self.uncallable(&error))?;
        let credentials = keys.get().await?;
        let settings = SigningSettings::default();
        // The body is signed where it is, in the request.
        let body = std::mem::take(request.body_mut());
        Signer { credentials, region, service, settings }
            .sign(&mut request, SignableBody::Bytes(&body))
            .map_err(|error| self.uncallable(&*error))?;
        *request.body_mut() = body;
        Ok(request)
    }

    fn unreachable(&self, source: reqwest::Error) -> CallError {
        let Connection { api, origin, .. } = &self.connection;
        CallError::Unreachable { endpoint: api.clone(), origin: origin.clone(), source }
    }

    fn uncallable(&self, error: &dyn std::error::Error) -> CallError {
        CallError::Endpoint { endpoint: self.connection.api.clone(), reason: root_cause(error) }
    }

    fn refusal(&self, target: &str, status: u16, body: &[u8]) -> CallError {
        /// The body of a refusal; its name may be one that this version does not know. API Gateway's own have none.
        #[derive(Deserialize)]
        struct Refusal {
            #[serde(rename = "__type")]
            name: Option<String>,
            #[serde(default, alias = "Message")]
            message: String,
        }
        match serde_json::from_slice::<Refusal>(body) {
            Ok(Refusal { name: Some(name), message }) => {
                // Some services put a namespace in front of the name.
                let name = name.rsplit('#').next().unwrap_or_default().to_owned();
                let message = if message.is_empty() { name.clone() } else { message };
                CallError::Refused { name, message, status }
            }
            Ok(Refusal { name: None, message }) if self.connection.origin.is_cloud() => {
                CallError::Gateway { operation: operation_of(target).to_owned(), status, message }
            }
            Ok(_) | Err(_) => {
                CallError::NoCutover { endpoint: self.connection.api.clone(), status }
            }
        }
    }
}

/// The content type of calls.
pub(crate) const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// An HTTP client for what lies at `url`.
pub(crate) fn http_client(
    url: &str,
    uses_proxy: bool,
) -> Result<reqwest::Client, Box<dyn std::error::Error>> {
    let mut client = runner::http::builder(Trust::for_url(url))?
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(KEPT)
        // A signed request is for whom it was signed.
        .redirect(reqwest::redirect::Policy::none());
    if !uses_proxy {
        // A proxy of the user's environment does not lead to this machine's loopback addresses.
        client = client.no_proxy();
    }
    Ok(client.build()?)
}

/// Whether a URL leads to this machine.
pub(crate) fn is_loopback(url: &str) -> bool {
    let uri = url.parse::<http::Uri>().ok();
    let host = uri.as_ref().and_then(http::Uri::host).unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The operation that a target names.
fn operation_of(target: &str) -> &str {
    target.split_once('.').map_or(target, |(_, operation)| operation)
}

/// What an error was caused by in the first place; the layers above it only say where.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// What to do about an exception, where its message does not say.
fn hint(name: &str) -> Option<&'static str> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "for all others, the message says what to do"
    )]
    match name.parse().ok()? {
        ErrorName::ApplicationDoesNotExist | ErrorName::DeploymentGroupDoesNotExist => Some(
            "`cutover status` shows what there is, `cutover init APP/GROUP` makes an application and a group",
        ),
        ErrorName::DeploymentDoesNotExist | ErrorName::InvalidDeploymentId => {
            Some("`cutover status` shows the deployments of each group")
        }
        ErrorName::RevisionDoesNotExist => {
            Some("`cutover push DIR APP` uploads and registers a revision")
        }
        ErrorName::DeploymentConfigDoesNotExist => Some(
            "there are CodeDeployDefault.OneAtATime, CodeDeployDefault.HalfAtATime, CodeDeployDefault.AllAtOnce \
             and those that you created",
        ),
        ErrorName::DeploymentLimitExceeded => {
            Some("`cutover status` shows the active deployment; wait for its end or stop it")
        }
        ErrorName::UnrecognizedClient
        | ErrorName::InvalidSignature
        | ErrorName::MissingAuthenticationToken => Some(
            "the keys are those of another service: `cutover env` prints a home's, `--dir DIR` uses them",
        ),
        _ => None,
    }
}

/// What to do about an answer of API Gateway's own.
fn gateway_hint(operation: &str, status: u16) -> String {
    match status {
        401 | 403 => format!(
            "these credentials lack the permission execute-api:Invoke on POST/codedeploy/{operation}, or have expired: \
             `aws sts get-caller-identity` shows whose they are, infra/policies.yaml has policies to attach"
        ),
        404 => "the stack has no such route: update it from template.yaml, then run `cutover connect` again"
            .to_owned(),
        429 => "try again in a moment".to_owned(),
        _ => "try again; if it stays so, the log of the stack's function `api` says why".to_owned(),
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let (message, may_pass) = (error.to_string(), error.may_pass());
        match error {
            CallError::Unreachable { origin, .. } => {
                Self::new(Exit::Unreachable, message).hint(origin.hint())
            }
            CallError::Refused { name, .. } => {
                let exit = if may_pass { Exit::Unreachable } else { Exit::WrongUse };
                // A message of Cutover's own may say it already; CodeDeploy's do not.
                let hint = hint(&name).filter(|hint| !message.contains(*hint)).map(str::to_owned);
                Self { hint, name: Some(name), ..Self::new(exit, message) }
            }
            CallError::Gateway { operation, status, .. } => {
                let exit = if may_pass { Exit::Unreachable } else { Exit::WrongUse };
                Self::new(exit, message).hint(gateway_hint(&operation, status))
            }
            CallError::Keys(error) => error.into(),
            CallError::NoCutover { .. } => Self::new(Exit::Unreachable, message).hint(
                "another program listens there; check the endpoint, or start `cutover up` again",
            ),
            CallError::Endpoint { .. } => Self::new(Exit::WrongUse, message)
                .hint("an endpoint is a URL such as http://127.0.0.1:7070"),
        }
    }
}
