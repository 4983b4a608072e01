//! The start of a function: its log, its configuration, its clients, and the use cases on them. Each function plugs in the
//! adapters that it has business with, and is linked with no others.

use std::sync::Arc;

use aws::{
    AutoScaling, CloudWatchAlarms, Document, Ec2Fleet, EcsServices, LambdaFunctions, QueueBell,
    QueuedErrands, Redelivery, RunCommand, Runner, TargetGroups,
};
use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use control::bundles::DAY_MS;
use control::ports::{Clock, Cloud, NoCloud, Traffic};
use control::{Control, Place, Settings};
use sha2::{Digest as _, Sha256};
use store::{DynamoTable, S3Bundles, Scope, ScopeError};
use thiserror::Error;

use crate::batch::BatchAnswer;
use crate::config::{Config, ConfigError};
use crate::kept_runner::WithRunner;
use crate::log;
use crate::meter::EmbeddedMeter;
use crate::ports::{PolledHosts, SystemClock, SystemEntropy};

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
    /// The runner cannot be read.
    #[error("the runner `{}` cannot be read: `functions/Makefile` puts it beside the function", path.display())]
    Runner {
        /// Where it was looked for.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// What a function has to work with.
#[derive(Clone)]
pub struct Start {
    /// The use cases.
    pub control: Control,
    /// Whose records in the table are ours.
    pub scope: Scope,
    /// Wakes, also for what has to be parked.
    pub bell: Arc<QueueBell>,
    redelivery: Redelivery,
    config: Config,
    aws: SdkConfig,
}

/// Starts a function that works on the table, and hands everything else to other functions.
///
/// # Errors
/// [`StartError`].
pub async fn start() -> Result<Start, StartError> {
    log::init();
    let config = Config::from_env()?;
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let aws = aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await;
    assemble(config, aws, Arc::new(SystemClock))
}

/// A function out of its configuration, what its clients are made of, and a clock.
///
/// # Errors
/// [`StartError`].
pub fn assemble(
    config: Config,
    aws: SdkConfig,
    clock: Arc<dyn Clock>,
) -> Result<Start, StartError> {
    let region = aws.region().ok_or(StartError::Region)?.to_string();
    let scope = Scope::new(&config.account, &region)?;
    let queues = config.queues.clone();
    let sqs = aws_sdk_sqs::Client::new(&aws);
    let bell = Arc::new(QueueBell::new(sqs.clone(), queues.clone(), Arc::clone(&clock)));
    let redelivery = Redelivery::new(sqs.clone(), config.queue.clone());
    let dynamodb = aws_sdk_dynamodb::Client::new(&aws);
    let control = Control {
        table: Arc::new(DynamoTable::new(dynamodb, config.table.clone(), scope.clone())),
        bundles: Arc::new(NoCloud),
        bell: bell.clone(),
        dispatcher: Arc::new(PolledHosts),
        clock,
        entropy: Arc::new(SystemEntropy),
        cloud: Cloud { errands: Arc::new(QueuedErrands::new(sqs, queues)), ..Cloud::none() },
        traffic: Traffic::none(),
        meter: Arc::new(EmbeddedMeter::new(config.stack.clone())),
        settings: Settings {
            start_ramp: config.start_ramp,
            kept_bundles_ms: u64::from(config.keep_bundles_days) * DAY_MS,
            ..Settings::default()
        },
        place: Place { account: config.account.clone(), region },
        followed: Arc::default(),
    };
    Ok(Start { control, scope, bell, redelivery, config, aws })
}

impl Start {
    /// With the buckets.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn with_bundles(mut self) -> Result<Self, StartError> {
        self.control.bundles = Arc::new(self.bundles()?);
        Ok(self)
    }

    fn bundles(&self) -> Result<S3Bundles, ConfigError> {
        let bucket = self.config.bundles.clone();
        let bucket = bucket.ok_or(ConfigError::Missing { name: "CUTOVER_BUNDLES" })?;
        let s3 = aws_sdk_s3::Client::new(&self.aws);
        Ok(S3Bundles::new(s3, bucket, self.config.spool.clone()))
    }

    /// With effects performed here and not handed over: for the function that they are handed to.
    #[must_use]
    pub fn performing(mut self) -> Self {
        self.control.cloud.errands = Arc::new(NoCloud);
        self
    }

    /// With instances, and what Auto Scaling does to them. Whether an instance can be reached is looked at here, too.
    #[must_use]
    pub fn with_fleet(mut self) -> Self {
        let patient = self.patient();
        let fleet = Ec2Fleet::new(aws_sdk_ec2::Client::new(&patient));
        self.control.cloud.fleet = Arc::new(fleet);
        self.control.cloud.scaling = Arc::new(AutoScaling::new(&patient));
        let nothing = Runner { version: String::new(), digest: String::new() };
        self.control.cloud.push = Arc::new(self.run_command(&patient, "", "", nothing));
        self
    }

    /// With the balancers that hosts wait for. One that throttles is asked again at the host's next report, so that nobody
    /// waits here.
    #[must_use]
    pub fn with_balancers(mut self) -> Self {
        self.control.traffic.balancers = Arc::new(TargetGroups::new(&self.aws));
        self
    }

    /// With balancers, alarms and functions, for the function that moves traffic and watches it.
    #[must_use]
    pub fn with_traffic(mut self) -> Self {
        let patient = self.patient();
        self.control.traffic.balancers = Arc::new(TargetGroups::new(&patient));
        self.control.traffic.alarms = Arc::new(CloudWatchAlarms::new(&patient));
        self.control.traffic.functions = Arc::new(LambdaFunctions::new(&patient));
        let groups = TargetGroups::new(&patient);
        let services = EcsServices::new(&patient, groups);
        self.control.traffic.services = Arc::new(services);
        self
    }

    /// Has those messages of the function's queue that failed delivered again in seconds.
    pub async fn hasten(&self, answer: BatchAnswer) -> BatchAnswer {
        for receipt in answer.receipts() {
            self.redelivery.hasten(&receipt.handle, receipt.received).await;
        }
        answer
    }

    /// With commands to instances. The runner that they shall run is kept where they can fetch it before the first one is
    /// sent. What throttles is asked again by the deployment, in seconds, so that nobody waits here.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn with_push(mut self) -> Result<Self, StartError> {
        let path = self.config.runner.clone();
        let bytes = std::fs::read(&path).map_err(|source| StartError::Runner { path, source })?;
        let digest = hex::encode(Sha256::digest(&bytes));
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let runner = Runner { version, digest: digest.clone() };
        let document = self.config.document.clone();
        let document = document.ok_or(ConfigError::Missing { name: "CUTOVER_DOCUMENT" })?;
        let api_url = self.config.api_url.clone();
        let api_url = api_url.ok_or(ConfigError::Missing { name: "CUTOVER_API_URL" })?;
        let commands = self.run_command(&self.aws, &document, &api_url, runner);
        let (bundles, is_kept) = (self.bundles()?, Arc::default());
        let push = WithRunner { commands, bundles, runner: bytes, digest, is_kept };
        self.control.cloud.push = Arc::new(push);
        // For whom it is refused to send to.
        self.control.cloud.fleet = Arc::new(Ec2Fleet::new(aws_sdk_ec2::Client::new(&self.aws)));
        Ok(self)
    }

    fn run_command(
        &self,
        aws: &SdkConfig,
        document: &str,
        api_url: &str,
        runner: Runner,
    ) -> RunCommand {
        let ssm = aws_sdk_ssm::Client::new(aws);
        RunCommand::new(ssm, Document::named(document), api_url, &self.config.stack, runner)
    }

    /// For services that throttle: the client itself slows down, for as long as they do. Where nothing is tried again, as
    /// in tests, it stays so.
    fn patient(&self) -> SdkConfig {
        if self.aws.retry_config().is_some_and(|retry| retry.max_attempts() == 1) {
            return self.aws.clone();
        }
        let retry = RetryConfig::adaptive().with_max_attempts(8);
        self.aws.to_builder().retry_config(retry).build()
    }
}
