//! Deployments of Lambda functions: the alias moves between its hooks, which say how they went, and back.

use std::collections::BTreeMap;

use control::OperatorApi as Api;
use control::ports::{RequestMessage, Uploaded};
use engine::appspec::Alias;
use engine::deployment::{Performer, Request};
use engine::lifecycle::Event;
use serde_json::{Value, json};
use sim::Moment;
use wire::codedeploy::StopDeployment;

use crate::world::World;

const SPEC: &str = r#"{"version":"0.0","Resources":[{"shop":{"Type":"AWS::Lambda::Function","Properties":
    {"Name":"shop","Alias":"live","CurrentVersion":"1","TargetVersion":"2"}}}],
    "Hooks":[{"BeforeAllowTraffic":"check-before"},{"AfterAllowTraffic":"check-after"}]}"#;

fn deployment(content: &str) -> Value {
    json!({
        "applicationName": "orders",
        "deploymentGroupName": "live",
        "revision": { "revisionType": "AppSpecContent", "appSpecContent": { "content": content } },
        "autoRollbackConfiguration": {
            "enabled": true,
            "events": ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST"],
        },
    })
}

async fn world(config: &str) -> World {
    let world = World::new();
    world.point_alias("shop", "live", "1", 2);
    let application = json!({ "applicationName": "orders", "computePlatform": "Lambda" });
    world.ok(Api::create_application, application).await;
    let group = json!({
        "applicationName": "orders",
        "deploymentGroupName": "live",
        "serviceRoleArn": "arn:aws:iam::123456789012:role/deployer",
        "deploymentConfigName": config,
    });
    world.ok(Api::create_deployment_group, group).await;
    world
}

async fn deploy(world: &World) -> String {
    world.begin(deployment(SPEC)).await
}

/// What the hook that was called last was told.
fn told(world: &World) -> Value {
    serde_json::from_str(&world.calls().last().unwrap().1).unwrap()
}

/// Says how the hook that was called last went.
async fn say(world: &World, id: &str, status: &str) {
    let told = told(world);
    assert_eq!(told["DeploymentId"], id);
    let body = json!({
        "deploymentId": id,
        "lifecycleEventHookExecutionId": told["LifecycleEventHookExecutionId"],
        "status": status,
    });
    world.ok(Api::put_lifecycle_event_hook_execution_status, body).await;
    world.advance(id).await;
    world.later(id, 30_000).await;
}

/// How much of the traffic version 2 has.
fn percent(world: &World) -> u8 {
    let alias = Alias {
        function: "shop".to_owned(),
        alias: "live".to_owned(),
        old: "1".to_owned(),
        new: "2".to_owned(),
        hooks: BTreeMap::new(),
    };
    world.percent_of_alias(&alias).unwrap()
}

async fn target(world: &World, id: &str) -> Value {
    let body = json!({ "deploymentId": id, "targetId": "shop:live" });
    world.ok(Api::get_deployment_target, body).await["deploymentTarget"]["lambdaTarget"].take()
}

