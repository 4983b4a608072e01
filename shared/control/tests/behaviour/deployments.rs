//! Deployments and their targets.

use control::OperatorApi as Api;
use control::rows::DeploymentRow;
use control::table::{Condition, Table as _, Write};
use engine::deployment::{Fact, HostSeen, Sighting};
use serde_json::{Value, json};

use crate::world::{World, deployment, group, web};

fn named(id: &str) -> Value {
    json!({ "deploymentId": id })
}

#[tokio::test]
async fn a_deployment_is_shown_from_its_creation_to_its_success() {
    let world = World::with_group().await;
    world.register("web-1").await;
    let answer = world.ok(Api::create_deployment, deployment("v1")).await;
    let id = answer["deploymentId"].as_str().unwrap().to_owned();
    assert_eq!(world.info(&id).await["status"], "Created");
    assert_eq!(
        world.refused(Api::list_deployment_targets, named(&id)).await,
        "DeploymentNotStarted"
    );

    world.advance(&id).await;
    let info = world.info(&id).await;
    assert_eq!(info["status"], "InProgress");
    assert_eq!(info["deploymentOverview"]["InProgress"], 1);
    assert_eq!(info["creator"], "user");
    assert_eq!(info["fileExistsBehavior"], "DISALLOW");
    assert!(info["startTime"].is_number() && info["completeTime"].is_null());
    let targets = world.ok(Api::list_deployment_targets, named(&id)).await;
    assert_eq!(targets["targetIds"], json!(["web-1"]));
    assert_eq!(world.target(&id, "web-1").await["status"], "Pending");

    world.pass_ms(5000);
    world.work("web-1", "Succeeded").await;
    let info = world.info(&id).await;
    assert_eq!(info["status"], "Succeeded");
    assert_eq!(info["deploymentOverview"]["Succeeded"], 1);
    assert_eq!(info["completeTime"], 1_800_000_005.0);
    let again = world.deploy("v2").await;
    let info = world.info(&again).await;
    assert_eq!(info["previousRevision"]["s3Location"]["key"], "v1");
    let batch = json!({ "deploymentIds": [again, id, "d-NOSUCHONE"] });
    let batch = world.ok(Api::batch_get_deployments, batch).await;
    assert_eq!(batch["deploymentsInfo"].as_array().unwrap().len(), 2);
    let group = world.ok(Api::get_deployment_group, web()).await;
    let group = &group["deploymentGroupInfo"];
    assert_eq!(group["lastSuccessfulDeployment"]["deploymentId"], json!(id));
    assert_eq!(group["lastAttemptedDeployment"]["status"], "InProgress");
    assert_eq!(group["targetRevision"]["s3Location"]["key"], "v2");
}

#[tokio::test]
async fn what_a_newer_version_wrote_keeps_no_other_deployment_from_its_wake() {
    let world = World::with_group().await;
    world.ok(Api::create_deployment_group, group("api")).await;
    world.register("web-1").await;
    let newer = world.deploy("v1").await;
    let mut other = deployment("v1");
    other["deploymentGroupName"] = "api".into();
    let id = world.begin(other).await;
    let key = DeploymentRow::key_of(&newer.parse().unwrap());
    let mut record = world.table().get(&key).await.unwrap().unwrap();
    record.schema += 1;
    record.body = "{}".to_owned();
    world.table().write(&[Write::Put(record, Condition::None)]).await.unwrap();
    world.pass_ms(1_000);
    world.take_wakes();
    world.control.traffic_evaluator().sweep().await.unwrap();
    let wakes: Vec<String> = world.take_wakes().iter().map(ToString::to_string).collect();
    assert!(wakes.contains(&id) && !wakes.contains(&newer), "{wakes:?}");
    assert!(world.control.base.latest().await.unwrap() > engine::Timestamp::default());
}

