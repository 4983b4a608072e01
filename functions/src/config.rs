//! What a function is told by its environment.

use std::path::PathBuf;

use aws::Queues;
use thiserror::Error;

/// For how many days bundles that nothing needs are kept, unless said.
const KEEP_BUNDLES_DAYS: u32 = 30;

/// What a function is told by its environment. Endpoints, region and keys are the AWS SDK's own affair: with
/// `AWS_ENDPOINT_URL_DYNAMODB` and `AWS_ENDPOINT_URL_S3` a function works on a running home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `CUTOVER_TABLE`: the table's name.
    pub table: String,
    /// `CUTOVER_BUNDLES`: the bucket in which the bytes of revisions, and runners, are kept; for functions that use it.
    pub bundles: Option<String>,
    /// `CUTOVER_ACCOUNT`: the account's twelve digits, which every key in the table begins with.
    pub account: String,
    /// `CUTOVER_STACK`: the stack's name: the dimension of its metrics, and the value of the tag `cutover` of what it may
    /// touch. Unsaid, `cutover`.
    pub stack: String,
    /// `CUTOVER_SPOOL`: the directory for a bundle while it is checked; unsaid, one under the temporary directory.
    pub spool: PathBuf,
    /// `CUTOVER_QUEUE_UPLOADS`, `_WAKES`, `_COMMANDS`, `_FLEET`, `_TRAFFIC`: the queues that the function sends to.
    pub queues: Queues,
    /// `CUTOVER_QUEUE`: the queue that wakes the function.
    pub queue: Option<String>,
    /// `CUTOVER_DOCUMENT`: the document of Systems Manager that commands are sent with.
    pub document: Option<String>,
    /// `CUTOVER_API_URL`: where hosts find the API.
    pub api_url: Option<String>,
    /// `CUTOVER_RUNNER`: the runner's executable; unsaid, `cutover-runner` beside the function.
    pub runner: PathBuf,
    /// `CUTOVER_START_RAMP`: most hosts that a deployment sends their command within a second; unsaid, 500.
    pub start_ramp: u32,
    /// `CUTOVER_KEEP_BUNDLES_DAYS`: for how many days the bytes of a bundle that nothing needs any more are kept; unsaid, 30.
    pub keep_bundles_days: u32,
}

/// Why the environment is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A variable is not there.
    #[error("the environment variable `{name}` is not set; `template.yaml` sets it")]
    Missing {
        /// Its name.
        name: &'static str,
    },
    /// A variable is no number.
    #[error("the environment variable `{name}` is `{value}`, and must be a number above 0")]
    Number {
        /// Its name.
        name: &'static str,
        /// What it is.
        value: String,
    },
}

impl Config {
    /// Reads the environment. Called once, where a function starts.
    ///
    /// # Errors
    /// When a variable that every function needs is missing or empty, or when one is no number that has to be one.
    pub fn from_env() -> Result<Self, ConfigError> {
        let beside = variable("LAMBDA_TASK_ROOT").map(PathBuf::from).unwrap_or_default();
        Ok(Self {
            table: required("CUTOVER_TABLE")?,
            bundles: variable("CUTOVER_BUNDLES"),
            account: required("CUTOVER_ACCOUNT")?,
            stack: variable("CUTOVER_STACK").unwrap_or_else(|| "cutover".to_owned()),
            spool: variable("CUTOVER_SPOOL")
                .map_or_else(|| std::env::temp_dir().join("cutover-spool"), PathBuf::from),
            queues: Queues {
                uploads: variable("CUTOVER_QUEUE_UPLOADS"),
                wakes: variable("CUTOVER_QUEUE_WAKES"),
                commands: variable("CUTOVER_QUEUE_COMMANDS"),
                fleet: variable("CUTOVER_QUEUE_FLEET"),
                traffic: variable("CUTOVER_QUEUE_TRAFFIC"),
            },
            queue: variable("CUTOVER_QUEUE"),
            document: variable("CUTOVER_DOCUMENT"),
            api_url: variable("CUTOVER_API_URL"),
            runner: variable("CUTOVER_RUNNER")
                .map_or_else(|| beside.join("cutover-runner"), PathBuf::from),
            start_ramp: number("CUTOVER_START_RAMP", control::Settings::default().start_ramp)?,
            keep_bundles_days: number("CUTOVER_KEEP_BUNDLES_DAYS", KEEP_BUNDLES_DAYS)?,
        })
    }
}

/// A variable that is a number above 0, where it is said.
fn number(name: &'static str, unsaid: u32) -> Result<u32, ConfigError> {
    let Some(value) = variable(name) else { return Ok(unsaid) };
    let number = value.parse().ok().filter(|number| *number > 0);
    number.ok_or(ConfigError::Number { name, value })
}

fn required(name: &'static str) -> Result<String, ConfigError> {
    variable(name).ok_or(ConfigError::Missing { name })
}

#[expect(clippy::disallowed_methods, reason = "this is where a function reads its configuration")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
