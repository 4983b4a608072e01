//! Uploads a file to the bucket: one PUT, streamed, signed for S3.

use std::fs::File;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use thiserror::Error;

use crate::client::{Client, root_cause};
use crate::failure::{Exit, Failure};
use crate::find::{Connection, Origin};
use crate::pack::Packed;

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
    /// The request cannot be made.
    #[error("{endpoint} cannot be called: {reason}")]
    Endpoint {
        /// The URL.
        endpoint: String,
        /// Why.
        reason: String,
    },
}

/// Puts the archive under `key` into the home's bucket; returns its ETag without quotes.
pub(crate) async fn put(client: &Client, key: &str, packed: Packed) -> Result<String, UploadError> {
    let Connection { s3, bucket, origin, .. } = client.connection();
    let endpoint = s3.clone().ok_or(UploadError::NoEndpoint)?;
    let bad = |error: &dyn std::error::Error| UploadError::Endpoint {
        endpoint: endpoint.clone(),
        reason: root_cause(error),
    };
    let path = utf8_percent_encode(key, ENCODED);
    let url = format!("{}/{bucket}/{path}", endpoint.trim_end_matches('/'));
    let Packed { file, size, sha256 } = packed;
    let request =
        signed(client.connection(), &url, size, &sha256, file).map_err(|error| bad(&*error))?;
    let request = reqwest::Request::try_from(request).map_err(|error| bad(&error))?;
    let answer = client.http().execute(request).await.map_err(|source| {
        UploadError::Unreachable { endpoint: endpoint.clone(), origin: origin.clone(), source }
    })?;
    let status = answer.status();
    let e_tag = answer
        .headers()
        .get(http::header::ETAG)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    match e_tag {
        Some(e_tag) if status.is_success() => Ok(e_tag.trim_matches('"').to_owned()),
        Some(_) | None => Err(UploadError::Refused {
            bucket: bucket.clone(),
            key: key.to_owned(),
            status: status.as_u16(),
            answer: answer.text().await.unwrap_or_default(),
        }),
    }
}

fn signed(
    connection: &Connection,
    url: &str,
    size: u64,
    sha256: &str,
    file: File,
) -> Result<http::Request<reqwest::Body>, Box<dyn std::error::Error>> {
    let uri: http::Uri = url.parse()?;
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    let length = size.to_string();
    let headers = [
        ("host", authority.as_str()),
        ("content-type", "application/zip"),
        ("content-length", length.as_str()),
    ];
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let Connection { region, access_key_id, secret_access_key, session_token, .. } = connection;
    let identity =
        Credentials::new(access_key_id, secret_access_key, session_token.clone(), None, "cutover")
            .into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("s3")
        .time(SystemTime::now())
        .settings(settings)
        .build()?
        .into();
    let body = SignableBody::Precomputed(sha256.to_owned());
    let signable = SignableRequest::new("PUT", url, headers.into_iter(), body)?;
    let (instructions, _) = sign(signable, &parameters)?.into_parts();
    let mut request = http::Request::put(uri);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let mut request = request.body(reqwest::Body::from(tokio::fs::File::from_std(file)))?;
    instructions.apply_to_request_http1x(&mut request);
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
                    Origin::Dir(_) => origin.hint(),
                    Origin::Environment => {
                        "check AWS_ENDPOINT_URL_S3 and that the service runs".to_owned()
                    }
                })
            }
            UploadError::Refused { status, .. } if status >= 500 => {
                Self::new(Exit::Unreachable, message)
            }
            UploadError::Refused { .. } | UploadError::Endpoint { .. } => {
                Self::new(Exit::WrongUse, message)
            }
        }
    }
}
