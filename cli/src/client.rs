//! Calls the API's operations: CodeDeploy's and Cutover's own, signed with AWS Signature Version 4.
//!
//! It does not repeat a call: whoever can wait, as `watch` does, decides that.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use serde::Deserialize;
use thiserror::Error;
use wire::codedeploy::{ErrorName, Request};

use crate::failure::{Exit, Failure};
use crate::find::{Connection, Origin};

/// How long the service may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

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
            Self::NoCutover { .. } | Self::Endpoint { .. } => false,
        }
    }
}

impl Client {
    pub(crate) fn new(connection: Connection) -> Result<Self, CallError> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            // A proxy of the user's environment does not lead to this machine's loopback addresses.
            .no_proxy()
            .build()
            .map_err(|error| CallError::Endpoint {
                endpoint: connection.api.clone(),
                reason: root_cause(&error),
            })?;
        Ok(Self { http, connection })
    }

    /// How the Cutover was found, and where its bucket is.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The HTTP client, for what is no operation of the API.
    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Calls one operation.
    pub(crate) async fn call<R: Request>(&self, request: &R) -> Result<R::Response, CallError> {
        let endpoint = &self.connection.api;
        let unreachable = |source| CallError::Unreachable {
            endpoint: endpoint.clone(),
            origin: self.connection.origin.clone(),
            source,
        };
        let body = serde_json::to_vec(request).map_err(|error| self.uncallable(&error))?;
        let signed =
            self.signed(R::TARGET, body)?.try_into().map_err(|error| self.uncallable(&error))?;
        let mut signed: reqwest::Request = signed;
        *signed.timeout_mut() = Some(ANSWER_TIMEOUT);
        let answer = self.http.execute(signed).await.map_err(unreachable)?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.map_err(unreachable)?;
        if !(200..300).contains(&status) {
            return Err(self.refusal(status, &body));
        }
        // An operation with nothing to tell may answer with an empty body.
        let body: &[u8] = if body.is_empty() { b"{}" } else { &body };
        serde_json::from_slice(body)
            .map_err(|_| CallError::NoCutover { endpoint: endpoint.clone(), status })
    }

    fn signed(&self, target: &str, body: Vec<u8>) -> Result<http::Request<Vec<u8>>, CallError> {
        let Connection { api, region, access_key_id, secret_access_key, session_token, .. } =
            &self.connection;
        let uri: http::Uri = format!("{}/", api.trim_end_matches('/'))
            .parse()
            .map_err(|error| self.uncallable(&error))?;
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        let headers = [
            ("host", authority.as_str()),
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", target),
        ];
        let identity = Credentials::new(
            access_key_id,
            secret_access_key,
            session_token.clone(),
            None,
            "cutover",
        )
        .into();
        let parameters = SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name("codedeploy")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| self.uncallable(&error))?
            .into();
        let url = uri.to_string();
        let signable =
            SignableRequest::new("POST", &url, headers.into_iter(), SignableBody::Bytes(&body))
                .map_err(|error| self.uncallable(&error))?;
        let (instructions, _) =
            sign(signable, &parameters).map_err(|error| self.uncallable(&error))?.into_parts();
        let mut request = http::Request::post(uri);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let mut request = request.body(body).map_err(|error| self.uncallable(&error))?;
        instructions.apply_to_request_http1x(&mut request);
        Ok(request)
    }

    fn uncallable(&self, error: &dyn std::error::Error) -> CallError {
        CallError::Endpoint { endpoint: self.connection.api.clone(), reason: root_cause(error) }
    }

    fn refusal(&self, status: u16, body: &[u8]) -> CallError {
        /// The body of a refusal; its name may be one that this version does not know.
        #[derive(Deserialize)]
        struct Refusal {
            #[serde(rename = "__type")]
            name: String,
            #[serde(default, alias = "Message")]
            message: String,
        }
        match serde_json::from_slice::<Refusal>(body) {
            Ok(Refusal { name, message }) => {
                // Some services put a namespace in front of the name.
                let name = name.rsplit('#').next().unwrap_or_default().to_owned();
                let message = if message.is_empty() { name.clone() } else { message };
                CallError::Refused { name, message, status }
            }
            Err(_) => CallError::NoCutover { endpoint: self.connection.api.clone(), status },
        }
    }
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

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let (message, may_pass) = (error.to_string(), error.may_pass());
        match error {
            CallError::Unreachable { origin, .. } => {
                Self::new(Exit::Unreachable, message).hint(origin.hint())
            }
            CallError::Refused { name, .. } => {
                let exit = if may_pass { Exit::Unreachable } else { Exit::WrongUse };
                let hint = hint(&name).map(str::to_owned);
                Self { hint, name: Some(name), ..Self::new(exit, message) }
            }
            CallError::NoCutover { .. } => Self::new(Exit::Unreachable, message).hint(
                "another program listens there; check the endpoint, or start `cutover up` again",
            ),
            CallError::Endpoint { .. } => Self::new(Exit::WrongUse, message)
                .hint("an endpoint is a URL such as http://127.0.0.1:7070"),
        }
    }
}