#[tokio::test]
async fn what_cannot_be_created_is_refused_by_name() {
    let world = World::with_group().await;
    world.register("web-1").await;
    let with = |member: &str, value: Value| {
        let mut body = deployment("v1");
        body[member] = value;
        body
    };
    for (body, expected) in [
        (with("applicationName", "no".into()), "ApplicationDoesNotExist"),
        (with("deploymentGroupName", Value::Null), "DeploymentGroupNameRequired"),
        (with("deploymentGroupName", "no".into()), "DeploymentGroupDoesNotExist"),
        (with("revision", Value::Null), "RevisionRequired"),
        (with("deploymentConfigName", "no".into()), "DeploymentConfigDoesNotExist"),
        (
            with("updateOutdatedInstancesOnly", true.into()),
            "InvalidUpdateOutdatedInstancesOnlyValue",
        ),
        (with("targetInstances", json!({ "autoScalingGroups": ["a"] })), "InvalidTargetInstances"),
        (
            with("overrideAlarmConfiguration", json!({ "enabled": true, "alarms": [] })),
            "InvalidAlarmConfig",
        ),
        (with("description", "x".repeat(257).into()), "DescriptionTooLong"),
    ] {
        assert_eq!(world.refused(Api::create_deployment, body).await, expected);
    }
    let mut restart = web();
    restart["deploymentMode"] = "RESTART".into();
    assert_eq!(world.refused(Api::create_deployment, restart).await, "InvalidInput");
    let active = world.deploy("v1").await;
    let (name, message) = world.refusal(Api::create_deployment, deployment("v2")).await;
    assert_eq!(name, "DeploymentLimitExceeded");
    assert!(message.contains(&active), "{message}");
}

#[tokio::test]
async fn a_failure_is_rolled_back_and_both_sides_say_so() {
    let world = World::with_group().await;
    world.register("web-1").await;
    let update = json!({
        "applicationName": "shop",
        "currentDeploymentGroupName": "web",
        "autoRollbackConfiguration": { "enabled": true, "events": ["DEPLOYMENT_FAILURE"] },
    });
    world.ok(Api::update_deployment_group, update).await;
    let first = world.deploy("v0").await;
    world.work("web-1", "Failed").await;
    let info = world.info(&first).await;
    assert_eq!(info["errorInformation"]["code"], "HEALTH_CONSTRAINTS");
    let message = info["rollbackInfo"]["rollbackMessage"].as_str().unwrap();
    assert!(message.contains("nothing to roll back to"), "{message}");

    world.deploy("v1").await;
    world.work("web-1", "Succeeded").await;
    let failed = world.deploy("v2").await;
    world.work("web-1", "Failed").await;
    let info = world.info(&failed).await;
    let rollback = info["rollbackInfo"]["rollbackDeploymentId"].as_str().unwrap().to_owned();
    assert_eq!(
        info["rollbackInfo"]["rollbackMessage"],
        format!(
            "Deployment {failed} terminated. Automatic rollback is triggered with a DeploymentId {rollback}."
        )
    );
    let info = world.info(&rollback).await;
    assert_eq!(info["creator"], "codeDeployRollback");
    assert_eq!(info["revision"]["s3Location"]["key"], "v1");
    assert_eq!(info["rollbackInfo"]["rollbackTriggeringDeploymentId"], json!(failed));
    assert_eq!(
        info["rollbackInfo"]["rollbackMessage"],
        format!("Deployment {rollback} is triggered to roll back deployment {failed}.")
    );
}

#[tokio::test]
async fn rolling_back_by_hand_deploys_what_had_succeeded_before() {
    let world = World::with_group().await;
    world.register("web-1").await;
    let first = world.deploy("v1").await;
    assert_eq!(
        world.refused(Api::roll_back_deployment, named(&first)).await,
        "InvalidDeploymentStatus"
    );
    world.work("web-1", "Succeeded").await;
    assert_eq!(
        world.refused(Api::roll_back_deployment, named(&first)).await,
        "RevisionDoesNotExist"
    );
    world.pass_ms(1000);
    let second = world.deploy("v2").await;
    world.work("web-1", "Succeeded").await;
    world.pass_ms(1000);
    let answer = world.ok(Api::roll_back_deployment, named(&second)).await;
    let third = answer["deploymentId"].as_str().unwrap();
    assert_eq!(world.info(third).await["revision"]["s3Location"]["key"], "v1");
    world.advance(third).await;
    world.work("web-1", "Succeeded").await;
    assert_eq!(world.info(third).await["status"], "Succeeded");
}

