//! The start of a function: its log, its configuration, its clients, and the use cases on them. Each function plugs in the
//! adapters that it has business with, and is linked with no others.

use std::sync::Arc;

use aws::{
    AutoScaling, CloudWatchAlarms, Document, Ec2Fleet, EcsServices, LambdaFunctions, QueueWaker,
    QueuedMessages, Queues, Redelivery, RunCommand, Runner, TargetGroups,
};
use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use control::carriers::Carriers;
use control::performing::Handover;
use control::ports::{
    Balancers, Clock, Instances, Messages, NoCloud, NoTraffic, Placed, Site, Traffic,
};
use control::{
    Base, Control, DAY_MS, DeploymentStepper, FleetWatcher, Followed, Gates, HookDispatcher,
    HostApi, KnownShards, OperatorApi, Place, ROW_UNITS, RevisionIntake, Settings,
    TrafficEvaluator, fleet_watcher, hook_dispatcher, operator_api,
};
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

/// What a function has to work with, out of which it builds its role.
#[derive(Clone)]
pub struct Start {
    /// What every role works on.
    pub base: Base,
    /// Whose records in the table are ours.
    pub scope: Scope,
    /// Wakes, also for what has to be parked.
    pub waker: Arc<QueueWaker>,
    messages: Arc<dyn Messages>,
    /// One for both roles of `api`: operators follow what hosts send.
    followed: Followed,
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
    let waker = Arc::new(QueueWaker::new(sqs.clone(), queues.clone(), Arc::clone(&clock)));
    let redelivery = Redelivery::new(sqs.clone(), config.queue.clone());
    let dynamodb = aws_sdk_dynamodb::Client::new(&aws);
    let base = Base {
        table: Arc::new(DynamoTable::new(dynamodb, config.table.clone(), scope.clone())),
        waker: waker.clone(),
        clock,
        entropy: Arc::new(SystemEntropy),
        meter: Arc::new(EmbeddedMeter::new(config.stack.clone())),
        settings: Settings {
            start_ramp: config.start_ramp,
            row_units: Some(ROW_UNITS),
            kept_bundles_ms: u64::from(config.keep_bundles_days) * DAY_MS,
            ..Settings::default()
        },
        shards: KnownShards::default(),
    };
    let messages = Arc::new(QueuedMessages::new(sqs, queues));
    let followed = Followed::default();
    Ok(Start { base, scope, waker, messages, followed, redelivery, config, aws })
}