#[tokio::test]
async fn an_alias_moves_by_steps_between_its_hooks() {
    let world = world("CodeDeployDefault.LambdaCanary10Percent5Minutes").await;
    let id = deploy(&world).await;
    assert_eq!(world.calls()[0].0, "check-before");
    assert_eq!(percent(&world), 0, "the hook has not said anything");
    say(&world, &id, "Succeeded").await;
    assert_eq!(percent(&world), 10);
    let shown = target(&world, &id).await;
    assert_eq!(shown["lambdaFunctionInfo"]["targetVersionWeight"], 10, "{shown:#}");
    let statuses: Vec<&str> = shown["lifecycleEvents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses, ["Succeeded", "InProgress", "Pending"]);
    world.pass_ms(300_000);
    world.advance(&id).await;
    assert_eq!(percent(&world), 100);
    assert_eq!(world.calls().len(), 2, "each hook is called once");
    say(&world, &id, "Succeeded").await;
    let info = world.info(&id).await;
    assert_eq!(info["status"], "Succeeded", "{info:#}");
    assert_eq!(info["computePlatform"], "Lambda");
    assert_eq!(info["revision"]["appSpecContent"]["content"], SPEC);

    let back = json!({ "deploymentId": id });
    let back = world.ok(Api::roll_back_deployment, back).await;
    world.advance(back["deploymentId"].as_str().unwrap()).await;
    assert_eq!(percent(&world), 0);
    assert_eq!(world.info(back["deploymentId"].as_str().unwrap()).await["status"], "Succeeded");
}

#[tokio::test]
async fn a_hook_that_fails_keeps_or_takes_back_the_traffic() {
    let world = world("CodeDeployDefault.LambdaAllAtOnce").await;
    let id = deploy(&world).await;
    say(&world, &id, "Failed").await;
    let info = world.info(&id).await;
    assert_eq!(info["status"], "Failed", "{info:#}");
    assert_eq!(info["errorInformation"]["code"], "HOOK_EXECUTION_FAILURE");
    assert_eq!(percent(&world), 0);

    let id = deploy(&world).await;
    say(&world, &id, "Succeeded").await;
    assert_eq!(percent(&world), 100);
    say(&world, &id, "Failed").await;
    assert_eq!(world.info(&id).await["status"], "Failed");
    assert_eq!(percent(&world), 0, "it went back before the deployment ended");
}

#[tokio::test]
async fn a_hook_speaks_once_and_with_its_own_id() {
    let world = world("CodeDeployDefault.LambdaAllAtOnce").await;
    let id = deploy(&world).await;
    let put = |execution: &str, status: &str| json!({ "deploymentId": id, "lifecycleEventHookExecutionId": execution, "status": status });
    let refused =
        async |body| world.refused(Api::put_lifecycle_event_hook_execution_status, body).await;
    assert_eq!(refused(put("guessed", "Succeeded")).await, "InvalidLifecycleEventHookExecutionId");
    assert_eq!(refused(put("", "Succeeded")).await, "InvalidLifecycleEventHookExecutionId");
    assert_eq!(refused(put("x", "Skipped")).await, "InvalidLifecycleEventHookExecutionStatus");
    assert_eq!(percent(&world), 0);
    let told = told(&world);
    let own = told["LifecycleEventHookExecutionId"].as_str().unwrap();
    world.ok(Api::put_lifecycle_event_hook_execution_status, put(own, "Succeeded")).await;
    world.ok(Api::put_lifecycle_event_hook_execution_status, put(own, "Succeeded")).await;
    assert_eq!(refused(put(own, "Failed")).await, "LifecycleEventAlreadyCompleted");
}

#[tokio::test]
async fn a_stop_that_comes_while_the_alias_is_read_keeps_it_as_it_is() {
    let world = world("CodeDeployDefault.LambdaAllAtOnce").await;
    let id = deploy(&world).await;
    let (control, stopped) = (world.control.clone(), id.clone());
    let stop = async move {
        let request = StopDeployment {
            deployment_id: Some(stopped.clone()),
            auto_rollback_enabled: Some(true),
        };
        control.operator_api().stop_deployment(&request).await.unwrap();
        control.deployment_stepper().refresh(&stopped.parse().unwrap()).await.unwrap();
    };
    world.meanwhile(Moment::AliasRead, Box::pin(stop));
    say(&world, &id, "Succeeded").await;
    assert_eq!(world.info(&id).await["status"], "Stopped");
    assert_eq!(percent(&world), 0, "it was to be changed before the stop, and is not after it");
    let shown = target(&world, &id).await;
    assert_eq!(shown["status"], "Skipped", "it did not fail: {shown:#}");
    let statuses =
        shown["lifecycleEvents"].as_array().unwrap().iter().map(|it| it["status"].clone());
    assert_eq!(statuses.collect::<Vec<_>>(), ["Succeeded", "Skipped", "Skipped"]);
}

#[tokio::test]
async fn a_hook_is_not_called_because_another_call_of_it_was() {
    let world = world("CodeDeployDefault.LambdaAllAtOnce").await;
    let answer = world.ok(Api::create_deployment, deployment(SPEC)).await;
    let id = answer["deploymentId"].as_str().unwrap().to_owned();
    // While it is called, it is called anew, under another secret, and that call comes to nothing.
    let (control, losing) = (world.control.clone(), world.losing_calls());
    let request = Request::RunHook { event: Event::BeforeAllowTraffic };
    let message = RequestMessage { deployment_id: id.parse().unwrap(), request };
    let again = async move {
        losing(true);
        assert!(control.take_request(Performer::TrafficEvaluator, &message).await.is_err());
        losing(false);
    };
    world.meanwhile(Moment::HookCalled, Box::pin(again));
    world.advance(&id).await;
    assert_eq!(world.calls().len(), 1);
    world.pass_ms(30_000);
    world.advance(&id).await;
    assert_eq!(world.calls().len(), 2, "nobody knows the secret that counts");
    say(&world, &id, "Succeeded").await;
    assert_eq!(percent(&world), 100);
}

#[tokio::test]
async fn what_cannot_be_deployed_is_refused_or_fails_with_its_reason() {
    let world = world("CodeDeployDefault.LambdaAllAtOnce").await;
    let same = SPEC.replace("\"TargetVersion\":\"2\"", "\"TargetVersion\":\"1\"");
    let (name, message) = world.refusal(Api::create_deployment, deployment(&same)).await;
    assert_eq!(name, "InvalidRevision");
    assert!(message.contains("is the `CurrentVersion`"), "{message}");
    let mut wrong = deployment(SPEC);
    wrong["revision"]["appSpecContent"]["sha256"] = "ab".into();
    assert_eq!(world.refused(Api::create_deployment, wrong).await, "InvalidRevision");
    let mut by_host = deployment(SPEC);
    let ladder = json!({ "deploymentConfigName": "by-host", "steps": "1 host@1m,100%" });
    world.ok(Api::create_ladder, ladder).await;
    by_host["deploymentConfigName"] = "by-host".into();
    assert_eq!(world.refused(Api::create_deployment, by_host).await, "InvalidDeploymentConfigName");

    world.point_alias("shop", "live", "7", 7);
    let id = deploy(&world).await;
    let info = world.info(&id).await;
    assert_eq!(info["status"], "Failed", "{info:#}");
    assert_eq!(info["errorInformation"]["code"], "INVALID_LAMBDA_FUNCTION");
    let message = info["errorInformation"]["message"].as_str().unwrap();
    assert!(message.contains("sends traffic to version 7"), "{message}");
}

#[tokio::test]
async fn configurations_of_users_move_aliases_too() {
    let world = world("CodeDeployDefault.LambdaAllAtOnce").await;
    let made = json!({
        "deploymentConfigName": "careful",
        "computePlatform": "Lambda",
        "trafficRoutingConfig": {
            "type": "TimeBasedLinear",
            "timeBasedLinear": { "linearPercentage": 40, "linearInterval": 2 },
        },
    });
    world.ok(Api::create_deployment_config, made.clone()).await;
    let shown = json!({ "deploymentConfigName": "careful" });
    let shown = world.ok(Api::get_deployment_config, shown).await["deploymentConfigInfo"].take();
    assert_eq!(shown["trafficRoutingConfig"], made["trafficRoutingConfig"], "{shown:#}");
    assert_eq!(shown["computePlatform"], "Lambda");
    let mut body = deployment(SPEC);
    body["deploymentConfigName"] = "careful".into();
    let answer = world.ok(Api::create_deployment, body).await;
    let id = answer["deploymentId"].as_str().unwrap();
    world.advance(id).await;
    say(&world, id, "Succeeded").await;
    let mut seen = vec![percent(&world)];
    for _ in 0..3 {
        world.pass_ms(120_000);
        world.advance(id).await;
        seen.push(percent(&world));
    }
    assert_eq!(seen, [40, 80, 100, 100]);
}

fn in_bucket(key: &str, bundle_type: &str) -> Value {
    let mut body = deployment("");
    let place = json!({ "bucket": "revisions", "key": key, "bundleType": bundle_type });
    body["revision"] = json!({ "revisionType": "S3", "s3Location": place });
    body
}

#[tokio::test]
async fn an_app_spec_in_a_bucket_is_read_before_it_is_accepted() {
    let world = world("CodeDeployDefault.LambdaAllAtOnce").await;
    let refused =
        async |key, kind| world.refused(Api::create_deployment, in_bucket(key, kind)).await;
    assert_eq!(refused("orders.json", "JSON").await, "RevisionDoesNotExist");
    assert_eq!(refused("orders.zip", "zip").await, "InvalidRevision");
    world.put_spec("orders.json", &SPEC.replace("\"Alias\":\"live\",", ""));
    assert_eq!(refused("orders.json", "JSON").await, "InvalidRevision");

    world.put_spec("orders.json", SPEC);
    let answer = world.ok(Api::create_deployment, in_bucket("orders.json", "JSON")).await;
    let id = answer["deploymentId"].as_str().unwrap();
    world.advance(id).await;
    say(&world, id, "Succeeded").await;
    say(&world, id, "Succeeded").await;
    let info = world.info(id).await;
    assert_eq!((&info["status"], percent(&world)), (&json!("Succeeded"), 100), "{info:#}");
    assert_eq!(info["revision"]["s3Location"]["key"], "orders.json");
    let listed =
        world.ok(Api::list_application_revisions, json!({ "applicationName": "orders" })).await;
    assert_eq!(listed["revisions"][0]["s3Location"]["bundleType"], "JSON", "{listed:#}");
    let group = json!({ "applicationName": "orders", "deploymentGroupName": "live" });
    let group = world.ok(Api::get_deployment_group, group).await["deploymentGroupInfo"].take();
    assert_eq!(group["lastSuccessfulDeployment"]["deploymentId"], id);
}

#[tokio::test]
async fn an_upload_of_an_app_spec_starts_a_deployment() {
    let world = world("CodeDeployDefault.LambdaAllAtOnce").await;
    let wanted = json!({
        "applicationName": "orders", "deploymentGroupName": "live", "bucket": "revisions", "prefix": "orders",
    });
    world.ok(Api::subscribe, wanted.clone()).await;
    let upload = async |key: &str, order: u64| {
        let uploaded = Uploaded {
            bucket: "revisions".into(),
            key: key.into(),
            identity: order.to_string(),
            order,
            rank: String::new(),
            version: None,
            e_tag: None,
            size: None,
        };
        world.control.revision_intake().take_upload(&uploaded).await.unwrap();
        let listed = json!({ "applicationName": "orders", "deploymentGroupName": "live" });
        world.ok(Api::list_deployments, listed).await["deployments"].take()
    };
    world.put_spec("orders-1.yml", "version: 0.0\nResources: []\n");
    assert_eq!(upload("orders-1.yml", 1).await, json!([]), "it is no AppSpec of a function");
    world.put_spec("orders-2.json", SPEC);
    let started = upload("orders-2.json", 2).await;
    let id = started[0].as_str().unwrap();
    world.advance(id).await;
    say(&world, id, "Succeeded").await;
    assert_eq!(percent(&world), 100);
}
