//! Whole deployments through the functions as they are, with what goes wrong at the SDK's edge: every call of every
//! adapter fails once in each way there is, and the table's stream is replayed, reordered and dropped.
//!
//! The clock is virtual. DynamoDB is the embedded one, called in the process; the other services answer as they were
//! recorded. No retry of the SDK's own hides what goes wrong.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "tests")]

mod hosts;
mod old_hosts;
mod sending;
mod services;
mod traffic;
mod uploads;
mod world;

use services::Kind;
use traffic::Target;
use world::{HOSTS, Plot, Streaming, World};

/// What becomes of the story when nothing goes wrong: the first revision, a bad one, and its rollback.
const STORY: [&str; 3] = ["Succeeded", "Failed", "Succeeded"];

/// What becomes of it when the bad one has an alarm go off.
const ALARMED: [&str; 3] = ["Succeeded", "Stopped", "Succeeded"];

impl Plot {
    fn end(self) -> [&'static str; 3] {
        match self {
            Self::Failing => STORY,
            Self::Alarming => ALARMED,
        }
    }

    /// Whether a call is one that only this plot has made sure of.
    fn is_about(self, call: &str) -> bool {
        let is_traffic = ["elasticloadbalancing:", "monitoring:"]
            .iter()
            .any(|service| call.starts_with(service));
        self == Self::Failing || is_traffic
    }
}

/// What must be so after the story, whatever went wrong in it.
#[track_caller]
fn is_well(world: &World, statuses: &[String], told: &str) {
    let log = || format!("{told}\n{}", world.log());
    assert_eq!(statuses, world.plot.end(), "{}", log());
    assert_eq!(world.installed(), ["v1"; 3], "{}", log());
    assert_eq!(world.dead_letters(), 0, "{}", log());
    if world.plot == Plot::Alarming {
        let targets = world.services.state().balancer.targets.clone();
        let all = HOSTS.map(|host| (host.to_owned(), Target::Healthy));
        assert_eq!(targets, all.into(), "{}", log());
    }
}

#[tokio::test]
async fn the_story_goes_through_all_functions_and_ends_as_it_should() {
    let mut world = World::new(Plot::Failing, None, Streaming::AsWritten).await;
    Box::pin(world.tell_story()).await;
    assert_eq!(world.statuses().await, STORY, "{}", world.log());
    assert_eq!(world.installed(), ["v1"; 3], "{}", world.log());
    let calls = world.calls();
    for called in [
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:PutLifecycleHook",
        "autoscaling:ResumeProcesses",
        "autoscaling:SuspendProcesses",
        "dynamodb:BatchGetItem",
        "dynamodb:GetItem",
        "dynamodb:PutItem",
        "dynamodb:Query",
        "dynamodb:TransactWriteItems",
        "ec2:DescribeInstances",
        "s3:GetObject",
        "s3:PutObject",
        "sqs:SendMessage",
        "ssm:DescribeInstanceInformation",
        "ssm:SendCommand",
    ] {
        assert!(calls.iter().any(|call| call == called), "no {called} among {calls:?}");
    }
}

#[tokio::test]
async fn a_host_sends_its_output_as_it_comes_while_somebody_follows_through_the_api() {
    let mut world = World::new(Plot::Failing, None, Streaming::AsWritten).await;
    world.follows = Some(0);
    Box::pin(world.tell_story()).await;
    assert!(world.follows > Some(0), "{}", world.log());
}

