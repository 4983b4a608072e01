//! Deployments of Lambda functions: the alias moves between its hooks, which say how they went, and back.

use control::ports::{RequestMessage, Uploaded};
use engine::deployment::{Performer, Request};
use engine::lifecycle::Event;
use serde_json::{Value, json};
use wire::codedeploy::StopDeployment;

use super::world::World;

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
    let application = json!({ "applicationName": "orders", "computePlatform": "Lambda" });
    world.ok("CreateApplication", application).await;
    let group = json!({
        "applicationName": "orders",
        "deploymentGroupName": "live",
        "serviceRoleArn": "arn:aws:iam::123456789012:role/deployer",
        "deploymentConfigName": config,
    });
    world.ok("CreateDeploymentGroup", group).await;
    world
}

async fn deploy(world: &World) -> String {
    let answer = world.ok("CreateDeployment", deployment(SPEC)).await;
    let id = answer["deploymentId"].as_str().unwrap().to_owned();
    world.advance(&id).await;
    id
}

/// Says how the hook that was called last went.
async fn say(world: &World, id: &str, status: &str) -> (u16, Value) {
    let (_, payload) = world.functions.calls.lock().unwrap().last().unwrap().clone();
    let payload: Value = serde_json::from_str(&payload).unwrap();
    assert_eq!(payload["DeploymentId"], id);
    let body = json!({
        "deploymentId": id,
        "lifecycleEventHookExecutionId": payload["LifecycleEventHookExecutionId"],
        "status": status,
    });
    let (code, answer) = world.call("PutLifecycleEventHookExecutionStatus", body).await;
    world.advance(id).await;
    world.pass_ms(30_000);
    world.advance(id).await;
    (code.as_u16(), answer)
}

fn percent(world: &World) -> u8 {
    *world.functions.percent.lock().unwrap()
}

async fn target(world: &World, id: &str) -> Value {
    let body = json!({ "deploymentId": id, "targetId": "shop:live" });
    world.ok("GetDeploymentTarget", body).await["deploymentTarget"]["lambdaTarget"].take()
}

#[tokio::test]
async fn an_alias_moves_by_steps_between_its_hooks() {
    let world = world("CodeDeployDefault.LambdaCanary10Percent5Minutes").await;
    let id = deploy(&world).await;
    assert_eq!(world.functions.calls.lock().unwrap()[0].0, "check-before");
    assert_eq!(percent(&world), 0, "the hook has not said anything");
    assert_eq!(say(&world, &id, "Succeeded").await.0, 200);
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
    assert_eq!(world.functions.calls.lock().unwrap().len(), 2, "each hook is called once");
    assert_eq!(say(&world, &id, "Succeeded").await.0, 200);
    let info = world.info(&id).await;
    assert_eq!(info["status"], "Succeeded", "{info:#}");
    assert_eq!(info["computePlatform"], "Lambda");
    assert_eq!(info["revision"]["appSpecContent"]["content"], SPEC);

    let back = json!({ "deploymentId": id });
    let back = world.ok("Cutover_v1.RollBackDeployment", back).await;
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
    let refused = async |body| world.refused("PutLifecycleEventHookExecutionStatus", body).await;
    assert_eq!(refused(put("guessed", "Succeeded")).await, "InvalidLifecycleEventHookExecutionId");
    assert_eq!(refused(put("", "Succeeded")).await, "InvalidLifecycleEventHookExecutionId");
    assert_eq!(refused(put("x", "Skipped")).await, "InvalidLifecycleEventHookExecutionStatus");
    assert_eq!(percent(&world), 0);
    let (_, payload) = world.functions.calls.lock().unwrap()[0].clone();
    let payload: Value = serde_json::from_str(&payload).unwrap();
    let own = payload["LifecycleEventHookExecutionId"].as_str().unwrap();
    world.ok("PutLifecycleEventHookExecutionStatus", put(own, "Succeeded")).await;
    world.ok("PutLifecycleEventHookExecutionStatus", put(own, "Succeeded")).await;
    assert_eq!(refused(put(own, "Failed")).await, "LifecycleEventAlreadyCompleted");
}

#[tokio::test]
async fn a_stop_that_comes_while_the_alias_is_read_keeps_it_as_it_is() {
    let world = world("CodeDeployDefault.LambdaAllAtOnce").await;
    let id = deploy(&world).await;
    let (control, stopped) = (world.control.clone(), id.clone());
    *world.functions.at_reading.lock().unwrap() = Some(Box::pin(async move {
        let request = StopDeployment {
            deployment_id: Some(stopped.clone()),
            auto_rollback_enabled: Some(true),
        };
        control.operator_api().stop_deployment(&request).await.unwrap();
        control.deployment_stepper().refresh(&stopped.parse().unwrap()).await.unwrap();
    }));
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
    let answer = world.ok("CreateDeployment", deployment(SPEC)).await;
    let id = answer["deploymentId"].as_str().unwrap().to_owned();
    // While it is called, it is called anew, under another secret, and that call comes to nothing.
    *world.functions.lost_calls.lock().unwrap() = 1;
    let control = world.control.clone();
    let request = Request::RunHook { event: Event::BeforeAllowTraffic };
    let message = RequestMessage { deployment_id: id.parse().unwrap(), request };
    *world.functions.at_call.lock().unwrap() = Some(Box::pin(async move {
        assert!(control.take_request(Performer::TrafficEvaluator, &message).await.is_err());
    }));
    world.advance(&id).await;
    assert_eq!(world.functions.calls.lock().unwrap().len(), 1);
    world.pass_ms(30_000);
    world.advance(&id).await;
    assert_eq!(
        world.functions.calls.lock().unwrap().len(),
        2,
        "nobody knows the secret that counts"
    );
    assert_eq!(say(&world, &id, "Succeeded").await.0, 200);
    assert_eq!(percent(&world), 100);
}

