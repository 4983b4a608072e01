//! What is asked of signatures beyond that they are right (`docs/semantics.md#api`): Version 4, a time near ours, and
//! presigned URLs that end within a week. The library checks Version 2 as well, and no time that a header tells.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, Uri};
use percent_encoding::percent_decode_str;
use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::PostObjectInput;
use s3s::{S3Request, S3Result, s3_error};
use serve::sigv4::parse_date;

/// How far the time of a signature may be from ours.
const SKEW: Duration = Duration::from_secs(15 * 60);
/// How long a presigned URL may be good for.
const PRESIGNED_MAX_S: u64 = 7 * 24 * 3_600;

/// Lets in requests whose signature is one that is accepted here, and is not too old.
pub(super) struct Signed;

#[async_trait::async_trait]
impl S3Access for Signed {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        if cx.credentials().is_none() {
            return Err(s3_error!(
                AccessDenied,
                "the request is not signed: use the credentials that home shows"
            ));
        }
        check(cx.method(), cx.uri(), cx.headers(), SystemTime::now())
    }

    async fn post_object(&self, req: &mut S3Request<PostObjectInput>) -> S3Result<()> {
        // A form is signed in its fields, which only the library sees. Version 2 names no region.
        if req.region.is_none() { Err(version_2()) } else { Ok(()) }
    }
}

fn version_2() -> s3s::S3Error {
    s3_error!(
        InvalidRequest,
        "Signature Version 2 is not accepted here: have the client sign with Version 4 (AWS4-HMAC-SHA256)"
    )
}

/// What a query says under a name, as it is decoded.
fn queried(uri: &Uri, name: &str) -> Option<String> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let pairs = uri.query().unwrap_or_default().split('&');
    let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.find(|(key, _)| decoded(key) == name).map(|(_, value)| decoded(value))
}

/// Checks a request whose signature is right.
fn check(method: &Method, uri: &Uri, headers: &HeaderMap, now: SystemTime) -> S3Result<()> {
    if queried(uri, "Signature").is_some() {
        return Err(version_2());
    }
    if queried(uri, "X-Amz-Signature").is_some() {
        return check_presigned(uri);
    }
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(authorization) = header("authorization") else {
        let is_form = header("content-type").is_some_and(|kind| kind.starts_with("multipart/"));
        return if *method == Method::POST && is_form { Ok(()) } else { Err(version_2()) };
    };
    if !authorization.starts_with("AWS4-") {
        return Err(version_2());
    }
    let signed_at = header("x-amz-date").and_then(parse_date);
    let skew = signed_at.map(|at| at.duration_since(now).unwrap_or_else(|ago| ago.duration()));
    if skew.is_some_and(|skew| skew <= SKEW) {
        return Ok(());
    }
    Err(s3_error!(
        RequestTimeTooSkewed,
        "the request was signed more than 15 minutes from now: set the client's clock, or send the request again"
    ))
}

fn check_presigned(uri: &Uri) -> S3Result<()> {
    let seconds = queried(uri, "X-Amz-Expires").and_then(|seconds| seconds.parse::<u64>().ok());
    if seconds.is_some_and(|seconds| seconds <= PRESIGNED_MAX_S) {
        return Ok(());
    }
    Err(s3_error!(
        AuthorizationQueryParametersError,
        "X-Amz-Expires must be at most 604800 seconds, which is a week: presign the URL for less"
    ))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_795_424_400)
    }

    fn code(method: Method, uri: &str, headers: &[(&'static str, &str)]) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let checked = check(&method, &uri.parse().unwrap(), &map, now());
        checked.err().map(|error| error.code().as_str().to_owned())
    }

    #[test]
    fn a_header_is_of_version_4_and_near_our_time() {
        let v4 = ("authorization", "AWS4-HMAC-SHA256 Credential=a");
        let at = |date| code(Method::PUT, "/b/k", &[v4, ("x-amz-date", date)]);
        assert_eq!(at("20261123T090000Z"), None);
        assert_eq!(at("20261123T091500Z"), None);
        assert_eq!(at("20261123T084500Z"), None);
        for far in ["20261123T091501Z", "20261123T084459Z", "20201123T090000Z", "soon"] {
            assert_eq!(at(far).as_deref(), Some("RequestTimeTooSkewed"), "{far}");
        }
        assert_eq!(code(Method::PUT, "/b/k", &[v4]).as_deref(), Some("RequestTimeTooSkewed"));
        let v2 = [("authorization", "AWS AKIDHOME:c2lnbmVk"), ("date", "20261123T090000Z")];
        assert_eq!(code(Method::GET, "/b/k", &v2).as_deref(), Some("InvalidRequest"));
    }

    #[test]
    fn a_presigned_url_is_of_version_4_and_ends_within_a_week() {
        let get = |query: &str| code(Method::GET, &format!("/b/k?{query}"), &[]);
        assert_eq!(get("X-Amz-Expires=604800&X-Amz-Signature=ab"), None);
        let refused = Some("AuthorizationQueryParametersError".to_owned());
        assert_eq!(get("X-Amz-Expires=604801&X-Amz-Signature=ab"), refused);
        assert_eq!(get("X-Amz-Expires=soon&X-Amz-Signature=ab"), refused);
        assert_eq!(get("X-Amz-Signature=ab"), refused);
        for v2 in ["AWSAccessKeyId=a&Signature=b&Expires=1", "%53ignature=b&X-Amz-Signature=ab"] {
            assert_eq!(get(v2).as_deref(), Some("InvalidRequest"), "{v2}");
        }
    }
}
