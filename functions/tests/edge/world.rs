//! The functions with their queues, their stream and their hosts, on a virtual clock.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use control::ports::{Clock, NoMeter};
use control::{
    FleetWatcher, HookDispatcher, HostApi, OperatorApi, RevisionIntake, TrafficEvaluator,
};
use engine::Timestamp;
use functions::{
    Config, Start, assemble, deployment_stepper, fleet_watcher, hook_dispatcher, revision_intake,
    traffic_evaluator,
};
use serde_json::{Value, json};

use crate::hosts::HostStep;
use crate::services::{Kind, Services};
use crate::traffic::Balancer;

/// How the records of the table's stream come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Streaming {
    AsWritten,
    /// Each batch comes a second time, later.
    Replayed,
    /// Those of different deployments overtake each other.
    Reordered,
    /// None comes.
    Dropped,
}

pub(crate) const HOSTS: [&str; 3] =
    ["i-0000000000000000a", "i-0000000000000000b", "i-0000000000000000c"];
const START_MS: u64 = 1_795_426_200_000;

struct VirtualClock(AtomicU64);

#[async_trait]
impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    async fn sleep(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

/// What the world is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plot {
    /// The second revision fails on a host.
    Failing,
    /// Hosts are behind a balancer, and the second revision has an alarm go off.
    Alarming,
}

/// What happens at a moment.
#[derive(Debug, Clone)]
pub(crate) enum Due {
    Message { queue: String, body: String, received: u32 },
    Records(Vec<Value>),
    Minute,
    Alarm,
    Host { name: String, step: HostStep },
}

