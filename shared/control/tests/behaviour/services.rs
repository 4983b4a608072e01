//! Deployments of ECS services: new tasks beside the old ones, their test traffic, the shift, and the end of one side.

use control::OperatorApi as Api;
use serde_json::{Value, json};
use sim::NewTasks;

use crate::world::World;

const SPEC: &str = r#"{"version":0.0,"Resources":[{"TargetService":{"Type":"AWS::ECS::Service","Properties":
    {"TaskDefinition":"shop:7","LoadBalancerInfo":{"ContainerName":"shop","ContainerPort":80}}}}],
    "Hooks":[{"AfterAllowTestTraffic":"probe"}]}"#;

/// The listeners of the service `shop`.
const FRONT: &str = "shop:front";
const TEST: &str = "shop:test";

fn group(name: &str, service: &str, test: bool) -> Value {
    let route = |listener: &str| json!({ "listenerArns": [listener] });
    let group = |end: &str| json!({ "name": format!("{service}-{end}") });
    let mut pair = json!({
        "targetGroups": [group("one"), group("two")],
        "prodTrafficRoute": route(&format!("{service}:front")),
    });
    if test {
        pair["testTrafficRoute"] = route(&format!("{service}:test"));
    }
    json!({
        "applicationName": "orders",
        "deploymentGroupName": name,
        "serviceRoleArn": "arn:aws:iam::123456789012:role/deployer",
        "deploymentConfigName": "CodeDeployDefault.ECSCanary10Percent5Minutes",
        "ecsServices": [{ "clusterName": "main", "serviceName": service }],
        "loadBalancerInfo": { "targetGroupPairInfoList": [pair] },
        "blueGreenDeploymentConfiguration": {
            "terminateBlueInstancesOnDeploymentSuccess": {
                "action": "TERMINATE", "terminationWaitTimeInMinutes": 2,
            },
            "deploymentReadyOption": { "actionOnTimeout": "CONTINUE_DEPLOYMENT" },
        },
    })
}

/// A world with a service `shop`, whose tasks nobody has deployed.
async fn world(test: bool) -> World {
    let world = World::new();
    world.create_service("shop");
    let application = json!({ "applicationName": "orders", "computePlatform": "ECS" });
    world.ok(Api::create_application, application).await;
    world.ok(Api::create_deployment_group, group("live", "shop", test)).await;
    world
}

/// How much of a listener's traffic the second target group has, in percent.
fn second(world: &World, listener: &str) -> u8 {
    world.second_side(listener, "shop")
}

/// The target groups in which there are tasks.
fn sides(world: &World) -> Vec<u8> {
    world.task_sets("shop").0.into_keys().collect()
}

/// The target group of the primary tasks.
fn primary(world: &World) -> Option<u8> {
    world.task_sets("shop").1
}

/// The deployment that has made the tasks in a target group.
fn made_by(world: &World, side: u8) -> String {
    world.task_sets("shop").0[&side].as_ref().unwrap().to_string()
}

fn deployment(content: &str) -> Value {
    json!({
        "applicationName": "orders",
        "deploymentGroupName": "live",
        "revision": { "revisionType": "AppSpecContent", "appSpecContent": { "content": content } },
        "autoRollbackConfiguration": { "enabled": true, "events": ["DEPLOYMENT_FAILURE"] },
    })
}

async fn deploy(world: &World) -> String {
    deploy_spec(world, SPEC).await
}

async fn deploy_spec(world: &World, spec: &str) -> String {
    world.begin(deployment(spec)).await
}

async fn probe_says(world: &World, id: &str, status: &str) {
    let (called, payload) = world.calls().last().unwrap().clone();
    assert_eq!(called, "probe");
    let payload: Value = serde_json::from_str(&payload).unwrap();
    let body = json!({
        "deploymentId": id,
        "lifecycleEventHookExecutionId": payload["LifecycleEventHookExecutionId"],
        "status": status,
    });
    world.ok(Api::put_lifecycle_event_hook_execution_status, body).await;
    world.advance(id).await;
    world.later(id, 30_000).await;
}

async fn target(world: &World, id: &str) -> Value {
    let body = json!({ "deploymentId": id, "targetId": "main:shop" });
    world.ok(Api::get_deployment_target, body).await["deploymentTarget"]["ecsTarget"].take()
}

