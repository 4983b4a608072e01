//! What a function is told by its environment, and the start that all functions share.

use std::path::PathBuf;
use std::sync::Arc;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use control::{Control, Place};
use store::{DynamoTable, S3Bundles, Scope, ScopeError};
use thiserror::Error;

use crate::ports::{PolledHosts, StreamBell, SystemClock, SystemEntropy};

/// What a function is told by its environment. Endpoints, region and keys are the AWS SDK's own affair: with
/// `AWS_ENDPOINT_URL_DYNAMODB` and `AWS_ENDPOINT_URL_S3` a function works on a running home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `CUTOVER_TABLE`: the table's name.
    pub table: String,
    /// `CUTOVER_BUNDLES`: the bucket in which the bytes of revisions are kept.
    pub bundles: String,
    /// `CUTOVER_ACCOUNT`: the account's twelve digits, which every key in the table begins with.
    pub account: String,
    /// `CUTOVER_SPOOL`: the directory for a bundle while it is checked; unsaid, one under the temporary directory.
    pub spool: PathBuf,
}

/// Why the environment is no configuration.
#[derive(Debug, Error)]
#[error("the environment variable `{name}` is not set; `template.yaml` sets it")]
pub struct ConfigError {
    /// The variable's name.
    pub name: &'static str,
}

impl Config {
    /// Reads the environment. Called once, where a function starts.
    ///
    /// # Errors
    /// When a variable is missing or empty.
    pub fn from_env() -> Result<Self, ConfigError> {
        Ok(Self {
            table: required("CUTOVER_TABLE")?,
            bundles: required("CUTOVER_BUNDLES")?,
            account: required("CUTOVER_ACCOUNT")?,
            spool: variable("CUTOVER_SPOOL")
                .map_or_else(|| std::env::temp_dir().join("cutover-spool"), PathBuf::from),
        })
    }
}

fn required(name: &'static str) -> Result<String, ConfigError> {
    variable(name).ok_or(ConfigError { name })
}

#[expect(clippy::disallowed_methods, reason = "this is where a function reads its configuration")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Why a function cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Its configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The region is not said.
    #[error(
        "no region is set; Lambda sets `AWS_REGION`, and so must whoever runs a function elsewhere"
    )]
    Region,
    /// The account or region cannot be a part of the table's keys.
    #[error(transparent)]
    Scope(#[from] ScopeError),
}

/// What a function has to work with.
#[derive(Clone)]
pub struct Start {
    /// The use cases.
    pub control: Control,
    /// Whose records in the table are ours.
    pub scope: Scope,
    /// For clients of other services.
    pub aws: SdkConfig,
}

/// Starts a function: its log as Lambda's settings say, its configuration, its clients, and the use cases on them.
///
/// # Errors
/// [`StartError`].
pub async fn start() -> Result<Start, StartError> {
    lambda_runtime::tracing::init_default_subscriber();
    let config = Config::from_env()?;
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let aws = aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await;
    let region = aws.region().ok_or(StartError::Region)?.to_string();
    let scope = Scope::new(&config.account, &region)?;
    let dynamodb = aws_sdk_dynamodb::Client::new(&aws);
    let s3 = aws_sdk_s3::Client::new(&aws);
    let control = Control {
        table: Arc::new(DynamoTable::new(dynamodb, config.table, scope.clone())),
        bundles: Arc::new(S3Bundles::new(s3, config.bundles, config.spool)),
        bell: Arc::new(StreamBell),
        dispatcher: Arc::new(PolledHosts),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        place: Place { account: config.account, region },
        followed: Arc::default(),
    };
    Ok(Start { control, scope, aws })
}
