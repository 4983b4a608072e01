//! Uploads a file to the bucket: one PUT, streamed, signed for S3.

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SigningSettings,
    UriPathNormalizationMode,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use thiserror::Error;

use crate::client::{self, root_cause};
use crate::cloud::KeysError;
use crate::failure::{Exit, Failure};
use crate::find::{Connection, Origin};
use crate::pack::Packed;
use crate::sign::{SignError, Signer};

/// What S3 wants encoded in a key: everything but these and `/`.
const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// Why an upload failed.
#[derive(Debug, Error)]
pub(crate) enum UploadError {
    /// Nobody said where S3 is.
    #[error("the endpoint of S3 is not known")]
    NoEndpoint,
    /// Nothing answers there.
    #[error("nothing answers at {endpoint}: {}", root_cause(.source))]
    Unreachable {
        /// The URL.
        endpoint: String,
        /// How it was found.
        origin: Origin,
        /// What the client said.
        source: reqwest::Error,
    },
    /// S3 refused.
    #[error("S3 refused to store `s3://{bucket}/{key}` with HTTP status {status}: {answer}")]
    Refused {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// The HTTP status.
        status: u16,
        /// The answer.
        answer: String,
    },
    /// There are no keys to sign with.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The request cannot be made.
    #[error("{endpoint} cannot be called: {reason}")]
    Endpoint {
        /// The URL.
        endpoint: String,
        /// Why.
        reason: String,
    },
}

/// What was stored.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Its ETag, without quotes.
    pub(crate) e_tag: String,
    /// Its version, if the bucket has any.
    pub(crate) version: Option<String>,
}

/// Puts the archive under `key` into the bucket for revisions.
pub(crate) async fn put(
    connection: &Connection,
    key: &str,
    packed: Packed,
) -> Result<Stored, UploadError> {
    let Connection { bucket, bucket_url, keys, origin, .. } = connection;
    let endpoint = bucket_url.clone().ok_or(UploadError::NoEndpoint)?;
    let bad = |error: &dyn std::error::Error| UploadError::Endpoint {
        endpoint: endpoint.clone(),
        reason: root_cause(error),
    };
    let uses_proxy = origin.is_cloud() && !client::is_loopback(&endpoint);
    let http = client::http_client(&endpoint, uses_proxy).map_err(|error| bad(&*error))?;
    let url = format!("{endpoint}/{}", utf8_percent_encode(key, ENCODED));
    let request = signed(&connection.region, keys.get().await?, &url, packed);
    let request = request.map_err(|error| bad(&*error))?;
    let request = reqwest::Request::try_from(request).map_err(|error| bad(&error))?;
    let answer = http.execute(request).await.map_err(|source| UploadError::Unreachable {
        endpoint: endpoint.clone(),
        origin: origin.clone(),
        source,
    })?;
    let status = answer.status();
    let header = |name: &str| answer.headers().get(name)?.to_str().ok().map(str::to_owned);
    match header("etag") {
        Some(e_tag) if status.is_success() => Ok(Stored {
            e_tag: e_tag.trim_matches('"').to_owned(),
            version: header("x-amz-version-id").filter(|version| version != "null"),
        }),
        Some(_) | None => Err(UploadError::Refused {
            bucket: bucket.clone(),
            key: key.to_owned(),
            status: status.as_u16(),
            answer: said(&answer.text().await.unwrap_or_default()),
        }),
    }
}

/// The message of an answer of S3; the answer itself if it holds none.
fn said(answer: &str) -> String {
    let message =
        answer.split_once("<Message>").and_then(|(_, rest)| rest.split_once("</Message>"));
    let message = message.map_or(answer, |(message, _)| message);
    message
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}

fn signed(
    region: &str,
    credentials: Credentials,
    url: &str,
    packed: Packed,
) -> Result<http::Request<reqwest::Body>, SignError> {
    let Packed { file, size, sha256, .. } = packed;
    let uri: http::Uri = url.parse()?;
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    let mut request = http::Request::put(uri)
        .header(http::header::HOST, authority)
        .header(http::header::CONTENT_TYPE, "application/zip")
        .header(http::header::CONTENT_LENGTH, size)
        .body(reqwest::Body::from(tokio::fs::File::from_std(file)))?;
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    Signer { credentials, region, service: "s3", settings }
        .sign(&mut request, SignableBody::Precomputed(sha256))?;
    Ok(request)
}

impl From<UploadError> for Failure {
    fn from(error: UploadError) -> Self {
        let message = error.to_string();
        match error {
            UploadError::NoEndpoint => Self::new(Exit::WrongUse, message)
                .hint("set AWS_ENDPOINT_URL_S3, or name a home with --dir"),
            UploadError::Unreachable { origin, .. } => {
                Self::new(Exit::Unreachable, message).hint(match origin {
                    Origin::Dir(_) | Origin::Stack { .. } => origin.hint(),
                    Origin::Environment => {
                        "check AWS_ENDPOINT_URL_S3 and that the service runs".to_owned()
                    }
                })
            }
            UploadError::Keys(error) => error.into(),
            UploadError::Refused { bucket, status: 403, .. } => Self::new(Exit::WrongUse, message)
                .hint(format!(
                    "these credentials need s3:PutObject on `{bucket}`, and the use of its key: infra/policies.yaml has a policy"
                )),
            UploadError::Refused { status, .. } if status >= 500 => {
                Self::new(Exit::Unreachable, message)
            }
            UploadError::Refused { .. } | UploadError::Endpoint { .. } => {
                Self::new(Exit::WrongUse, message)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::said;

    #[test]
    fn a_refusal_of_s3_is_told_by_its_message() {
        let answer = "<?xml version=\"1.0\"?><Error><Code>NoSuchBucket</Code><Message>There is no &quot;a&quot;</Message></Error>";
        assert_eq!(said(answer), "There is no \"a\"");
        assert_eq!(said("gone"), "gone");
    }
}