/// The lifecycle events of a target, each with how it stands.
fn statuses(target: &Value) -> Vec<(String, String)> {
    let events = target["lifecycleEvents"].as_array().unwrap().iter();
    let one = |event: &Value| -> (String, String) {
        let text = |of: &str| event[of].as_str().unwrap().to_owned();
        (text("lifecycleEventName"), text("status"))
    };
    events.map(one).collect()
}

#[tokio::test]
async fn a_service_is_brought_up_tried_shifted_and_its_old_tasks_are_ended() {
    let world = world(true).await;
    world.begin_tasks(NewTasks::Wait);
    let id = deploy(&world).await;
    let early = world.progress(&id).await;
    assert_eq!(early["stage"], "Install", "{early:#}");
    assert_eq!((&early["runningTasks"], &early["desiredTasks"]), (&json!(0), &json!(2)));
    world.later(&id, 5_000).await;
    let found = world.progress(&id).await;
    assert_eq!(found["stage"], "Install", "{found:#}");
    assert_eq!((&found["runningTasks"], &found["desiredTasks"]), (&json!(1), &json!(2)));
    assert_eq!(second(&world, FRONT), 0, "a target group without a listener finds nobody healthy");
    world.begin_tasks(NewTasks::Run);
    world.later(&id, 5_000).await;
    assert_eq!((second(&world, TEST), second(&world, FRONT)), (100, 0));
    probe_says(&world, &id, "Succeeded").await;
    assert_eq!(second(&world, FRONT), 10);
    let shown = target(&world, &id).await;
    assert_eq!(shown["targetArn"], "arn:aws:ecs:eu-central-1:123456789012:service/main/shop");
    let expected = [
        ("BeforeInstall", "Succeeded"),
        ("Install", "Succeeded"),
        ("AfterInstall", "Succeeded"),
        ("AllowTestTraffic", "Succeeded"),
        ("AfterAllowTestTraffic", "Succeeded"),
        ("BeforeAllowTraffic", "Succeeded"),
        ("AllowTraffic", "InProgress"),
        ("AfterAllowTraffic", "Pending"),
    ]
    .map(|(event, status)| (event.to_owned(), status.to_owned()));
    assert_eq!(statuses(&shown), expected);
    let sets = &shown["taskSetsInfo"];
    assert_eq!((&sets[0]["status"], &sets[0]["trafficWeight"]), (&json!("PRIMARY"), &json!(90)));
    assert_eq!(sets[1]["taskSetLabel"], "Green");
    assert_eq!(
        (&sets[1]["identifer"], &sets[1]["trafficWeight"]),
        (&json!("ecs-svc/1"), &json!(10))
    );

    world.later(&id, 300_000).await;
    assert_eq!(second(&world, FRONT), 100);
    assert_eq!(sides(&world), [0, 1], "what had the traffic is kept for two minutes");
    assert_eq!(world.progress(&id).await["stage"], "TerminationWait");
    world.later(&id, 120_000).await;
    assert_eq!((sides(&world), primary(&world)), (vec![1], Some(1)));
    let info = world.info(&id).await;
    assert_eq!((&info["status"], &info["computePlatform"]), (&json!("Succeeded"), &json!("ECS")));

    // What had the traffic is gone: a way back is a deployment of what was before, and there is none.
    let back = json!({ "deploymentId": id });
    assert_eq!(world.refused(Api::roll_back_deployment, back).await, "RevisionDoesNotExist");
    // Of the same AppSpec, a way back would be to itself.
    let next = deploy_spec(&world, &SPEC.replace("shop:7", "shop:8")).await;
    assert_eq!(second(&world, TEST), 0, "the other target group is the new one now");
    probe_says(&world, &next, "Succeeded").await;
    world.later(&next, 300_000).await;
    world.later(&next, 120_000).await;
    assert_eq!((sides(&world), second(&world, FRONT)), (vec![0], 0));
    let back = world.ok(Api::roll_back_deployment, json!({ "deploymentId": next })).await;
    let back = back["deploymentId"].as_str().unwrap();
    world.advance(back).await;
    assert_eq!(made_by(&world, 1), back, "it brings up what was before");
}

