//! The meaning of errors of the SDK: whether asking again may help.

use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use control::ports::CloudError;

/// Codes of refusals that pass by themselves, although their HTTP status says that the request was wrong.
const PASSING: [&str; 12] = [
    "EC2ThrottledException",
    "ExpiredToken",
    "ExpiredTokenException",
    "InternalError",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestTimeout",
    "ResourceContention",
    "ScalingActivityInProgress",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];

/// What an error of `operation` means.
pub(crate) fn cloud_error<E, R>(
    service: &'static str,
    operation: &'static str,
    error: SdkError<E, R>,
) -> CloudError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + HasStatus + 'static,
{
    if let SdkError::ServiceError(context) = &error {
        let code = context.err().code().unwrap_or_default();
        if context.raw().is_client_error() && !PASSING.contains(&code) {
            let message = context.err().message().unwrap_or("no reason given");
            let message = format!("{message} ({code})");
            return CloudError::Refused { service, operation, message };
        }
    }
    CloudError::Unavailable { service, operation, source: Box::new(error) }
}

/// An answer with an HTTP status.
pub(crate) trait HasStatus {
    /// Whether the status says that the request was wrong.
    fn is_client_error(&self) -> bool;
}

impl HasStatus for aws_sdk_ec2::config::http::HttpResponse {
    fn is_client_error(&self) -> bool {
        self.status().is_client_error()
    }
}