#[tokio::test]
async fn an_alarm_takes_the_traffic_from_the_new_version_and_rolls_it_back() {
    let mut world = World::new(Plot::Alarming, None, Streaming::AsWritten).await;
    Box::pin(world.tell_story()).await;
    is_well(&world, &world.statuses().await, "nothing goes wrong");
    let calls = world.calls();
    for called in [
        "elasticloadbalancing:DescribeTargetGroups",
        "elasticloadbalancing:DescribeTargetHealth",
        "elasticloadbalancing:RegisterTargets",
        "elasticloadbalancing:DeregisterTargets",
        "monitoring:DescribeAlarms",
    ] {
        assert!(calls.iter().any(|call| call == called), "no {called} among {calls:?}");
    }
    // The second revision reaches one host, which loses its traffic for it, gets it back, and loses it by the alarm. The
    // rollback goes to that host alone, and finds it without traffic.
    let (admitted, drained) = {
        let balancer = &world.services.state().balancer;
        (balancer.admitted.clone(), balancer.drained.clone())
    };
    let [first, second, third] = HOSTS;
    assert_eq!(admitted, [first, second, third, first, first], "{}", world.log());
    assert_eq!(drained, [first, second, third, first, first], "{}", world.log());
}

/// Fails each call of the story once. What passes by itself must change nothing that users see.
async fn fail_each_call(plot: Plot, kind: Kind) {
    let mut calm = World::new(plot, None, Streaming::AsWritten).await;
    Box::pin(calm.tell_story()).await;
    let calls = calm.calls();
    assert!(calls.len() > 100, "only {} calls: the story does not go through", calls.len());
    let mut failed = 0;
    for (number, call) in calls.iter().enumerate().filter(|(_, call)| plot.is_about(call)) {
        let mut world = World::new(plot, Some((number, kind)), Streaming::AsWritten).await;
        Box::pin(world.tell_story()).await;
        let told = format!("call {number} of {}, {call}, {kind:?}:", calls.len());
        is_well(&world, &world.statuses().await, &told);
        failed += 1;
    }
    eprintln!("{plot:?}, {kind:?}: {failed} calls failed, one at a time");
}

#[tokio::test]
async fn each_call_to_a_balancer_or_for_an_alarm_may_be_throttled() {
    Box::pin(fail_each_call(Plot::Alarming, Kind::Throttled)).await;
}

#[tokio::test]
async fn each_call_to_a_balancer_or_for_an_alarm_may_be_answered_with_an_error() {
    Box::pin(fail_each_call(Plot::Alarming, Kind::Broken)).await;
}

#[tokio::test]
async fn each_call_to_a_balancer_or_for_an_alarm_may_time_out_before_it_arrives() {
    Box::pin(fail_each_call(Plot::Alarming, Kind::NotArrived)).await;
}

#[tokio::test]
async fn each_call_to_a_balancer_or_for_an_alarm_may_be_answered_in_vain() {
    Box::pin(fail_each_call(Plot::Alarming, Kind::AnswerLost)).await;
}

#[tokio::test]
async fn each_call_to_a_balancer_or_for_an_alarm_may_arrive_twice() {
    Box::pin(fail_each_call(Plot::Alarming, Kind::Doubled)).await;
}

#[tokio::test]
async fn each_call_may_be_throttled() {
    Box::pin(fail_each_call(Plot::Failing, Kind::Throttled)).await;
}

#[tokio::test]
async fn each_call_may_be_answered_with_an_error() {
    Box::pin(fail_each_call(Plot::Failing, Kind::Broken)).await;
}

#[tokio::test]
async fn each_call_may_time_out_before_it_arrives() {
    Box::pin(fail_each_call(Plot::Failing, Kind::NotArrived)).await;
}

#[tokio::test]
async fn each_answer_may_be_lost() {
    Box::pin(fail_each_call(Plot::Failing, Kind::AnswerLost)).await;
}

#[tokio::test]
async fn each_call_may_arrive_twice() {
    Box::pin(fail_each_call(Plot::Failing, Kind::Doubled)).await;
}

#[tokio::test]
async fn the_stream_may_be_replayed_reordered_or_dropped() {
    for plot in [Plot::Failing, Plot::Alarming] {
        for streaming in [Streaming::Replayed, Streaming::Reordered, Streaming::Dropped] {
            let mut world = World::new(plot, None, streaming).await;
            Box::pin(world.tell_story()).await;
            is_well(&world, &world.statuses().await, &format!("{plot:?}, {streaming:?}:"));
        }
    }
}
