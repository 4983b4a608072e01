//! Whole deployments through the functions as they are, with what goes wrong at the SDK's edge: every call of every
//! adapter fails once in each way there is, and the table's stream is replayed, reordered and dropped.
//!
//! The clock is virtual. DynamoDB is the embedded one, called in the process; the other services answer as they were
//! recorded. No retry of the SDK's own hides what goes wrong.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "tests")]

mod services;
mod world;

use services::Kind;
use world::{Streaming, World};

/// What becomes of the story when nothing goes wrong: the first revision, a bad one, and its rollback.
const STORY: [&str; 3] = ["Succeeded", "Failed", "Succeeded"];

#[tokio::test]
async fn the_story_goes_through_all_functions_and_ends_as_it_should() {
    let mut world = World::new(None, Streaming::AsWritten).await;
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

/// Fails each call of the story once. What passes by itself must change nothing that users see.
async fn fail_each_call(kind: Kind) {
    let mut calm = World::new(None, Streaming::AsWritten).await;
    Box::pin(calm.tell_story()).await;
    let calls = calm.calls();
    assert!(calls.len() > 100, "only {} calls: the story does not go through", calls.len());
    for (number, call) in calls.iter().enumerate() {
        let mut world = World::new(Some((number, kind)), Streaming::AsWritten).await;
        Box::pin(world.tell_story()).await;
        let told =
            || format!("call {number} of {}, {call}, {kind:?}:\n{}", calls.len(), world.log());
        assert_eq!(world.statuses().await, STORY, "{}", told());
        assert_eq!(world.installed(), ["v1"; 3], "{}", told());
        assert_eq!(world.dead_letters(), 0, "{}", told());
    }
    eprintln!("{kind:?}: {} calls failed, one at a time", calls.len());
}

#[tokio::test]
async fn each_call_may_be_throttled() {
    Box::pin(fail_each_call(Kind::Throttled)).await;
}

#[tokio::test]
async fn each_call_may_be_answered_with_an_error() {
    Box::pin(fail_each_call(Kind::Broken)).await;
}

#[tokio::test]
async fn each_call_may_time_out_before_it_arrives() {
    Box::pin(fail_each_call(Kind::NotArrived)).await;
}

#[tokio::test]
async fn each_answer_may_be_lost() {
    Box::pin(fail_each_call(Kind::AnswerLost)).await;
}

#[tokio::test]
async fn each_call_may_arrive_twice() {
    Box::pin(fail_each_call(Kind::Doubled)).await;
}

#[tokio::test]
async fn the_stream_may_be_replayed_reordered_or_dropped() {
    for streaming in [Streaming::Replayed, Streaming::Reordered, Streaming::Dropped] {
        let mut world = World::new(None, streaming).await;
        Box::pin(world.tell_story()).await;
        assert_eq!(world.statuses().await, STORY, "{streaming:?}:\n{}", world.log());
        assert_eq!(world.installed(), ["v1"; 3], "{streaming:?}:\n{}", world.log());
    }
}
