//! Commands that are throttled or denied for a while.

use std::time::Duration;

use control::Error;
use serde_json::{Value, json};
use wire::host::{BatchClaimRequest, RefusalCode};

use crate::services::Outage;
use crate::world::{HOSTS, Plot, Streaming, World};

const MINUTE_MS: u64 = 60_000;

/// A group whose hosts have the first revision.
async fn installed() -> World {
    let mut world = World::new(Plot::Failing, None, Streaming::AsWritten).await;
    world.upload("shop/v1.zip", "good");
    Box::pin(world.run(1)).await;
    world
}

impl World {
    /// From now on these calls are refused for so long.
    fn refuse(&self, calls: &'static str, ms: u64, denies: bool) {
        let until = self.now() + ms;
        self.services.state().outage = Some(Outage { calls, until, denies });
    }

    /// The newest deployment, as people see it. Asked past what goes wrong.
    async fn newest(&self) -> Value {
        let outage = self.services.state().outage.take();
        let ids = self.api.list_deployments(&Default::default()).await.unwrap();
        let id = ids.deployments.unwrap_or_default().first().cloned().unwrap();
        let request = serde_json::from_value(json!({ "deploymentId": id })).unwrap();
        let info = self.api.get_deployment(&request).await.unwrap().deployment_info.unwrap();
        self.services.state().outage = outage;
        serde_json::to_value(info).unwrap()
    }

    /// How long after `begin` the newest deployment ended, in milliseconds.
    async fn ended_after(&self, begin: u64) -> u64 {
        let ended = self.newest().await["completeTime"].as_f64().unwrap();
        let at = Duration::from_secs_f64(ended).as_millis();
        u64::try_from(at).unwrap() - begin
    }

    /// How often an operation was called since so many calls.
    fn calls_of(&self, operation: &str, since: usize) -> usize {
        let state = self.services.state();
        state.calls.iter().skip(since).filter(|call| *call == operation).count()
    }
}

/// Two minutes in which `calls` are throttled while the first revision is deployed. Returns how long it took.
async fn throttled(calls: &'static str) -> u64 {
    let mut world = World::new(Plot::Failing, None, Streaming::AsWritten).await;
    world.upload("shop/v1.zip", "good");
    // Until the first command is about to be sent.
    while world.calls_of("ssm:DescribeInstanceInformation", 0) == 0 {
        world.happen().await;
    }
    let begin = world.now();
    world.refuse(calls, 2 * MINUTE_MS, false);
    Box::pin(world.run(1)).await;
    assert_eq!(world.statuses().await, ["Succeeded"], "{}", world.log());
    assert_eq!(world.installed(), ["v1"; 3], "{}", world.log());
    assert_eq!(world.dead_letters(), 0, "{}", world.log());
    world.ended_after(begin).await
}

#[tokio::test]
async fn two_minutes_in_which_systems_manager_throttles_fail_no_host() {
    let ms = Box::pin(throttled("ssm:")).await;
    assert!(ms < 3 * MINUTE_MS, "it went on {ms} ms after it began");
}

#[tokio::test]
async fn two_minutes_in_which_the_queues_throttle_fail_no_host() {
    let ms = Box::pin(throttled("sqs:SendMessage")).await;
    assert!(ms < 5 * MINUTE_MS, "it went on {ms} ms after it began");
}

