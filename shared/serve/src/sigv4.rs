//! Checks the signatures (AWS Signature Version 4) of requests, such as those to the CodeDeploy API.
//!
//! The canonical request is built from exactly the headers that the client says it signed; the keys and hashes come from
//! AWS's own signing library. Presigned URLs are deliberately not accepted: no client of this API makes them. A request
//! that was recorded on its way can be repeated within [`CLOCK_SKEW_MS`], as at AWS; see `docs/semantics.md#api`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

/// How far the time of a signature may be from ours, in milliseconds.
pub const CLOCK_SKEW_MS: u64 = 300_000;

/// The signing name of the CodeDeploy API.
pub const SERVICE: &str = "codedeploy";

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The key pair that requests have to be signed with.
#[derive(Clone)]
pub struct Keys {
    /// The access key id.
    pub access_key_id: String,
    /// The secret access key. It is never shown.
    pub secret_access_key: String,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// Who signed the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The access key id that signed.
    pub access_key_id: String,
    /// The region that the client believes to talk to.
    pub region: String,
}

/// Why a request is refused. [`SignatureError::code`] is the name that AWS's clients know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no signature at all.
    #[error(
        "the request is not signed: configure an access key id and a secret access key, for example with `aws configure`"
    )]
    Missing,
    /// The signature's header, or one that it needs, cannot be understood.
    #[error(
        "the signature of the request is incomplete, {0}: use a current AWS SDK or the AWS CLI"
    )]
    Incomplete(String),
    /// The access key is not one of ours.
    #[error(
        "the access key `{0}` is not known here: use the credentials of this service, not those of an AWS account"
    )]
    UnknownKey(String),
    /// Signed for another service or at another day than it says.
    #[error(
        "the request is signed for `{signed}`, not for `{expected}`: set the client's endpoint for CodeDeploy only"
    )]
    WrongScope {
        /// What the client signed for.
        signed: String,
        /// What it has to sign for.
        expected: String,
    },
    /// The signature does not fit the request and the key.
    #[error(
        "the signature does not match: check the secret access key of `{0}`, and that nothing between the client and \
         this service changes requests"
    )]
    Mismatch(String),
    /// The time of the signature is too far from ours.
    #[error(
        "the request was signed at `{signed_at}`, but it is now `{now}`: more than 5 minutes apart; set the client's \
         clock, or send the request again"
    )]
    Expired {
        /// The time that the client signed, as it wrote it.
        signed_at: String,
        /// Our time in the same form.
        now: String,
    },
}

impl SignatureError {
    /// The error's name in AWS's protocol.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing => "MissingAuthenticationToken",
            Self::Incomplete(_) => "IncompleteSignature",
            Self::UnknownKey(_) => "UnrecognizedClientException",
            Self::WrongScope { .. } | Self::Mismatch(_) => "InvalidSignatureException",
            Self::Expired { .. } => "RequestExpired",
        }
    }
}

/// What the `authorization` header says.
struct Authorization<'a> {
    access_key_id: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

