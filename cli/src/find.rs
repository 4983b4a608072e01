//! Finds the Cutover that a command talks to: by `--dir`, else by the AWS_* variables, else in `.cutover`.

use std::path::{Path, PathBuf};

use local::dir::{DirError, Endpoints};
use thiserror::Error;

use crate::failure::{Exit, Failure};

/// Where a home is if nobody says otherwise.
pub(crate) const DEFAULT_DIR: &str = ".cutover";
const DEFAULT_REGION: &str = "us-east-1";
/// The bucket that revisions are pushed to if nothing names another.
const DEFAULT_BUCKET: &str = "revisions";

/// Everything that is needed to talk to a Cutover.
#[derive(Clone)]
pub(crate) struct Connection {
    /// The URL of the API.
    pub(crate) api: String,
    /// The URL of S3, if known.
    pub(crate) s3: Option<String>,
    /// The bucket that revisions are pushed to.
    pub(crate) bucket: String,
    /// The region to sign for.
    pub(crate) region: String,
    /// The access key id.
    pub(crate) access_key_id: String,
    /// The secret access key.
    pub(crate) secret_access_key: String,
    /// The session token that goes with temporary keys.
    pub(crate) session_token: Option<String>,
    /// How it was found.
    pub(crate) origin: Origin,
}

/// How a Cutover was found; what to do when it does not answer depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// In the directory of a home.
    Dir(PathBuf),
    /// In the environment.
    Environment,
}

impl Origin {
    /// What to do when nothing answers.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Dir(dir) if dir == Path::new(DEFAULT_DIR) => {
                "start it with `cutover up`, or name the directory of another one with --dir".to_owned()
            }
            Self::Dir(dir) => format!("start it with `cutover up --dir {}`", dir.display()),
            Self::Environment => {
                "check AWS_ENDPOINT_URL_CODEDEPLOY and that the service runs; unset it to use `.cutover`".to_owned()
            }
        }
    }
}

/// The AWS_* variables that matter here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    api: Option<String>,
    s3: Option<String>,
    region: Option<String>,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    session_token: Option<String>,
}

impl Environment {
    /// Reads them from the environment of this process.
    pub(crate) fn read() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is where the binary starts")]
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            api: variable("AWS_ENDPOINT_URL_CODEDEPLOY"),
            s3: variable("AWS_ENDPOINT_URL_S3"),
            region: variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION")),
            access_key_id: variable("AWS_ACCESS_KEY_ID"),
            secret_access_key: variable("AWS_SECRET_ACCESS_KEY"),
            session_token: variable("AWS_SESSION_TOKEN"),
        }
    }
}

/// Why no Cutover was found.
#[derive(Debug, Error)]
pub(crate) enum FindError {
    /// No home runs there.
    #[error("no Cutover runs in `{}`", .0.display())]
    NotRunning(PathBuf),
    /// The directory cannot be used.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// The environment names an endpoint, but no keys.
    #[error("AWS_ENDPOINT_URL_CODEDEPLOY is set, but {0} is not")]
    NoKeys(&'static str),
}

/// Finds it.
pub(crate) fn find(dir: Option<&Path>, environment: &Environment) -> Result<Connection, FindError> {
    match (dir, &environment.api) {
        (Some(dir), _) => in_dir(dir),
        (None, Some(api)) => in_environment(api, environment),
        (None, None) => in_dir(Path::new(DEFAULT_DIR)),
    }
}

fn in_dir(dir: &Path) -> Result<Connection, FindError> {
    let found = Endpoints::read(dir)?.ok_or_else(|| FindError::NotRunning(dir.to_owned()))?;
    Ok(Connection {
        api: found.api,
        s3: Some(found.s3),
        bucket: found.bucket,
        region: found.region,
        access_key_id: found.access_key_id,
        secret_access_key: found.secret_access_key,
        session_token: None,
        origin: Origin::Dir(dir.to_owned()),
    })
}

fn in_environment(api: &str, environment: &Environment) -> Result<Connection, FindError> {
    let key = |value: &Option<String>, name| value.clone().ok_or(FindError::NoKeys(name));
    Ok(Connection {
        api: api.to_owned(),
        s3: environment.s3.clone(),
        bucket: DEFAULT_BUCKET.to_owned(),
        region: environment.region.clone().unwrap_or_else(|| DEFAULT_REGION.to_owned()),
        access_key_id: key(&environment.access_key_id, "AWS_ACCESS_KEY_ID")?,
        secret_access_key: key(&environment.secret_access_key, "AWS_SECRET_ACCESS_KEY")?,
        session_token: environment.session_token.clone(),
        origin: Origin::Environment,
    })
}

impl From<FindError> for Failure {
    fn from(error: FindError) -> Self {
        let message = error.to_string();
        match error {
            FindError::NotRunning(dir) => {
                Self::new(Exit::Unreachable, message).hint(Origin::Dir(dir).hint())
            }
            FindError::Dir(_) => Self::new(Exit::Unreachable, message),
            FindError::NoKeys(_) => Self::new(Exit::WrongUse, message)
                .hint("`eval \"$(cutover env)\"` sets all of them for a home"),
        }
    }
}