#[tokio::test]
async fn what_was_stopped_before_it_knew_where_the_traffic_is_is_rolled_back_by_new_tasks() {
    let world = world(false).await;
    let id = deploy(&world).await;
    for ms in [300_000, 120_000, 10_000] {
        world.later(&id, ms).await;
    }
    assert_eq!((sides(&world), second(&world, FRONT)), (vec![1], 100));
    let spec = SPEC.replace("shop:7", "shop:8");
    let next = world.ok(Api::create_deployment, deployment(&spec)).await;
    let next = next["deploymentId"].as_str().unwrap();
    world.ok(Api::stop_deployment, json!({ "deploymentId": next })).await;
    world.advance(next).await;
    assert_eq!(world.info(next).await["status"], "Stopped");
    let back = world.ok(Api::roll_back_deployment, json!({ "deploymentId": next })).await;
    let back = back["deploymentId"].as_str().unwrap();
    world.advance(back).await;
    assert_eq!(made_by(&world, 0), back, "it brings up what was before");
}

#[tokio::test]
async fn a_probe_that_fails_leaves_the_traffic_and_takes_the_new_tasks_away() {
    let world = world(true).await;
    let id = deploy(&world).await;
    probe_says(&world, &id, "Failed").await;
    let info = world.info(&id).await;
    assert_eq!(info["status"], "Failed", "{info:#}");
    assert_eq!(info["errorInformation"]["code"], "HOOK_EXECUTION_FAILURE");
    assert_eq!((second(&world, FRONT), second(&world, TEST)), (0, 0));
    assert_eq!((sides(&world), primary(&world)), (vec![0], Some(0)));
}

#[tokio::test]
async fn a_stop_with_a_rollback_takes_the_traffic_back_before_the_tasks_go() {
    let world = world(true).await;
    let id = deploy(&world).await;
    probe_says(&world, &id, "Succeeded").await;
    assert_eq!(second(&world, FRONT), 10);
    world
        .ok(Api::stop_deployment, json!({ "deploymentId": id, "autoRollbackEnabled": true }))
        .await;
    world.advance(&id).await;
    world.later(&id, 1_000).await;
    assert_eq!((second(&world, FRONT), sides(&world)), (0, vec![0]));
    assert_eq!(world.info(&id).await["status"], "Stopped");
}

#[tokio::test]
async fn old_tasks_stay_as_long_as_any_rule_sends_them_traffic() {
    let world = world(false).await;
    // A rule of somebody else's.
    world.split_listener("/old/*", "shop", 0);
    let id = deploy(&world).await;
    world.later(&id, 300_000).await;
    world.later(&id, 120_000).await;
    world.later(&id, 10_000).await;
    assert_eq!((second(&world, FRONT), sides(&world)), (100, vec![0, 1]));
    assert_eq!(world.info(&id).await["status"], "InProgress");
    world.split_listener("/old/*", "shop", 100);
    world.later(&id, 10_000).await;
    assert_eq!(sides(&world), [1]);
    assert_eq!(world.info(&id).await["status"], "Succeeded");
}

#[tokio::test]
async fn traffic_that_moves_late_after_the_end_is_told() {
    let world = world(false).await;
    let id = deploy(&world).await;
    assert_eq!(second(&world, FRONT), 10);
    world
        .ok(Api::stop_deployment, json!({ "deploymentId": id, "autoRollbackEnabled": true }))
        .await;
    world.advance(&id).await;
    world.later(&id, 1_000).await;
    let messages = async || world.info(&id).await["deploymentStatusMessages"].clone();
    world.control.traffic_evaluator().sweep().await.unwrap();
    assert_eq!(messages().await, json!([]), "the traffic is where it was");
    world.split_listener(FRONT, "shop", 10);
    world.pass_ms(60_000);
    world.control.traffic_evaluator().sweep().await.unwrap();
    let told = messages().await[0].as_str().unwrap().to_owned();
    assert!(told.contains("61 s later it had 10%") && told.contains(&id), "{told}");
    let next = deploy(&world).await;
    world.control.traffic_evaluator().sweep().await.unwrap();
    assert_ne!(next, id, "whose traffic it is now is looked at no more");
    world.split_listener(FRONT, "shop", 40);
    world.control.traffic_evaluator().sweep().await.unwrap();
    assert_eq!(messages().await, json!([told]));
}

