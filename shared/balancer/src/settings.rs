//! What a balancer of a home is set up with, checked before anything is done with it.

use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, header};
use serde::{Deserialize, Serialize};

use super::settings_error::{COHORT_VALUE_MAX, DRAIN_TIMEOUT_MAX_MS, NAME_MAX, SettingsError};
use super::statuses::Statuses;

/// A balancer of a home: where it listens, and whom it passes requests to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Its name: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// The port that it listens on, on the loopback address. 0: any free one, which is then kept.
    #[serde(default)]
    pub port: u16,
    /// The port that the hosts' application listens on.
    pub target_port: u16,
    /// What is asked of a host to see whether it is healthy.
    #[serde(default = "default_health_path")]
    pub health_path: String,
    /// The statuses of the answer that say so.
    #[serde(default)]
    pub health_status: Statuses,
    /// One or two target groups. None: one that has the balancer's name.
    #[serde(default)]
    pub groups: Vec<String>,
    /// How long requests may take to end on a host that is drained, in milliseconds.
    #[serde(default = "default_drain_timeout_ms")]
    pub drain_timeout_ms: u64,
    /// Who always gets the new group of a pair, as long as that has a share of the traffic.
    #[serde(default)]
    pub cohort: Option<Cohort>,
    /// The port on which the group of a pair answers that has less of the traffic, be it none: so that it can be tried
    /// before it gets any. 0: any free one, which is then kept.
    #[serde(default)]
    pub test_port: Option<u16>,
}

/// Requests that carry a header or a cookie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cohort {
    /// A header of that name has that value.
    Header {
        /// Its name.
        name: String,
        /// Its value, whole.
        value: String,
    },
    /// A cookie of that name has that value.
    Cookie {
        /// Its name.
        name: String,
        /// Its value, whole.
        value: String,
    },
}

fn default_health_path() -> String {
    "/".to_owned()
}

fn default_drain_timeout_ms() -> u64 {
    30_000
}

impl Settings {
    /// A balancer of one target group of its own name on any free port, for an application on `target_port`.
    #[must_use]
    pub fn new(name: &str, target_port: u16) -> Self {
        Self {
            name: name.to_owned(),
            port: 0,
            target_port,
            health_path: default_health_path(),
            health_status: Statuses::default(),
            groups: Vec::new(),
            drain_timeout_ms: default_drain_timeout_ms(),
            cohort: None,
            test_port: None,
        }
    }

    /// The names of the target groups, in order.
    #[must_use]
    pub fn groups(&self) -> Vec<String> {
        if self.groups.is_empty() { vec![self.name.clone()] } else { self.groups.clone() }
    }

    /// How long requests may take to end on a host that is drained.
    pub(crate) fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }

    /// Whether a balancer can be set up so.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn check(&self) -> Result<(), SettingsError> {
        let groups = self.groups();
        for name in groups.iter().chain([&self.name]) {
            if !is_name(name) {
                return Err(SettingsError::Name { name: name.clone() });
            }
        }
        match groups.as_slice() {
            [one, other] if one == other => {
                return Err(SettingsError::SameGroup { name: one.clone() });
            }
            [_] | [_, _] => {}
            more => return Err(SettingsError::Groups { count: more.len() }),
        }
        if self.target_port == 0 {
            return Err(SettingsError::TargetPort);
        }
        let is_path =
            self.health_path.starts_with('/') && self.health_path.parse::<PathAndQuery>().is_ok();
        if !is_path {
            return Err(SettingsError::HealthPath { path: self.health_path.clone() });
        }
        if self.drain_timeout_ms > DRAIN_TIMEOUT_MAX_MS {
            return Err(SettingsError::DrainTimeout { ms: self.drain_timeout_ms });
        }
        self.cohort.as_ref().map_or(Ok(()), Cohort::check)
    }
}

/// Names appear in alarms and in URLs of the API, so they are plain.
fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(plain)
}

impl Cohort {
    fn check(&self) -> Result<(), SettingsError> {
        let (Self::Header { name, value } | Self::Cookie { name, value }) = self;
        let is_value = (1..=COHORT_VALUE_MAX).contains(&value.len())
            && value.bytes().all(|b| b.is_ascii_graphic() && b != b';');
        // The names of cookies are tokens like those of headers.
        if is_value && HeaderName::from_bytes(name.as_bytes()).is_ok() {
            Ok(())
        } else {
            Err(SettingsError::Cohort { name: name.clone() })
        }
    }

    /// Whether a request with these headers belongs to it.
    pub(crate) fn holds(&self, headers: &HeaderMap) -> bool {
        match self {
            Self::Header { name, value } => headers
                .get_all(name.as_str())
                .iter()
                .any(|found| found.as_bytes() == value.as_bytes()),
            Self::Cookie { name, value } => headers
                .get_all(header::COOKIE)
                .iter()
                .filter_map(|cookies| cookies.to_str().ok())
                .flat_map(|cookies| cookies.split(';'))
                .filter_map(|cookie| cookie.trim().split_once('='))
                .any(|(found, content)| found == name && content == value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_that_cannot_be_is_refused_by_name() {
        let check = |change: fn(&mut Settings), expected: &str| {
            let mut settings = Settings::new("web", 8080);
            change(&mut settings);
            let error = settings.check().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        assert_eq!(Settings::new("web", 8080).check(), Ok(()));
        check(|s| s.name = "a b".into(), "`a b` cannot be the name");
        check(|s| s.name = "x".repeat(65), "cannot be the name");
        check(|s| s.groups = vec!["a".into(), "a".into()], "`a` is named twice");
        check(|s| s.groups = vec!["a".into(), "b".into(), "c".into()], "3 target groups");
        check(|s| s.target_port = 0, "target port");
        check(|s| s.health_path = "health".into(), "`health` cannot be the health path");
        check(|s| s.health_path = "/a b".into(), "`/a b` cannot be");
        check(|s| s.drain_timeout_ms = 3_600_001, "3600001 ms is too long");
        let cohort = |s: &mut Settings| {
            s.cohort = Some(Cohort::Header { name: "a b".into(), value: "1".into() });
        };
        check(cohort, "`a b` with that value");
    }

    #[test]
    fn a_cohort_is_known_by_its_cookie_among_others() {
        let cohort = Cohort::Cookie { name: "beta".into(), value: "yes".into() };
        let holds = |cookies: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for cookie in cookies {
                headers.append(header::COOKIE, (*cookie).parse().unwrap());
            }
            cohort.holds(&headers)
        };
        assert!(holds(&["beta=yes"]));
        assert!(holds(&["a=b", "c=d; beta=yes; e=f"]));
        assert!(!holds(&["beta=no", "xbeta=yes", "beta=yes2", "beta"]));
    }
}
