//! Whose keys sign calls: those that a home or the environment gives, or the user's own of AWS, which expire.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use thiserror::Error;
use tokio::sync::Mutex;

use crate::failure::{Exit, Failure};

/// Keys are asked for again so long before they expire, and after so long if they do not say when: another program may
/// have renewed them.
const EARLY: Duration = Duration::from_secs(300);
/// But not more often than this, while they are good.
const AT_MOST: Duration = Duration::from_secs(10);

/// The keys of a connection.
#[derive(Clone)]
pub(crate) enum Keys {
    /// They are known.
    Given(Credentials),
    /// They are the user's, and are looked up when they are needed.
    User(Arc<UserKeys>),
}

/// The user's keys, kept until they are about to expire.
pub(crate) struct UserKeys {
    profile: Option<String>,
    region: String,
    kept: Mutex<Option<Kept>>,
}

struct Kept {
    credentials: Credentials,
    good_until: SystemTime,
}

/// Why there are no keys.
#[derive(Debug, Error)]
pub(crate) enum KeysError {
    /// Nobody has any.
    #[error("no AWS credentials are found{}", of_profile(.profile.as_deref()))]
    None {
        /// The profile that was looked at.
        profile: Option<String>,
    },
    /// They are there, and cannot be had.
    #[error("the AWS credentials{} cannot be had: {reason}", of_profile(.profile.as_deref()))]
    Refused {
        /// The profile that was looked at.
        profile: Option<String>,
        /// Why.
        reason: String,
    },
}

fn of_profile(profile: Option<&str>) -> String {
    profile.map(|profile| format!(" in the profile `{profile}`")).unwrap_or_default()
}

impl Keys {
    /// The user's keys: those of the profile, or else those that AWS's tools find without one.
    pub(crate) fn of_user(profile: Option<String>, region: String) -> Self {
        Self::User(Arc::new(UserKeys { profile, region, kept: Mutex::new(None) }))
    }

    /// The keys to sign with now.
    pub(crate) async fn get(&self) -> Result<Credentials, KeysError> {
        match self {
            Self::Given(credentials) => Ok(credentials.clone()),
            Self::User(keys) => keys.get().await,
        }
    }
}

impl UserKeys {
    /// The profile that they are looked up in, if it was not left to AWS's libraries.
    pub(crate) fn profile(&self) -> Option<&str> {
        self.profile.as_deref()
    }

    async fn get(&self) -> Result<Credentials, KeysError> {
        let now = SystemTime::now();
        // Others wait meanwhile, so that keys are looked up once.
        let mut kept = self.kept.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| now < kept.good_until) {
            return Ok(kept.credentials.clone());
        }
        match super::aws::resolve(self.profile(), &self.region).await {
            Ok(credentials) => {
                let good_until = good_until(credentials.expiry(), now);
                *kept = Some(Kept { credentials: credentials.clone(), good_until });
                Ok(credentials)
            }
            Err(error) => match kept.as_ref().filter(|kept| kept.outlives(now)) {
                Some(kept) => Ok(kept.credentials.clone()),
                None => Err(self.refused(&error)),
            },
        }
    }

    fn refused(&self, error: &CredentialsError) -> KeysError {
        let profile = self.profile.clone();
        if matches!(error, CredentialsError::CredentialsNotLoaded(_)) {
            return KeysError::None { profile };
        }
        KeysError::Refused { profile, reason: causes(error) }
    }
}

/// What the provider says, from where it was to what went wrong there.
fn causes(error: &CredentialsError) -> String {
    let mut causes = Vec::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        // Programs that are asked for keys answer in lines.
        causes.push(cause.to_string().split_whitespace().collect::<Vec<_>>().join(" "));
        source = cause.source();
    }
    // Every provider says this first.
    causes.retain(|cause| cause != "an error occurred while loading credentials");
    if causes.is_empty() { error.to_string() } else { causes.join(": ") }
}

impl Kept {
    fn outlives(&self, now: SystemTime) -> bool {
        self.credentials.expiry().is_some_and(|expiry| now < expiry)
    }
}

/// Until when keys are used without another look.
fn good_until(expiry: Option<SystemTime>, now: SystemTime) -> SystemTime {
    let Some(expiry) = expiry else { return now + EARLY };
    (expiry - EARLY).max(now + AT_MOST).min(expiry)
}

impl From<KeysError> for Failure {
    fn from(error: KeysError) -> Self {
        let message = error.to_string();
        let hint = match error {
            KeysError::None { profile: None } => {
                "`aws configure` or `aws configure sso` sets them up; AWS_PROFILE chooses between several".to_owned()
            }
            KeysError::None { profile: Some(profile) } => format!(
                "`aws configure --profile {profile}` sets it up; set AWS_PROFILE to use another one"
            ),
            KeysError::Refused { profile, .. } => {
                let profile =
                    profile.map(|profile| format!(" --profile {profile}")).unwrap_or_default();
                format!(
                    "if they are those of a single sign-on, `aws sso login{profile}` renews them; \
                     `aws sts get-caller-identity{profile}` shows whether they work"
                )
            }
        };
        Self::new(Exit::WrongUse, message).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_looked_up_again_before_they_expire_but_not_all_the_time() {
        let now = SystemTime::now();
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert_eq!(good_until(Some(now + minutes(60)), now), now + minutes(55));
        assert_eq!(good_until(None, now), now + minutes(5));
        assert_eq!(good_until(Some(now + minutes(1)), now), now + AT_MOST);
        for expiry in [now + AT_MOST / 2, now, now - minutes(60)] {
            assert_eq!(good_until(Some(expiry), now), expiry);
        }
    }

    #[tokio::test]
    async fn kept_keys_are_used_while_they_are_good_and_no_others_can_be_had() {
        let now = SystemTime::now();
        let keys = |good_until, expiry| {
            let credentials = Credentials::new("kept", "secret", None, expiry, "test");
            UserKeys {
                profile: Some("there is no such profile".to_owned()),
                region: "eu-central-1".to_owned(),
                kept: Mutex::new(Some(Kept { credentials, good_until })),
            }
        };
        let hour = Duration::from_secs(3600);
        for (good_until, expiry, is_used) in [
            (now + hour, None, true),
            (now - hour, Some(now + hour), true),
            (now - hour, Some(now - hour), false),
            (now - hour, None, false),
        ] {
            let got = keys(good_until, expiry).get().await;
            assert_eq!(got.is_ok_and(|got| got.access_key_id() == "kept"), is_used);
        }
    }
}
