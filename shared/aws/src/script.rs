//! The script that Run Command runs on a host. The stack's own document contains it with SSM's placeholders; where there
//! is no document of one's own, it is sent with the values filled in.

use regex_lite::Regex;
use thiserror::Error;

/// The script, with SSM's placeholders.
pub const SCRIPT: &str = include_str!("command.sh");

/// What a base URL of the API looks like.
pub const API_URL_PATTERN: &str = "^https?://[A-Za-z0-9.:/_-]{1,200}$";
/// What the key of a batch looks like.
pub const BATCH_KEY_PATTERN: &str = "^d-[A-Z0-9]{9}/[0-9]{1,9}$";
/// What the secret of a batch looks like.
pub const BATCH_SECRET_PATTERN: &str = "^[0-9a-f]{64}$";
/// What a version of the runner looks like.
pub const RUNNER_VERSION_PATTERN: &str = "^[0-9A-Za-z.+-]{1,32}$";
/// What the digest of a runner looks like.
pub const RUNNER_DIGEST_PATTERN: &str = "^[0-9a-f]{64}$";

/// What a command brings to its hosts.
#[derive(Clone, PartialEq, Eq)]
pub struct Parameters {
    /// The base URL of the API, without a slash at its end.
    pub api_url: String,
    /// The key of the batch, such as `d-A1B2C3D4E/12`.
    pub batch_key: String,
    /// The secret of the batch.
    pub batch_secret: String,
    /// The version of the runner, for people.
    pub runner_version: String,
    /// The SHA-256 of the runner, in lower-case hex.
    pub runner_digest: String,
}

impl std::fmt::Debug for Parameters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parameters")
            .field("api_url", &self.api_url)
            .field("batch_key", &self.batch_key)
            .field("runner_version", &self.runner_version)
            .field("runner_digest", &self.runner_digest)
            .finish_non_exhaustive()
    }
}

/// A value that must not get into a script.
#[derive(Debug, Error)]
pub enum ScriptError {
    /// It does not look as it must.
    #[error("the command's {name} does not match {pattern}: it is not sent to any host")]
    Mismatch {
        /// The document's parameter.
        name: &'static str,
        /// What it must match.
        pattern: &'static str,
    },
    /// A pattern of this module is none.
    #[error("the pattern of the command's {name} cannot be used: {source}")]
    Pattern {
        /// The document's parameter.
        name: &'static str,
        /// Why.
        #[source]
        source: regex_lite::Error,
    },
}

impl Parameters {
    /// Each parameter of the document: its name, what its values must match, and the value.
    pub fn each(&self) -> [(&'static str, &'static str, &str); 5] {
        [
            ("ApiUrl", API_URL_PATTERN, &self.api_url),
            ("BatchKey", BATCH_KEY_PATTERN, &self.batch_key),
            ("BatchSecret", BATCH_SECRET_PATTERN, &self.batch_secret),
            ("RunnerVersion", RUNNER_VERSION_PATTERN, &self.runner_version),
            ("RunnerDigest", RUNNER_DIGEST_PATTERN, &self.runner_digest),
        ]
    }
}

/// The script with these values in it.
///
/// # Errors
/// [`ScriptError::Mismatch`]: a value could be more than a value there.
pub fn render(parameters: &Parameters) -> Result<String, ScriptError> {
    let mut script = SCRIPT.to_owned();
    for (name, pattern, value) in parameters.each() {
        let matcher =
            Regex::new(pattern).map_err(|source| ScriptError::Pattern { name, source })?;
        if !matcher.is_match(value) {
            return Err(ScriptError::Mismatch { name, pattern });
        }
        script = script.replace(&format!("{{{{ {name} }}}}"), value);
    }
    Ok(script)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters() -> Parameters {
        Parameters {
            api_url: "https://a1b2c3.execute-api.eu-central-1.amazonaws.com".to_owned(),
            batch_key: "d-A1B2C3D4E/12".to_owned(),
            batch_secret: "0a".repeat(32),
            runner_version: "0.1.0".to_owned(),
            runner_digest: "f1".repeat(32),
        }
    }

    #[test]
    fn each_placeholder_stands_once_in_quotes_and_nothing_else_looks_like_one() {
        for (name, _, _) in parameters().each() {
            assert_eq!(SCRIPT.matches(&format!("='{{{{ {name} }}}}'\n")).count(), 1, "{name}");
        }
        assert_eq!((SCRIPT.matches("{{").count(), SCRIPT.matches("}}").count()), (5, 5));
        assert!(SCRIPT.is_ascii() && !SCRIPT.contains(['\r', '\t']) && SCRIPT.ends_with('\n'));
    }

    #[test]
    fn a_script_is_rendered_with_its_values() {
        let script = render(&parameters()).unwrap();
        assert!(!script.contains("{{"), "{script}");
        for (_, _, value) in parameters().each() {
            assert_eq!(script.matches(&format!("='{value}'\n")).count(), 1, "{value}");
        }
    }

    #[test]
    fn a_value_that_is_no_value_gets_into_no_script() {
        let evil = ["x'; reboot; '", "$(reboot)", "", "https://a b", "d-A1B2C3D4E/12\n", "0a"];
        let places: [fn(&mut Parameters) -> &mut String; 5] = [
            |it| &mut it.api_url,
            |it| &mut it.batch_key,
            |it| &mut it.batch_secret,
            |it| &mut it.runner_version,
            |it| &mut it.runner_digest,
        ];
        for (at, place) in places.iter().enumerate() {
            for text in evil.into_iter().filter(|text| (at, *text) != (3, "0a")) {
                let mut parameters = parameters();
                text.clone_into(place(&mut parameters));
                let error = render(&parameters).unwrap_err().to_string();
                assert!(error.contains(parameters.each()[at].0), "{error}");
            }
        }
        assert!(!format!("{:?}", parameters()).contains(&"0a".repeat(32)));
    }
}