#[tokio::test]
async fn what_cannot_be_deployed_is_refused_or_fails_with_its_reason() {
    let world = world("CodeDeployDefault.LambdaAllAtOnce").await;
    let same = SPEC.replace("\"TargetVersion\":\"2\"", "\"TargetVersion\":\"1\"");
    let (_, answer) = world.call("CreateDeployment", deployment(&same)).await;
    assert_eq!(answer["__type"], "InvalidRevisionException");
    assert!(answer["message"].as_str().unwrap().contains("is the `CurrentVersion`"), "{answer}");
    let mut wrong = deployment(SPEC);
    wrong["revision"]["appSpecContent"]["sha256"] = "ab".into();
    assert_eq!(world.refused("CreateDeployment", wrong).await, "InvalidRevision");
    let mut by_host = deployment(SPEC);
    let ladder = json!({ "deploymentConfigName": "by-host", "steps": "1 host@1m,100%" });
    world.ok("Cutover_v1.CreateLadder", ladder).await;
    by_host["deploymentConfigName"] = "by-host".into();
    assert_eq!(world.refused("CreateDeployment", by_host).await, "InvalidDeploymentConfigName");

    *world.functions.refused.lock().unwrap() = Some("the alias sends traffic to 7".to_owned());
    let id = deploy(&world).await;
    let info = world.info(&id).await;
    assert_eq!(info["status"], "Failed", "{info:#}");
    assert_eq!(info["errorInformation"]["code"], "INVALID_LAMBDA_FUNCTION");
    let message = info["errorInformation"]["message"].as_str().unwrap();
    assert!(message.contains("sends traffic to 7"), "{message}");
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
    world.ok("CreateDeploymentConfig", made.clone()).await;
    let shown = json!({ "deploymentConfigName": "careful" });
    let shown = world.ok("GetDeploymentConfig", shown).await["deploymentConfigInfo"].take();
    assert_eq!(shown["trafficRoutingConfig"], made["trafficRoutingConfig"], "{shown:#}");
    assert_eq!(shown["computePlatform"], "Lambda");
    let mut body = deployment(SPEC);
    body["deploymentConfigName"] = "careful".into();
    let answer = world.ok("CreateDeployment", body).await;
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
    let refused = async |key, kind| world.refused("CreateDeployment", in_bucket(key, kind)).await;
    assert_eq!(refused("orders.json", "JSON").await, "RevisionDoesNotExist");
    assert_eq!(refused("orders.zip", "zip").await, "InvalidRevision");
    world.put_spec("orders.json", &SPEC.replace("\"Alias\":\"live\",", ""));
    assert_eq!(refused("orders.json", "JSON").await, "InvalidRevision");

    world.put_spec("orders.json", SPEC);
    let answer = world.ok("CreateDeployment", in_bucket("orders.json", "JSON")).await;
    let id = answer["deploymentId"].as_str().unwrap();
    world.advance(id).await;
    say(&world, id, "Succeeded").await;
    say(&world, id, "Succeeded").await;
    let info = world.info(id).await;
    assert_eq!((&info["status"], percent(&world)), (&json!("Succeeded"), 100), "{info:#}");
    assert_eq!(info["revision"]["s3Location"]["key"], "orders.json");
    let listed = world.ok("ListApplicationRevisions", json!({ "applicationName": "orders" })).await;
    assert_eq!(listed["revisions"][0]["s3Location"]["bundleType"], "JSON", "{listed:#}");
    let group = json!({ "applicationName": "orders", "deploymentGroupName": "live" });
    let group = world.ok("GetDeploymentGroup", group).await["deploymentGroupInfo"].take();
    assert_eq!(group["lastSuccessfulDeployment"]["deploymentId"], id);
}

#[tokio::test]
async fn an_upload_of_an_app_spec_starts_a_deployment() {
    let world = world("CodeDeployDefault.LambdaAllAtOnce").await;
    let wanted = json!({
        "applicationName": "orders", "deploymentGroupName": "live", "bucket": "revisions", "prefix": "orders",
    });
    world.ok("Cutover_v1.Subscribe", wanted.clone()).await;
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
        world.ok("ListDeployments", listed).await["deployments"].take()
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