/// Checks that the request with that raw body was signed for `service` with `keys`, at a time near `now`.
///
/// # Errors
/// When it was not, and why.
pub fn verify(
    parts: &Parts,
    body: &[u8],
    keys: &Keys,
    service: &str,
    now: SystemTime,
) -> Result<Identity, SignatureError> {
    let header = header(parts, "authorization")?.ok_or(SignatureError::Missing)?;
    let authorization = parse(&header)?;
    let mismatch = || SignatureError::Mismatch(authorization.access_key_id.to_owned());
    if authorization.access_key_id != keys.access_key_id {
        return Err(SignatureError::UnknownKey(authorization.access_key_id.to_owned()));
    }
    let written = self::header(parts, "x-amz-date")?
        .ok_or_else(|| incomplete("the header `x-amz-date` is missing"))?;
    // Which operation is asked for is a header: unsigned, it could be exchanged on the way.
    let is_given = |name: &&str| *name != "x-amz-target" || parts.headers.contains_key(*name);
    for needed in ["host", "x-amz-date", "x-amz-target"].into_iter().filter(is_given) {
        if !authorization.signed_headers.contains(&needed) {
            return Err(incomplete(&format!("the header `{needed}` is not signed")));
        }
    }
    let signed_at = parse_date(&written).ok_or_else(|| {
        incomplete("the header `x-amz-date` is not a time such as 20261123T090000Z")
    })?;
    let scope = |date: &str, service: &str| {
        format!("{date}/{}/{service}/aws4_request", authorization.region)
    };
    let day = written.get(..8).unwrap_or_default();
    if authorization.service != service || authorization.date != day {
        return Err(SignatureError::WrongScope {
            signed: scope(authorization.date, authorization.service),
            expected: scope(day, service),
        });
    }
    let canonical = canonical_request(parts, body, &authorization)?;
    let to_sign = format!(
        "{ALGORITHM}\n{written}\n{}\n{}",
        scope(day, service),
        sha256_hex(canonical.as_bytes())
    );
    let key =
        generate_signing_key(&keys.secret_access_key, signed_at, authorization.region, service);
    let expected = calculate_signature(key, to_sign.as_bytes());
    // Comparing hashes tells a client that measures times nothing about the signature.
    if sha256_hex(&expected) != sha256_hex(authorization.signature) {
        return Err(mismatch());
    }
    let skew = signed_at.duration_since(now).unwrap_or_else(|earlier| earlier.duration());
    if skew > Duration::from_millis(CLOCK_SKEW_MS) {
        let now = format_date(now);
        return Err(SignatureError::Expired { signed_at: written, now });
    }
    Ok(Identity {
        access_key_id: keys.access_key_id.clone(),
        region: authorization.region.to_owned(),
    })
}

fn incomplete(what: &str) -> SignatureError {
    SignatureError::Incomplete(what.to_owned())
}

/// The header's value, trimmed; several lines of one header are joined as they are signed.
fn header(parts: &Parts, name: &str) -> Result<Option<String>, SignatureError> {
    let mut joined: Option<String> = None;
    for value in parts.headers.get_all(name) {
        let value = std::str::from_utf8(value.as_bytes())
            .map_err(|_| incomplete(&format!("the header `{name}` is not UTF-8")))?;
        let value = value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        joined = Some(match joined {
            Some(before) => format!("{before},{value}"),
            None => value,
        });
    }
    Ok(joined)
}

fn parse(header: &str) -> Result<Authorization<'_>, SignatureError> {
    let fields = header.strip_prefix(ALGORITHM).ok_or_else(|| {
        incomplete("the header `authorization` does not begin with `AWS4-HMAC-SHA256`")
    })?;
    let field = |name: &str| {
        fields
            .split(',')
            .find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
            .ok_or_else(|| {
                incomplete(&format!("`{name}` is missing from the header `authorization`"))
            })
    };
    let credential = field("Credential")?;
    // The key id comes first and may itself hold slashes, so the scope is cut off from the right.
    let mut scope = credential.rsplitn(5, '/');
    match (scope.next(), scope.next(), scope.next(), scope.next(), scope.next()) {
        (Some("aws4_request"), Some(service), Some(region), Some(date), Some(access_key_id)) => {
            Ok(Authorization {
                access_key_id,
                date,
                region,
                service,
                signed_headers: field("SignedHeaders")?.split(';').collect(),
                signature: field("Signature")?,
            })
        }
        _ => Err(incomplete("`Credential` in the header `authorization` has no scope")),
    }
}