#[tokio::test]
async fn a_stop_lets_the_running_host_end_and_may_be_asked_for_again() {
    let world = World::with_group().await;
    world.register("web-1").await;
    let id = world.deploy("v1").await;
    let (token, mut report) = world.claim("web-1").await;
    let answer = world.report(&token, report.clone()).await;
    assert_eq!(answer["proceed"], true);
    let stopped = world.ok(Api::stop_deployment, named(&id)).await;
    assert_eq!(stopped["status"], "Pending");
    world.ok(Api::stop_deployment, named(&id)).await;
    // Who asks for leave to run a script hears of it at once, before the deployment has taken note of it; a heartbeat does
    // within a second.
    report["sequence"] = 0.into();
    let answer = world.report(&token, report.clone()).await;
    assert_eq!(
        (&answer["proceed"], &answer["reason"]),
        (&json!(false), &json!("the deployment was stopped"))
    );
    world.advance(&id).await;
    world.pass_ms(1_000);
    report["sequence"] = 2.into();
    let answer = world.report(&token, report.clone()).await;
    assert_eq!(answer["proceed"], false);
    report["sequence"] = 3.into();
    report["status"] = "Failed".into();
    let left_out = json!({
        "errorCode": "UnknownError",
        "scriptName": "",
        "message": "not begun: the deployment was stopped",
        "logTail": "",
    });
    report["events"] = json!([
        { "event": "BeforeInstall", "status": "Succeeded", "startedAt": 1, "endedAt": 2 },
        { "event": "Install", "status": "Skipped", "diagnostics": left_out },
        { "event": "AfterInstall", "status": "Skipped" },
    ]);
    world.report(&token, report).await;
    // Before the deployment has taken note of it, and after.
    assert_eq!(world.target(&id, "web-1").await["status"], "Skipped");
    world.advance(&id).await;
    let target = world.target(&id, "web-1").await;
    assert_eq!(target["status"], "Skipped", "{target:#}");
    let events = target["lifecycleEvents"].as_array().unwrap();
    assert!(events.iter().all(|event| event["status"] != "Failed"), "{target:#}");
    let info = world.info(&id).await;
    assert_eq!(info["status"], "Stopped");
    let overview = &info["deploymentOverview"];
    assert_eq!((&overview["Failed"], &overview["Skipped"]), (&json!(0), &json!(1)), "{info:#}");
    assert_eq!(info["errorInformation"]["code"], "MANUAL_STOP");
    assert_eq!(world.refused(Api::stop_deployment, named(&id)).await, "DeploymentAlreadyCompleted");
    assert_eq!(
        world.refused(Api::stop_deployment, named("d-NOSUCHONE")).await,
        "DeploymentDoesNotExist"
    );
    assert_eq!(
        world.refused(Api::get_deployment, named("whatever")).await,
        "DeploymentDoesNotExist"
    );
}

#[tokio::test]
async fn a_stop_that_is_answered_wins_although_the_last_host_has_succeeded() {
    for roll_back in [json!(null), json!(true)] {
        let world = World::with_group().await;
        world.register("web-1").await;
        let first = world.deploy("v1").await;
        world.work("web-1", "Succeeded").await;
        assert_eq!(world.info(&first).await["status"], "Succeeded");
        let id = world.deploy("v2").await;
        let (token, mut report) = world.claim("web-1").await;
        // The deployment has not heard of either.
        report["status"] = "Succeeded".into();
        world.report(&token, report).await;
        world.ok(Api::stop_deployment, named(&id)).await;
        let mut again = named(&id);
        again["autoRollbackEnabled"] = roll_back.clone();
        world.ok(Api::stop_deployment, again).await;
        // Only the news of the host are told.
        world
            .control
            .deployment_stepper()
            .advance(&id.parse().unwrap(), vec![ended(0)])
            .await
            .unwrap();
        let info = world.info(&id).await;
        assert_eq!(info["status"], "Stopped", "{info}");
        assert_eq!(info["errorInformation"]["code"], "MANUAL_STOP");
        let by = &info["rollbackInfo"]["rollbackDeploymentId"];
        assert_eq!(by.is_string(), roll_back == true, "{info}");
        assert_eq!(
            world.refused(Api::stop_deployment, named(&id)).await,
            "DeploymentAlreadyCompleted"
        );
    }
}