pub(crate) struct World {
    pub(crate) services: Services,
    pub(crate) plot: Plot,
    clock: Arc<VirtualClock>,
    due: BTreeMap<(u64, u64), Due>,
    pushed: u64,
    streaming: Streaming,
    pub(crate) api: OperatorApi,
    pub(crate) hosts: HostApi,
    /// Where somebody follows the output of each command that is claimed: how many reports were asked to bring it as it comes.
    pub(crate) follows: Option<u64>,
    intake: RevisionIntake,
    stepper: Start,
    dispatcher: HookDispatcher,
    pub(crate) evaluator: TrafficEvaluator,
    fleet: FleetWatcher,
    /// What reads each queue, for messages that failed.
    readers: BTreeMap<&'static str, Start>,
    /// What was last installed on each host, by key of the bundle.
    pub(crate) installed: BTreeMap<String, String>,
    /// Hosts that run a command.
    pub(crate) busy: BTreeSet<String>,
    /// The number of the last report of any host.
    pub(crate) reports: u64,
    dead: usize,
    pub(crate) log: Vec<String>,
    first_call: usize,
    _scratch: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new(
        plot: Plot,
        fault: Option<(usize, Kind)>,
        streaming: Streaming,
    ) -> Self {
        // What the functions log is shown for a test that fails.
        let log = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_test_writer();
        drop(log.try_init());
        let services = Services::new();
        let clock = Arc::new(VirtualClock(AtomicU64::new(START_MS)));
        let scratch = tempfile::tempdir().unwrap();
        let runner = scratch.path().join("cutover-runner");
        std::fs::write(&runner, "a runner").unwrap();
        let sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                "k", "s", None, None, "test",
            )))
            .retry_config(RetryConfig::disabled())
            .http_client(services.client())
            .build();
        let config = config(scratch.path().join("spool"), runner);
        let start_of = |config: &Config| {
            let mut start = assemble(config.clone(), sdk.clone(), clock.clone()).unwrap();
            // Its lines would drown what the tests say.
            start.base.meter = Arc::new(NoMeter);
            start
        };
        let start = || start_of(&config);
        // As in the template: what it decides about traffic it does itself.
        let mut evaluator = config.clone();
        evaluator.queues.traffic = None;
        store::create_table(&aws_sdk_dynamodb::Client::new(&sdk), "cutover").await.unwrap();
        let reader = |name: &'static str| {
            let queue = queue_url(name);
            (name, start_of(&Config { queue: Some(queue), ..config.clone() }))
        };
        // As `api` does: both of its roles come from one start.
        let api = start();
        let mut world = Self {
            api: api.operator_api().unwrap(),
            hosts: api.host_api().unwrap(),
            follows: None,
            intake: start().revision_intake().unwrap(),
            stepper: start(),
            dispatcher: start().hook_dispatcher().unwrap(),
            evaluator: start_of(&evaluator).traffic_evaluator(),
            fleet: start().fleet_watcher(),
            readers: ["uploads", "wakes", "commands", "fleet", "traffic"].map(reader).into(),
            services,
            plot,
            clock,
            due: BTreeMap::new(),
            pushed: 0,
            streaming,
            installed: BTreeMap::new(),
            busy: BTreeSet::new(),
            reports: 1 << 32,
            dead: 0,
            log: Vec::new(),
            first_call: 0,
            _scratch: scratch,
        };
        world.services.state().instances = HOSTS.map(str::to_owned).to_vec();
        world.set_up().await;
        world.push(60_000, Due::Minute);
        world.first_call = world.services.state().calls.len();
        world.services.state().fault = fault.map(|(at, kind)| (at + world.first_call, kind));
        world
    }

    async fn set_up(&mut self) {
        fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
            serde_json::from_value(value).unwrap()
        }
        let api = &self.api;
        api.create_application(&read(json!({ "applicationName": "shop" }))).await.unwrap();
        let mut group = json!({
            "applicationName": "shop", "deploymentGroupName": "web",
            "serviceRoleArn": "arn:aws:iam::123456789012:role/r",
            "autoScalingGroups": ["web"],
            "ec2DeploymentOptions": { "autoScalingGroupProcessesToSuspend": ["AZRebalance"] },
            "deploymentConfigName": "CodeDeployDefault.OneAtATime",
            "autoRollbackConfiguration": { "enabled": true, "events": ["DEPLOYMENT_FAILURE"] },
        });
        if self.plot == Plot::Alarming {
            let balanced = json!({
                "deploymentStyle": {
                    "deploymentType": "IN_PLACE", "deploymentOption": "WITH_TRAFFIC_CONTROL",
                },
                "loadBalancerInfo": { "targetGroupInfoList": [{ "name": "web" }] },
                "alarmConfiguration": { "enabled": true, "alarms": [{ "name": "shop-errors" }] },
                "autoRollbackConfiguration": {
                    "enabled": true, "events": ["DEPLOYMENT_STOP_ON_ALARM"],
                },
            });
            group.as_object_mut().unwrap().extend(balanced.as_object().unwrap().clone());
            self.services.state().balancer = Balancer::with(&HOSTS);
        }
        api.create_deployment_group(&read(group)).await.unwrap();
        let subscribe = json!({
            "applicationName": "shop", "deploymentGroupName": "web",
            "bucket": "revisions", "prefix": "shop/",
        });
        api.subscribe(&read(subscribe)).await.unwrap();
    }

    /// The first revision, and after its end a bad one.
    pub(crate) async fn tell_story(&mut self) {
        self.upload("shop/v1.zip", "good");
        self.run(1).await;
        self.upload("shop/v2.zip", "bad");
        self.run(3).await;
        if self.plot == Plot::Alarming {
            // What comes late, of something that is over.
            self.push(0, Due::Alarm);
        }
        // What is due after the end: resumed processes, wakes that nobody needs any more.
        let until = self.now() + 180_000;
        while self.next_at().is_some_and(|at| at <= until) {
            self.happen().await;
        }
        assert!(self.services.state().suspended.is_empty(), "suspended for good:\n{}", self.log());
    }

    /// Lets time pass until so many deployments have ended, at most two hours.
    pub(crate) async fn run(&mut self, ended: usize) {
        let until = self.now() + 2 * 3_600_000;
        loop {
            let statuses = self.statuses().await;
            let is_over = |status: &String| !["Created", "InProgress"].contains(&status.as_str());
            if statuses.iter().filter(|status| is_over(status)).count() >= ended {
                return;
            }
            assert!(self.now() < until, "stuck at {statuses:?}:\n{}", self.log());
            // Asking for the statuses is not a part of the story.
            for _ in 0..20 {
                self.happen().await;
            }
        }
    }

    pub(crate) fn upload(&mut self, key: &str, what: &str) {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        zip.start_file("appspec.yml", zip::write::SimpleFileOptions::default()).unwrap();
        write!(zip, "version: 0.0\nos: linux\n# {what}\n").unwrap();
        let bytes = zip.finish().unwrap().into_inner();
        let size = bytes.len();
        self.services.state().objects.insert(format!("revisions/{key}"), bytes);
        let sample = include_str!("../../../events/revision_intake/bucket.json");
        let mut event: Value = serde_json::from_str(sample).unwrap();
        let record = &mut event["Records"][0];
        let minute = if what == "good" { 30 } else { 40 };
        record["eventTime"] = json!(format!("2026-11-23T09:{minute}:15.482Z"));
        record["s3"]["bucket"]["name"] = json!("revisions");
        record["s3"]["object"] = json!({
            "key": key, "size": size, "eTag": "e", "sequencer": format!("00{minute}"),
        });
        let body = event.to_string();
        self.push(0, Due::Message { queue: "uploads".to_owned(), body, received: 0 });
    }

    pub(crate) fn now(&self) -> u64 {
        self.clock.0.load(Ordering::SeqCst)
    }

    pub(crate) fn push(&mut self, ms: u64, due: Due) {
        self.pushed += 1;
        self.due.insert((self.now() + ms, self.pushed), due);
    }

    fn next_at(&self) -> Option<u64> {
        self.due.keys().next().map(|(at, _)| *at)
    }

    pub(crate) async fn happen(&mut self) {
        let Some(((at, _), due)) = self.due.pop_first() else { return };
        self.clock.0.fetch_max(at, Ordering::SeqCst);
        self.services.state().now = self.now();
        let said = match &due {
            Due::Message { queue, body, received } => {
                format!("{queue} ({received}): {}", body.chars().take(160).collect::<String>())
            }
            Due::Records(records) => format!("{} records", records.len()),
            Due::Minute => "a minute".to_owned(),
            Due::Alarm => "the alarm".to_owned(),
            Due::Host { name, step: HostStep::Claim { batch, .. } } => {
                format!("{name} claims {batch}")
            }
            Due::Host { name, step: HostStep::Report { run, .. } } => {
                format!("{name} reports {:?} of {}", run.phase, run.batch)
            }
        };
        self.log.push(format!("{:>8} ms  {said}", at - START_MS));
        match due {
            Due::Message { queue, body, received } => {
                Box::pin(self.deliver(queue, body, received)).await;
            }
            Due::Records(records) => {
                let event = decode(json!({ "Records": records }));
                let Start { waker, scope, .. } = &self.stepper;
                let role = self.stepper.deployment_stepper();
                Box::pin(deployment_stepper::handle(&role, waker, scope, event)).await;
            }
            Due::Minute => Box::pin(self.minute()).await,
            Due::Alarm => Box::pin(self.alarm()).await,
            Due::Host { name, step } => self.host(name, step).await,
        }
        self.collect();
    }

    /// Takes over what the functions have written and sent.
    fn collect(&mut self) {
        let (written, posted, sent) = {
            let mut state = self.services.state();
            let state = &mut *state;
            (
                std::mem::take(&mut state.written),
                std::mem::take(&mut state.posted),
                std::mem::take(&mut state.sent),
            )
        };
        self.stream(written);
        for post in posted {
            let Posted { queue, body, delay_s } = post;
            self.push(delay_s * 1_000 + 20, Due::Message { queue, body, received: 0 });
        }
        for sent in sent {
            for name in sent.instances {
                let (batch, secret) = (sent.batch.clone(), sent.secret.clone());
                let step = HostStep::Claim { batch, secret, tries: 0 };
                self.push(700, Due::Host { name, step });
            }
        }
    }

    fn stream(&mut self, mut records: Vec<Value>) {
        if records.is_empty() {
            return;
        }
        match self.streaming {
            Streaming::AsWritten => {}
            Streaming::Replayed => self.push(3_000, Due::Records(records.clone())),
            Streaming::Reordered => records.reverse(),
            Streaming::Dropped => return,
        }
        self.push(200, Due::Records(records));
    }

    async fn deliver(&mut self, queue: String, body: String, received: u32) {
        let receipt = format!("{queue}-{}", self.now());
        let record = json!({
            "messageId": "m", "body": body, "eventSource": "aws:sqs", "receiptHandle": receipt,
            "attributes": { "ApproximateReceiveCount": (received + 1).to_string() },
        });
        let event = json!({ "Records": [record] });
        let answer = match queue.as_str() {
            "uploads" => revision_intake::handle(&self.intake, decode(event)).await,
            "wakes" => {
                let Start { waker, scope, .. } = &self.stepper;
                let role = self.stepper.deployment_stepper();
                Ok(deployment_stepper::handle(&role, waker, scope, decode(event)).await)
            }
            "commands" => hook_dispatcher::handle(&self.dispatcher, decode(event)).await,
            "fleet" => fleet_watcher::handle(&self.fleet, decode(event)).await,
            "traffic" => traffic_evaluator::handle(&self.evaluator, decode(event)).await,
            other => panic!("a message in {other}"),
        };
        let mut failed = true;
        if let Ok(answer) = answer {
            let answer = self.readers[queue.as_str()].hasten(answer).await;
            failed = serde_json::to_value(&answer).unwrap()["batchItemFailures"] != json!([]);
        }
        let hastened = self.services.state().hastened.remove(&receipt);
        if !failed {
        } else if received >= 8 {
            self.dead += 1;
        } else {
            // As in the template.
            let visible_s = if queue == "uploads" { 900 } else { 360 };
            let ms = hastened.unwrap_or(visible_s) * 1_000;
            self.push(ms, Due::Message { queue, body, received: received + 1 });
        }
    }

    async fn minute(&mut self) {
        let minute = json!({ "detail-type": "Scheduled Event", "detail": {} });
        // One that fails is followed by the next one.
        let swept = traffic_evaluator::handle(&self.evaluator, decode(minute.clone())).await;
        let kept = fleet_watcher::handle(&self.fleet, decode(minute)).await;
        if swept.is_err() || kept.is_err() {
            self.log.push("the minute failed".to_owned());
        }
        self.push(60_000, Due::Minute);
    }

    /// The event of the alarm, as CloudWatch sends it: nobody delivers it again if it fails.
    async fn alarm(&mut self) {
        let sample = include_str!("../../../events/traffic_evaluator/alarm.json");
        let event = decode(serde_json::from_str(sample).unwrap());
        if traffic_evaluator::handle(&self.evaluator, event).await.is_err() {
            self.log.push("the alarm's event failed".to_owned());
        }
    }

    /// The statuses of all deployments, in the order of their creation. Asked past what goes wrong.
    pub(crate) async fn statuses(&self) -> Vec<String> {
        let (calls, fault, outage) = {
            let mut state = self.services.state();
            (state.calls.len(), state.fault.take(), state.outage.take())
        };
        let ids = self.api.list_deployments(&Default::default()).await.unwrap();
        let mut statuses = Vec::new();
        for id in ids.deployments.unwrap_or_default().iter().rev() {
            let request = serde_json::from_value(json!({ "deploymentId": id })).unwrap();
            let info = self.api.get_deployment(&request).await.unwrap().deployment_info.unwrap();
            statuses.push(serde_json::to_value(info.status).unwrap().as_str().unwrap().to_owned());
        }
        let mut state = self.services.state();
        state.calls.truncate(calls);
        state.fault = fault;
        state.outage = outage;
        statuses
    }

    pub(crate) fn installed(&self) -> Vec<String> {
        HOSTS.iter().filter_map(|name| self.installed.get(*name)).cloned().collect()
    }

    pub(crate) fn dead_letters(&self) -> usize {
        self.dead
    }

    /// The calls of the story.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.services.state().calls.split_off(self.first_call)
    }

    pub(crate) fn log(&self) -> String {
        self.log.join("\n")
    }
}

use crate::services::Posted;

fn queue_url(name: &str) -> String {
    format!("https://sqs.eu-central-1.amazonaws.com/123456789012/{name}")
}

fn config(spool: PathBuf, runner: PathBuf) -> Config {
    let queue = |name: &str| Some(queue_url(name));
    Config {
        table: "cutover".to_owned(),
        bundles: Some("bundles".to_owned()),
        account: "123456789012".to_owned(),
        stack: "edge".to_owned(),
        spool,
        queues: aws::Queues {
            uploads: queue("uploads"),
            wakes: queue("wakes"),
            commands: queue("commands"),
            fleet: queue("fleet"),
            traffic: queue("traffic"),
        },
        queue: None,
        document: Some("edge-command".to_owned()),
        api_url: Some("https://api.test".to_owned()),
        runner,
        start_ramp: 500,
        keep_bundles_days: 30,
    }
}

fn decode<T: serde::de::DeserializeOwned>(event: Value) -> T {
    serde_json::from_value(event).unwrap()
}