fn canonical_request(
    parts: &Parts,
    body: &[u8],
    authorization: &Authorization<'_>,
) -> Result<String, SignatureError> {
    let mut headers = String::new();
    for name in &authorization.signed_headers {
        // Over HTTP/2 the host is in the address of the request.
        let authority =
            || (*name == "host").then(|| parts.uri.authority().map(ToString::to_string))?;
        let value = header(parts, name)?.or_else(authority).ok_or_else(|| {
            incomplete(&format!("the signed header `{name}` is not in the request"))
        })?;
        headers.push_str(&format!("{name}:{value}\n"));
    }
    Ok(format!(
        "{}\n{}\n{}\n{headers}\n{}\n{}",
        parts.method,
        canonical_path(parts.uri.path()),
        canonical_query(parts.uri.query().unwrap_or_default()),
        authorization.signed_headers.join(";"),
        sha256_hex(body),
    ))
}

/// Every segment is encoded once more than on the wire, as all services but S3 have it.
fn canonical_path(path: &str) -> String {
    let segments = path.split('/').map(|segment| utf8_percent_encode(segment, ENCODED).to_string());
    segments.collect::<Vec<_>>().join("/")
}

fn canonical_query(query: &str) -> String {
    let encode = |text: &str| {
        let decoded = percent_decode_str(text).collect::<Vec<u8>>();
        percent_encoding::percent_encode(&decoded, ENCODED).to_string()
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<(String, String)> = pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (encode(name), encode(value)))
        .collect();
    pairs.sort();
    let pairs = pairs.iter().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join("&")
}

/// Reads a time such as `20261123T090000Z`.
pub fn parse_date(text: &str) -> Option<SystemTime> {
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    let seconds = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second();
    UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))
}

fn format_date(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time)
        .map(|time| time.strftime("%Y%m%dT%H%M%SZ").to_string())
        .unwrap_or_default()
}