/// That a host has ended well.
fn ended(ordinal: u32) -> Fact {
    Fact::HostsSeen(vec![HostSeen { ordinal, sighting: Sighting::Succeeded }])
}

#[tokio::test]
async fn targets_are_listed_by_status_and_found_by_name() {
    let world = World::with_group().await;
    for name in ["web-1", "web-2"] {
        world.register(name).await;
    }
    let id = world.deploy("v1").await;
    world.work("web-1", "Succeeded").await;
    let with_status = |statuses: Value| json!({ "deploymentId": id, "targetFilters": { "TargetStatus": statuses } });
    for (statuses, names) in [
        (json!(["Succeeded"]), json!(["web-1"])),
        (json!(["Pending", "InProgress"]), json!(["web-2"])),
        (json!(["Failed"]), json!([])),
    ] {
        let list = world.ok(Api::list_deployment_targets, with_status(statuses)).await;
        assert_eq!(list["targetIds"], names);
    }
    assert_eq!(
        world.refused(Api::list_deployment_targets, with_status(json!(["Lost"]))).await,
        "InvalidInstanceStatus"
    );
    let batch = json!({ "deploymentId": id, "targetIds": ["web-2", "web-1"] });
    let batch = world.ok(Api::batch_get_deployment_targets, batch).await;
    let events = &batch["deploymentTargets"][0]["instanceTarget"]["lifecycleEvents"];
    assert_eq!(events.as_array().unwrap().len(), 7);
    assert_eq!(events[0]["lifecycleEventName"], "ApplicationStop");
    assert_eq!(events[0]["status"], "Pending");
    let body = json!({ "deploymentId": id, "targetIds": ["web-9"] });
    assert_eq!(
        world.refused(Api::batch_get_deployment_targets, body).await,
        "InstanceDoesNotExist"
    );
    let body = json!({ "deploymentId": id, "targetId": "web-9" });
    assert_eq!(
        world.refused(Api::get_deployment_target, body).await,
        "DeploymentTargetDoesNotExist"
    );
}

#[tokio::test]
async fn a_host_that_falls_silent_fails_with_what_to_check() {
    let world = World::with_group().await;
    world.register("web-1").await;
    let id = world.deploy("v1").await;
    let (token, mut report) = world.claim("web-1").await;
    let event = |name: &str, status: &str| json!({ "event": name, "status": status });
    report["events"] =
        json!([event("ApplicationStop", "Succeeded"), event("DownloadBundle", "InProgress")]);
    world.report(&token, report).await;
    for _ in 0..30 {
        world.pass_ms(10_000);
        world.advance(&id).await;
    }
    assert_eq!(world.info(&id).await["status"], "Failed");
    let target = world.target(&id, "web-1").await;
    assert_eq!(target["status"], "Failed");
    let events = &target["lifecycleEvents"];
    assert_eq!(events[0]["status"], "Succeeded");
    assert_eq!(events[1]["status"], "Unknown");
    let message = events[1]["diagnostics"]["message"].as_str().unwrap();
    assert!(message.contains("60 s") && message.contains("Check"), "{message}");
    assert_eq!(events[2]["status"], "Skipped");
}

#[tokio::test]
async fn a_host_that_is_deregistered_is_counted_no_more() {
    let world = World::with_group().await;
    for name in ["web-1", "web-2"] {
        world.register(name).await;
    }
    let id = world.deploy("v1").await;
    let (token, report) = world.claim("web-1").await;
    world.ok(Api::deregister_on_premises_instance, json!({ "instanceName": "web-1" })).await;
    world.advance(&id).await;
    let answer = world.report(&token, report).await;
    assert_eq!(answer["proceed"], false);
    world.work("web-2", "Succeeded").await;
    let info = world.info(&id).await;
    assert_eq!(info["status"], "Succeeded", "{info}");
    assert_eq!(info["deploymentOverview"]["Failed"], 0);
    assert_eq!(world.target(&id, "web-1").await["status"], "Unknown");
}

