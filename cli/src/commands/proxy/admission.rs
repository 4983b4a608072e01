//! Who may use the proxy, and so the user's credentials: who was told, by this run.

use std::time::SystemTime;

use http::request::Parts;
use serve::sigv4::{self, Keys};
use subtle::ConstantTimeEq as _;
use wire::codedeploy::ErrorName;

/// How a client shows that it was told.
pub(super) enum Admission {
    /// It signs with keys that were made for this run.
    Signed(Keys),
    /// It knows a path that was made for this run. Whom its own signature is for is not looked at.
    Path(Secret),
}

/// A part of a path that nobody can guess: 64 hex digits.
pub(super) struct Secret(String);

/// Why a client is not let in; the name is one that AWS's clients know.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The name of the exception.
    pub(super) name: &'static str,
    /// What it did wrong, and what to do.
    pub(super) message: String,
}

impl Refusal {
    fn denied(message: impl Into<String>) -> Self {
        Self { name: ErrorName::AccessDenied.name(), message: message.into() }
    }
}

impl Secret {
    /// A new one.
    pub(super) fn random() -> Result<Self, getrandom::Error> {
        Ok(Self(random_hex()?))
    }

    /// The URL of the proxy at `port` for who shall know the secret.
    pub(super) fn url(&self, port: u16) -> String {
        format!("http://127.0.0.1:{port}/{}/", self.0)
    }

    /// Whether the path is the secret; how long the look takes tells nothing about it.
    fn is(&self, path: &str) -> bool {
        let found = path.strip_prefix('/').unwrap_or_default();
        let found = found.strip_suffix('/').unwrap_or(found);
        found.as_bytes().ct_eq(self.0.as_bytes()).into()
    }
}

fn random_hex() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(hex::encode(bytes))
}

impl Admission {
    /// By signature, with new keys. That the id names the proxy helps who reads it in an error.
    pub(super) fn signed() -> Result<Self, getrandom::Error> {
        let id = random_hex()?.to_uppercase();
        let access_key_id = format!("CUTOVERPROXY{}", id.get(..8).unwrap_or_default());
        Ok(Self::Signed(Keys { access_key_id, secret_access_key: random_hex()? }))
    }

    /// Lets a client in by the head of its request, as far as that shows; the body may then be read.
    pub(super) fn check_head(&self, parts: &Parts, port: u16) -> Result<(), Refusal> {
        check_host(parts, port)?;
        match self {
            Self::Path(secret) if !secret.is(parts.uri.path()) => Err(Refusal::denied(
                "this is `cutover proxy -- CMD`, and the path is not the one that it gave to CMD: use the environment of CMD as it is, \
                 with the endpoint in AWS_ENDPOINT_URL_CODEDEPLOY",
            )),
            Self::Signed(_) if parts.uri.path() != "/" => Err(Refusal::denied(
                "this is `cutover proxy`, and its path is `/`: set AWS_ENDPOINT_URL_CODEDEPLOY as it was printed",
            )),
            Self::Path(_) | Self::Signed(_) => Ok(()),
        }
    }

    /// Lets a client in by the whole of its request.
    pub(super) fn check(&self, parts: &Parts, body: &[u8]) -> Result<(), Refusal> {
        let Self::Signed(keys) = self else { return Ok(()) };
        let checked = sigv4::verify(parts, body, keys, sigv4::SERVICE, SystemTime::now());
        checked.map(drop).map_err(|error| Refusal {
            name: error.code(),
            message: format!(
                "{error}; this is `cutover proxy`: set the variables that it printed, or run the command as `cutover proxy -- CMD`"
            ),
        })
    }
}

/// A page that a browser shows can make its own name lead here, but it cannot change what the browser calls the host.
fn check_host(parts: &Parts, port: u16) -> Result<(), Refusal> {
    let mut hosts = parts.headers.get_all(http::header::HOST).iter();
    let named = hosts.next().and_then(|host| host.to_str().ok());
    let ours = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    let is_ours = |host: &str| ours.iter().any(|ours| ours == host);
    let by_header = named.is_some_and(is_ours) && hosts.next().is_none();
    let by_address = parts.uri.authority().is_none_or(|authority| is_ours(authority.as_str()));
    if by_header && by_address {
        return Ok(());
    }
    Err(Refusal::denied(format!(
        "the request is for the host `{}`, and `cutover proxy` answers to 127.0.0.1:{port} only",
        named.unwrap_or_default()
    )))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(uri: &str, hosts: &[&str]) -> Parts {
        let mut request = Request::post(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn only_the_whole_secret_is_a_way_in() {
        let secret = Secret::random().unwrap();
        let url = secret.url(80);
        let path = url.strip_prefix("http://127.0.0.1:80").unwrap().to_owned();
        assert_eq!(path.len(), 66);
        let admission = Admission::Path(secret);
        let other = path.replace(path.chars().nth(1).unwrap(), "g");
        for (path, is_let_in) in [
            (path.as_str(), true),
            (path.trim_end_matches('/'), true),
            ("/", false),
            (&path[..path.len() - 2], false),
            (&other, false),
            (&format!("{path}x"), false),
            (&format!("/{path}"), false),
            (&path.to_uppercase(), path.to_uppercase() == path),
        ] {
            let checked = admission.check_head(&parts(path, &["127.0.0.1:80"]), 80);
            assert_eq!(checked.is_ok(), is_let_in, "{path}");
        }
    }

    #[test]
    fn a_request_for_another_host_is_refused_whatever_it_knows() {
        let secret = Secret::random().unwrap();
        let path = secret.url(80).replace("http://127.0.0.1:80", "");
        let admission = Admission::Path(secret);
        let check = |uri: &str, hosts: &[&str]| admission.check_head(&parts(uri, hosts), 80);
        for hosts in [&["127.0.0.1:80"][..], &["localhost:80"]] {
            assert_eq!(check(&path, hosts), Ok(()));
        }
        for hosts in [
            &[][..],
            &[""],
            &["127.0.0.1"],
            &["127.0.0.1:81"],
            &["127.0.0.2:80"],
            &["evil.example:80"],
            &["localhost.evil.example:80"],
            &["127.0.0.1:80", "evil.example:80"],
        ] {
            assert_eq!(check(&path, hosts).unwrap_err().name, "AccessDeniedException", "{hosts:?}");
        }
        let absolute = format!("http://evil.example:80{path}");
        assert!(check(&absolute, &["127.0.0.1:80"]).is_err());
    }

    #[test]
    fn two_runs_have_nothing_in_common() {
        let (one, two) = (Admission::signed().unwrap(), Admission::signed().unwrap());
        let (Admission::Signed(one), Admission::Signed(two)) = (one, two) else { panic!() };
        assert_ne!(one.access_key_id, two.access_key_id);
        assert_ne!(one.secret_access_key, two.secret_access_key);
        assert_eq!((one.access_key_id.len(), one.secret_access_key.len()), (20, 64));
        assert_ne!(Secret::random().unwrap().0, Secret::random().unwrap().0);
    }
}