impl Start {
    /// The role of `api` that answers operators.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn operator_api(&self) -> Result<OperatorApi, StartError> {
        Ok(OperatorApi {
            base: self.base.clone(),
            carriers: Carriers::default(),
            bundles: Arc::new(self.bundles()?),
            messages: self.messages.clone(),
            balancer_admin: None,
            ports: Placed::own(operator_api::Ports {
                balancers: self.balancers(),
                alarms: Arc::new(NoTraffic),
            }),
            place: self.place(),
            followed: self.followed.clone(),
        })
    }

    /// The role of `api` that answers hosts.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn host_api(&self) -> Result<HostApi, StartError> {
        Ok(HostApi {
            base: self.base.clone(),
            carriers: Carriers::default(),
            bundles: Arc::new(self.bundles()?),
            dispatcher: Arc::new(PolledHosts),
            balancers: Placed::own(self.balancers()),
            followed: self.followed.clone(),
            gates: Gates::default(),
        })
    }

    /// The role of `revision_intake`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn revision_intake(&self) -> Result<RevisionIntake, StartError> {
        Ok(RevisionIntake { base: self.base.clone(), bundles: Arc::new(self.bundles()?) })
    }

    /// The role of `deployment_stepper`, which has all requests performed by other functions. One that is tried on a running
    /// home has no queues, and performs what can be done on the table alone, such as a roster of hosts that poll.
    pub fn deployment_stepper(&self) -> DeploymentStepper {
        let is_tried = self.config.queues == Queues::default();
        DeploymentStepper {
            base: self.base.clone(),
            messages: self.messages.clone(),
            handover: match is_tried {
                true => Handover::Here(Arc::new(self.on_a_home())),
                false => Handover::Elsewhere,
            },
        }
    }

    /// All roles on the table alone.
    fn on_a_home(&self) -> Control {
        Control {
            base: self.base.clone(),
            carriers: Carriers::default(),
            bundles: Arc::new(NoCloud),
            dispatcher: Arc::new(PolledHosts),
            messages: self.messages.clone(),
            balancer_admin: None,
            sites: Placed::own(Site::none()),
            place: self.place(),
            followed: Followed::default(),
            gates: Gates::default(),
        }
    }

    /// The role of `fleet_watcher`. Whether an instance can be reached is looked at there, too.
    pub fn fleet_watcher(&self) -> FleetWatcher {
        FleetWatcher {
            base: self.base.clone(),
            carriers: Carriers::default(),
            messages: self.messages.clone(),
            ports: Placed::own(fleet_watcher::Ports {
                instances: self.instances(),
                balancers: self.balancers(),
            }),
        }
    }

    /// The role of `traffic_evaluator`.
    pub fn traffic_evaluator(&self) -> TrafficEvaluator {
        let patient = self.patient();
        let services = EcsServices::new(&patient, TargetGroups::new(&patient));
        TrafficEvaluator {
            base: self.base.clone(),
            carriers: Carriers::default(),
            messages: self.messages.clone(),
            sites: Placed::own(Site {
                instances: self.unreached_instances(),
                traffic: Traffic {
                    balancers: Arc::new(TargetGroups::new(&patient)),
                    alarms: Arc::new(CloudWatchAlarms::new(&patient)),
                    functions: Arc::new(LambdaFunctions::new(&patient)),
                    services: Arc::new(services),
                },
            }),
            handover: Handover::Elsewhere,
        }
    }

    /// The role of `hook_dispatcher`. The runner that hosts shall run is kept where they can fetch it before the first command
    /// is sent. What throttles is asked again by the deployment, in seconds, so that nobody waits here.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn hook_dispatcher(&self) -> Result<HookDispatcher, StartError> {
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
        Ok(HookDispatcher {
            base: self.base.clone(),
            dispatcher: Arc::new(PolledHosts),
            ports: Placed::own(hook_dispatcher::Ports {
                push: Arc::new(WithRunner { commands, bundles, runner: bytes, digest, is_kept }),
                // For whom it is refused to send to.
                fleet: Arc::new(self.fleet(&self.aws)),
            }),
        })
    }

    fn bundles(&self) -> Result<S3Bundles, ConfigError> {
        let bucket = self.config.bundles.clone();
        let bucket = bucket.ok_or(ConfigError::Missing { name: "CUTOVER_BUNDLES" })?;
        let s3 = aws_sdk_s3::Client::new(&self.aws);
        Ok(S3Bundles::new(s3, bucket, self.config.spool.clone()))
    }

    /// The balancers that hosts wait for. One that throttles is asked again at the host's next report, so that nobody waits
    /// here.
    fn balancers(&self) -> Arc<dyn Balancers> {
        Arc::new(TargetGroups::new(&self.aws))
    }

    /// Instances, how far they can be reached, and what Auto Scaling does to them.
    fn instances(&self) -> Instances {
        let nothing = Runner { version: String::new(), digest: String::new() };
        let push = self.run_command(&self.patient(), "", "", nothing);
        Instances { push: Arc::new(push), ..self.unreached_instances() }
    }

    /// Instances, and what Auto Scaling does to them, for who has no business with Systems Manager.
    fn unreached_instances(&self) -> Instances {
        let patient = self.patient();
        Instances {
            fleet: Arc::new(self.fleet(&patient)),
            push: Arc::new(NoCloud),
            scaling: Arc::new(AutoScaling::new(&patient)),
        }
    }

    fn fleet(&self, aws: &SdkConfig) -> Ec2Fleet {
        Ec2Fleet::new(aws_sdk_ec2::Client::new(aws), &self.config.stack)
    }

    fn place(&self) -> Place {
        let region = self.aws.region().map(ToString::to_string).unwrap_or_default();
        Place { account: self.config.account.clone(), region }
    }

    /// Has those messages of the function's queue that failed delivered again in seconds.
    pub async fn hasten(&self, answer: BatchAnswer) -> BatchAnswer {
        for receipt in answer.receipts() {
            self.redelivery.hasten(&receipt.handle, receipt.received).await;
        }
        answer
    }

    fn run_command(
        &self,
        aws: &SdkConfig,
        document: &str,
        api_url: &str,
        runner: Runner,
    ) -> RunCommand {
        let ssm = aws_sdk_ssm::Client::new(aws);
        RunCommand::new(ssm, Document::named(document), api_url, runner)
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