#[tokio::test]
async fn deployments_are_listed_newest_first_page_by_page() {
    let world = World::with_group().await;
    let mut ids = Vec::new();
    for n in 0..103 {
        world.pass_ms(1000);
        // Without hosts each ends at once.
        ids.push(world.deploy(&format!("v{n}")).await);
    }
    ids.reverse();
    for filter in [json!({}), web()] {
        let first = world.ok(Api::list_deployments, filter.clone()).await;
        assert_eq!(first["deployments"], json!(ids[..100]));
        let mut next = filter;
        next["nextToken"] = first["nextToken"].clone();
        let second = world.ok(Api::list_deployments, next).await;
        assert_eq!(second, json!({ "deployments": ids[100..] }));
    }
    let body = json!({ "includeOnlyStatuses": ["Succeeded", "InProgress"] });
    assert_eq!(world.ok(Api::list_deployments, body).await, json!({ "deployments": [] }));
    let range = json!({ "start": 1_800_000_102.0, "end": 1_800_000_102.5 });
    let body = json!({ "createTimeRange": range });
    assert_eq!(world.ok(Api::list_deployments, body).await, json!({ "deployments": [ids[1]] }));
    let half = json!({ "applicationName": "shop" });
    assert_eq!(world.refused(Api::list_deployments, half).await, "DeploymentGroupNameRequired");
}

#[tokio::test]
async fn a_revision_that_is_not_there_is_refused_and_fails_the_deployment_if_it_goes_later() {
    let world = World::with_group().await;
    world.register("web-1").await;
    world.lose("missing");
    let refused = world.refused(Api::create_deployment, deployment("missing")).await;
    assert_eq!(refused, "RevisionDoesNotExist");
    let created = world.ok(Api::create_deployment, deployment("leaves")).await;
    let id = created["deploymentId"].as_str().unwrap().to_owned();
    world.lose("leaves");
    world.advance(&id).await;
    let info = world.info(&id).await;
    assert_eq!(info["errorInformation"]["code"], "REVISION_MISSING");
    assert_eq!(info["deploymentOverview"]["Failed"], 0);
}

#[tokio::test]
async fn a_deployment_on_a_ladder_shows_its_progress_and_hears_what_people_want() {
    let world = World::with_group().await;
    world.register("web-1").await;
    world.register("web-2").await;
    let ladder = json!({ "deploymentConfigName": "careful", "steps": "1 host@1h,100%" });
    world.ok(Api::create_ladder, ladder.clone()).await;
    let again = world.refused(Api::create_ladder, ladder).await;
    assert_eq!(again, "DeploymentConfigAlreadyExists");
    let wrong = json!({ "deploymentConfigName": "wrong", "steps": "50%,10%,100%" });
    let refused = world.refused(Api::create_ladder, wrong).await;
    assert_eq!(refused, "InvalidTrafficRoutingConfiguration");
    let mut body = deployment("v1");
    body["deploymentConfigName"] = "careful".into();
    let id = world.ok(Api::create_deployment, body).await["deploymentId"].clone();
    let of = json!({ "deploymentId": id });
    let wish = |wish: &str| json!({ "deploymentId": id, "wish": wish });
    let progress = world.ok(Api::get_progress, of.clone()).await;
    assert_eq!(progress["steps"], json!(["1 host@1h", "100%"]), "{progress}");
    assert_eq!(progress["stepsDone"], 0, "{progress}");
    let early = world.refused(Api::steer_deployment, wish("SkipBake")).await;
    assert_eq!(early, "InvalidDeploymentStatus");
    assert_eq!(world.refused(Api::steer_deployment, wish("Fly")).await, "Validation");
    world.ok(Api::steer_deployment, wish("Pause")).await;
    world.ok(Api::stop_deployment, of.clone()).await;
    let balancer = json!({ "name": "web", "targetPort": 80 });
    let refused = world.refused(Api::add_balancer, balancer).await;
    assert_eq!(refused, "InvalidOperation", "only a home has balancers of its own");
}