#[tokio::test]
async fn what_is_denied_is_said_and_ends_after_a_quarter_of_an_hour_with_the_hosts_untouched() {
    let mut world = installed().await;
    let since = world.services.state().calls.len();
    world.refuse("ssm:SendCommand", 8 * 3_600_000, true);
    world.upload("shop/v2.zip", "bad");
    let begin = world.now();
    while world.now() < begin + 10 * MINUTE_MS {
        world.happen().await;
    }
    let tries = world.calls_of("ssm:SendCommand", since);
    assert!(tries > 30, "{tries} tries in ten minutes:\n{}", world.log());
    let shown = world.newest().await;
    assert_eq!(shown["status"], "InProgress", "{shown:#}");
    let said = shown["deploymentStatusMessages"][0].as_str().unwrap();
    assert!(said.contains("not authorized to perform: ssm:SendCommand"), "{said}");
    Box::pin(world.run(2)).await;
    let (shown, ms) = (world.newest().await, world.ended_after(begin).await);
    assert_eq!(shown["status"], "Failed", "{shown:#}");
    assert_eq!(shown["errorInformation"]["code"], "IAM_ROLE_PERMISSIONS", "{shown:#}");
    let message = shown["errorInformation"]["message"].as_str().unwrap();
    assert!(message.contains("not authorized to perform: ssm:SendCommand"), "{message}");
    assert!((15 * MINUTE_MS..16 * MINUTE_MS).contains(&ms), "it ended after {ms} ms");
    assert_eq!(shown["deploymentOverview"]["Skipped"], 3, "{shown:#}");
    assert_eq!(world.installed(), ["v1"; 3], "{}", world.log());
    assert_eq!(world.statuses().await.len(), 2, "nothing is rolled back: {}", world.log());
}

#[tokio::test]
async fn what_is_allowed_again_in_time_goes_on_within_seconds() {
    let mut world = World::new(Plot::Failing, None, Streaming::AsWritten).await;
    world.refuse("ssm:", 12 * MINUTE_MS, true);
    world.upload("shop/v1.zip", "good");
    let begin = world.now();
    Box::pin(world.run(1)).await;
    assert_eq!(world.statuses().await, ["Succeeded"], "{}", world.log());
    let ms = world.ended_after(begin).await;
    assert!(ms < 13 * MINUTE_MS, "it took {ms} ms:\n{}", world.log());
}

#[tokio::test]
async fn a_host_that_has_lost_its_tag_fails_alone() {
    let mut world = installed().await;
    world.services.state().untagged = vec![HOSTS[2].to_owned()];
    let ids = HOSTS.map(str::to_owned);
    let request = json!({
        "applicationName": "shop", "deploymentGroupName": "web",
        "deploymentConfigName": "CodeDeployDefault.AllAtOnce",
        "revision": { "revisionType": "S3", "s3Location": {
            "bucket": "revisions", "key": "shop/v1.zip", "bundleType": "zip",
        }},
    });
    world.api.create_deployment(&serde_json::from_value(request).unwrap()).await.unwrap();
    Box::pin(world.run(2)).await;
    let shown = world.newest().await;
    assert_eq!(shown["status"], "Succeeded", "{shown:#}");
    let overview = &shown["deploymentOverview"];
    assert_eq!((&overview["Succeeded"], &overview["Failed"]), (&json!(2), &json!(1)), "{ids:?}");
}

#[tokio::test]
async fn the_secret_of_a_batch_ends_with_its_command() {
    let mut world = World::new(Plot::Failing, None, Streaming::AsWritten).await;
    world.upload("shop/v1.zip", "good");
    Box::pin(world.run(1)).await;
    let sent = world.services.state().last_sent.clone().unwrap();
    let batch = sent.batch.parse().unwrap();
    let digest = "ab".repeat(32);
    let url = world.hosts.runner_url(&sent.secret, &batch, &digest).await;
    assert!(url.is_ok(), "{url:?}");
    // It may be on its way for 2 minutes, and run for a quarter of an hour, since there are no hooks.
    let until = world.now() + 17 * MINUTE_MS;
    while world.now() < until {
        world.happen().await;
    }
    let request = BatchClaimRequest {
        host: sent.instances[0].clone(),
        batch: batch.clone(),
        kept_groups: Vec::new(),
    };
    let claimed = world.hosts.claim_batch(&sent.secret, &request).await.map(drop);
    let url = world.hosts.runner_url(&sent.secret, &batch, &digest).await.map(drop);
    for answer in [claimed, url] {
        let Err(Error::Host(refusal)) = answer else { panic!("{answer:?}") };
        assert_eq!(refusal.code, RefusalCode::Unauthorized);
        assert!(refusal.message.contains("has ended"), "{}", refusal.message);
    }
}
