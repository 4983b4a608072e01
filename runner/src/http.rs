//! HTTP clients: over TLS with what the system trusts, or plain where nothing else is wanted.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;

/// How long nothing may come of an answer, or of its next piece. Longer than the server holds a poll.
const SILENCE: Duration = Duration::from_secs(75);

/// Whose certificates a client believes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Nobody's: for plain HTTP. It reads nothing, and also works where no certificates are installed.
    Nobody,
    /// The authorities that the system trusts, or those in the file that `SSL_CERT_FILE` names.
    System,
}

impl Trust {
    /// What a client needs for a URL.
    pub fn for_url(url: &str) -> Self {
        let is_secure = url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"));
        if is_secure { Self::System } else { Self::Nobody }
    }
}

/// Why there is no HTTP client.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The system trusts nobody.
    #[error(
        "this host has no certificates of authorities, so that no HTTPS address can be trusted ({reason}): install the \
         package `ca-certificates`, or let SSL_CERT_FILE name a file of them"
    )]
    NoAuthorities {
        /// What was found.
        reason: String,
    },
    /// The TLS library cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The HTTP library cannot be set up.
    #[error("the HTTP client cannot be made: {0}")]
    Http(#[from] reqwest::Error),
}

/// Begins a client. Every client of this workspace begins here: reqwest has no cryptography of its own, and would panic.
///
/// # Errors
/// [`HttpError::NoAuthorities`], [`HttpError::Tls`].
pub fn builder(trust: Trust) -> Result<reqwest::ClientBuilder, HttpError> {
    let roots = match trust {
        Trust::Nobody => RootCertStore::empty(),
        Trust::System => authorities()?,
    };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(reqwest::Client::builder().tls_backend_preconfigured(config))
}

fn authorities() -> Result<RootCertStore, HttpError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Some of the many that a system has may be of a kind that is not known here.
    let (taken, passed_over) = roots.add_parsable_certificates(found.certs);
    if taken > 0 {
        return Ok(roots);
    }
    let errors = found.errors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let reason = match (errors.is_empty(), passed_over) {
        (false, _) => errors,
        (true, 0) => "none was found".to_owned(),
        (true, _) => format!("none of {passed_over} can be read"),
    };
    Err(HttpError::NoAuthorities { reason })
}

/// The runner's clients: a host of a home never reads the system's certificates.
#[derive(Debug)]
pub(crate) struct Http {
    plain: reqwest::Client,
    secure: OnceLock<reqwest::Client>,
}

impl Http {
    /// # Errors
    /// The HTTP client cannot be made.
    pub(crate) fn new() -> Result<Self, HttpError> {
        Ok(Self { plain: client(Trust::Nobody)?, secure: OnceLock::new() })
    }

    /// The client for a URL.
    pub(crate) fn for_url(&self, url: &str) -> Result<&reqwest::Client, HttpError> {
        match (Trust::for_url(url), self.secure.get()) {
            (Trust::Nobody, _) => Ok(&self.plain),
            (Trust::System, Some(known)) => Ok(known),
            // Two that come here at once make two, and the first is kept.
            (Trust::System, None) => {
                let made = client(Trust::System)?;
                Ok(self.secure.get_or_init(|| made))
            }
        }
    }
}

/// Redirects are followed; reqwest takes the authorization out of one that leads to another host, port or scheme. One
/// that leads from HTTPS to plain HTTP is refused.
fn client(trust: Trust) -> Result<reqwest::Client, HttpError> {
    let client = builder(trust)?
        .no_proxy()
        .https_only(trust == Trust::System)
        .connect_timeout(Duration::from_secs(3))
        .read_timeout(SILENCE)
        .pool_max_idle_per_host(2)
        .pool_idle_timeout(Duration::from_secs(60))
        .build()?;
    Ok(client)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_of_a_url_says_whether_the_systems_certificates_are_read() {
        for url in ["https://api.example", "HTTPS://api.example/x"] {
            assert_eq!(Trust::for_url(url), Trust::System);
        }
        for url in ["http://127.0.0.1:7070", "http", "", "httpsß"] {
            assert_eq!(Trust::for_url(url), Trust::Nobody);
        }
        let http = Http::new().unwrap();
        assert!(http.for_url("http://127.0.0.1").is_ok());
        assert!(http.secure.get().is_none());
    }
}