fn sha256_hex(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;
    use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
    use aws_sigv4::sign::v4::SigningParams;
    use http::Request;

    use super::*;

    const BODY: &[u8] = br#"{"deploymentId":"d-1"}"#;

    fn keys() -> Keys {
        Keys { access_key_id: "AKIDHOME".to_owned(), secret_access_key: "home-secret".to_owned() }
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(1_795_424_400_000)
    }

    /// Signs as AWS's SDKs do.
    fn signed(uri: &str, key: &str, secret: &str, service: &str, at: SystemTime) -> Parts {
        let target = ("x-amz-target", "CodeDeploy_20141006.GetDeployment");
        let headers = [("host", "127.0.0.1:8000"), target];
        let identity = Credentials::new(key, secret, None, None, "test").into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region("eu-west-1")
            .name(service)
            .time(at)
            .settings(SigningSettings::default())
            .build()
            .unwrap()
            .into();
        let body = SignableBody::Bytes(BODY);
        let signable = SignableRequest::new("POST", uri, headers.into_iter(), body).unwrap();
        let (instructions, _) = sign(signable, &params).unwrap().into_parts();
        let mut request = Request::post(uri);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let mut request = request.header("user-agent", "test").body(()).unwrap();
        instructions.apply_to_request_http1x(&mut request);
        request.into_parts().0
    }

    fn code(parts: &Parts, body: &[u8]) -> &'static str {
        verify(parts, body, &keys(), SERVICE, now()).unwrap_err().code()
    }

    #[test]
    fn a_request_signed_with_the_keys_is_accepted() {
        for uri in ["/", "/?b=2&a=1%2F%20&a=0&c", "/some%20path/x"] {
            let parts = signed(uri, "AKIDHOME", "home-secret", SERVICE, now());
            let identity = verify(&parts, BODY, &keys(), SERVICE, now()).unwrap();
            assert_eq!(identity.access_key_id, "AKIDHOME");
            assert_eq!(identity.region, "eu-west-1");
        }
    }

    #[test]
    fn whatever_was_changed_after_signing_is_refused() {
        let good = || signed("/", "AKIDHOME", "home-secret", SERVICE, now());
        assert_eq!(code(&good(), b"{}"), "InvalidSignatureException");
        let mut parts = good();
        let target = "CodeDeploy_20141006.StopDeployment".parse().unwrap();
        parts.headers.insert("x-amz-target", target);
        assert_eq!(code(&parts, BODY), "InvalidSignatureException");
        let mut parts = good();
        parts.headers.append("x-amz-target", "more".parse().unwrap());
        assert_eq!(code(&parts, BODY), "InvalidSignatureException");
        let mut parts = good();
        parts.uri = "/?a=1".parse().unwrap();
        assert_eq!(code(&parts, BODY), "InvalidSignatureException");
        let mut parts = good();
        parts.headers.remove("x-amz-target");
        assert_eq!(code(&parts, BODY), "IncompleteSignature");
    }

    #[test]
    fn a_target_that_is_not_signed_is_refused() {
        let target = "CodeDeploy_20141006.DeleteApplication";
        let unsigned = |headers: &[(&'static str, &str)]| {
            let identity = Credentials::new("AKIDHOME", "home-secret", None, None, "test").into();
            let params = SigningParams::builder()
                .identity(&identity)
                .region("eu-west-1")
                .name(SERVICE)
                .time(now())
                .settings(SigningSettings::default())
                .build()
                .unwrap()
                .into();
            let host = [("host", "127.0.0.1:8000")];
            let body = SignableBody::Bytes(BODY);
            let signable = SignableRequest::new("POST", "/", host.into_iter(), body).unwrap();
            let (instructions, _) = sign(signable, &params).unwrap().into_parts();
            let mut request = Request::post("/").header("host", "127.0.0.1:8000");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let mut request = request.body(()).unwrap();
            instructions.apply_to_request_http1x(&mut request);
            request.into_parts().0
        };
        assert_eq!(code(&unsigned(&[("x-amz-target", target)]), BODY), "IncompleteSignature");
        let without = unsigned(&[]);
        assert!(verify(&without, BODY, &keys(), SERVICE, now()).is_ok(), "the path may name it");
    }

    #[test]
    fn other_keys_services_and_times_are_refused_by_their_names() {
        let at = |seconds| now() + Duration::from_secs(1_000) - Duration::from_secs(seconds);
        let one = |key, secret, service, at| code(&signed("/", key, secret, service, at), BODY);
        let (id, secret) = ("AKIDHOME", "home-secret");
        assert_eq!(one("other", secret, SERVICE, now()), "UnrecognizedClientException");
        assert_eq!(one(id, "wrong", SERVICE, now()), "InvalidSignatureException");
        assert_eq!(one(id, secret, "s3", now()), "InvalidSignatureException");
        assert_eq!(one(id, secret, SERVICE, at(1_301)), "RequestExpired");
        assert_eq!(one(id, secret, SERVICE, at(699)), "RequestExpired");
        for edge in [700, 1_300] {
            let parts = signed("/", id, secret, SERVICE, at(edge));
            assert!(verify(&parts, BODY, &keys(), SERVICE, now()).is_ok());
        }
    }

    #[test]
    fn a_header_that_is_no_signature_is_refused_without_a_panic() {
        let mut parts = signed("/", "AKIDHOME", "home-secret", SERVICE, now());
        for broken in ["", "Basic x", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=a/b, =,,"] {
            parts.headers.insert("authorization", broken.parse().unwrap());
            assert_eq!(code(&parts, BODY), "IncompleteSignature");
        }
        parts.headers.remove("authorization");
        assert_eq!(code(&parts, BODY), "MissingAuthenticationToken");
        let mut parts = signed("/", "AKIDHOME", "home-secret", SERVICE, now());
        parts.headers.insert("x-amz-date", "2026é".parse().unwrap());
        assert_eq!(code(&parts, BODY), "IncompleteSignature");
        parts.headers.insert("x-amz-date", "19691231T235959Z".parse().unwrap());
        assert_eq!(code(&parts, BODY), "IncompleteSignature");
    }
}