#[tokio::test]
async fn traffic_never_goes_back_by_hand_to_tasks_that_may_have_been_ended() {
    let world = world(false).await;
    world.never_end_tasks();
    let id = deploy(&world).await;
    world.later(&id, 300_000).await;
    for _ in 0..50 {
        world.later(&id, 10_000).await;
    }
    let info = world.info(&id).await;
    assert_eq!(info["errorInformation"]["code"], "ECS_UPDATE_ERROR", "{info:#}");
    assert_eq!((second(&world, FRONT), sides(&world)), (100, vec![1]));
    let back = json!({ "deploymentId": id });
    assert_eq!(world.refused(Api::roll_back_deployment, back).await, "RevisionDoesNotExist");
}

#[tokio::test]
async fn without_a_test_listener_there_are_six_events() {
    let world = world(false).await;
    let id = deploy(&world).await;
    assert_eq!(second(&world, FRONT), 10);
    assert!(world.calls().is_empty(), "nothing was tried");
    let shown = target(&world, &id).await;
    assert_eq!(statuses(&shown).len(), 6);
    let listed = world.ok(Api::list_deployment_targets, json!({ "deploymentId": id })).await;
    assert_eq!(listed["targetIds"], json!(["main:shop"]));
}

#[tokio::test]
async fn what_cannot_be_deployed_to_says_why() {
    let world = world(false).await;
    world.refuse_service(Some("its deployment controller is `CODE_DEPLOY`"));
    let id = deploy(&world).await;
    let info = world.info(&id).await;
    assert_eq!(info["errorInformation"]["code"], "INVALID_ECS_SERVICE", "{info:#}");
    assert!(info["errorInformation"]["message"].as_str().unwrap().contains("CODE_DEPLOY"));
    world.refuse_service(None);
    world.begin_tasks(NewTasks::Fail);
    let id = deploy(&world).await;
    let info = world.info(&id).await;
    assert_eq!(info["errorInformation"]["code"], "ECS_UPDATE_ERROR", "{info:#}");
    assert_eq!(second(&world, FRONT), 0);
}

#[tokio::test]
async fn settings_and_requests_that_do_not_fit_are_refused() {
    let world = world(false).await;
    let create = Api::create_deployment_group;
    let mut twice = group("other", "shop", false);
    twice["loadBalancerInfo"]["targetGroupPairInfoList"] = json!([]);
    assert_eq!(world.refused(create, twice).await, "ECSServiceMappingLimitExceeded");
    let mut bare = group("other", "second", false);
    bare["loadBalancerInfo"] = json!({});
    world.ok(create, bare).await;
    let mut body = deployment(SPEC);
    body["deploymentGroupName"] = "other".into();
    assert_eq!(world.refused(Api::create_deployment, body).await, "InvalidTargetGroupPair");
    for (member, value, refusal) in [
        ("fileExistsBehavior", json!("OVERWRITE"), "InvalidFileExistsBehavior"),
        ("updateOutdatedInstancesOnly", json!(true), "InvalidUpdateOutdatedInstancesOnlyValue"),
        ("targetInstances", json!({ "tagFilters": [] }), "InvalidTargetInstances"),
    ] {
        let mut body = deployment(SPEC);
        body[member] = value;
        assert_eq!(world.refused(Api::create_deployment, body).await, refusal, "{member}");
    }
    let lambda = SPEC.replace("ECS::Service", "Lambda::Function");
    assert_eq!(world.refused(Api::create_deployment, deployment(&lambda)).await, "InvalidRevision");
    let kept = json!({
        "applicationName": "orders",
        "currentDeploymentGroupName": "live",
        "blueGreenDeploymentConfiguration": {
            "terminateBlueInstancesOnDeploymentSuccess": { "action": "KEEP_ALIVE" },
        },
    });
    world.ok(Api::update_deployment_group, kept).await;
    let refused = world.refused(Api::create_deployment, deployment(SPEC)).await;
    assert_eq!(refused, "InvalidBlueGreenDeploymentConfiguration");
}
