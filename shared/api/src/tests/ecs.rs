//! Deployments of ECS services: new tasks beside the old ones, their test traffic, the shift, and the end of one side.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use control::ports::{
    BalancerError, Balancers, Pair, Service, ServiceError, Services, Standing, Traffic,
};
use engine::DeploymentId;
use engine::deployment::TaskSet;
use serde_json::{Value, json};

use super::world::{Functions, World};

const SPEC: &str = r#"{"version":0.0,"Resources":[{"TargetService":{"Type":"AWS::ECS::Service","Properties":
    {"TaskDefinition":"shop:7","LoadBalancerInfo":{"ContainerName":"shop","ContainerPort":80}}}}],
    "Hooks":[{"AfterAllowTestTraffic":"probe"}]}"#;

/// A service whose tasks run when a test says so, and the weights of its listeners.
#[derive(Default)]
struct Ecs {
    /// The deployment of the tasks in each target group.
    tasks: Mutex<BTreeMap<u8, String>>,
    primary: Mutex<u8>,
    running: Mutex<u32>,
    /// How much of a listener's traffic `green` has, in percent.
    green: Mutex<BTreeMap<String, u8>>,
    controller: Mutex<Option<String>>,
    failing: Mutex<Option<String>>,
    /// Whether the end of tasks is never confirmed.
    stuck: Mutex<bool>,
    /// The target group that a rule of somebody else's sends traffic to.
    elsewhere: Mutex<Option<&'static str>>,
}

#[async_trait]
impl Services for Ecs {
    async fn check(&self, service: &Service) -> Result<(), ServiceError> {
        let name = service.name.clone();
        match self.controller.lock().unwrap().clone() {
            Some(message) => Err(ServiceError::Refused { name, message }),
            None => Ok(()),
        }
    }

    async fn bring_up(
        &self,
        service: &Service,
        side: u8,
        id: &DeploymentId,
    ) -> Result<Vec<TaskSet>, ServiceError> {
        if let Some(message) = self.failing.lock().unwrap().clone() {
            return Err(ServiceError::Failing { name: service.name.clone(), message });
        }
        let mut tasks = self.tasks.lock().unwrap();
        tasks.insert(side, id.to_string());
        let running = *self.running.lock().unwrap();
        let set = |known: u8| {
            let running = if known == side { running } else { 2 };
            let (pending, is_steady) = (2 - running, running == 2);
            TaskSet {
                id: format!("ecs-svc/{known}"),
                side: known,
                desired: 2,
                pending,
                running,
                is_steady,
            }
        };
        Ok(tasks.keys().copied().map(set).collect())
    }

    async fn keep_only(&self, _: &Service, kept: u8) -> Result<bool, ServiceError> {
        *self.primary.lock().unwrap() = kept;
        self.tasks.lock().unwrap().retain(|side, _| *side == kept);
        Ok(!*self.stuck.lock().unwrap())
    }
}

#[async_trait]
impl Balancers for Ecs {
    async fn check(&self, _: &str) -> Result<(), BalancerError> {
        Ok(())
    }

    async fn admit(&self, name: &str, _: &str, _: &DeploymentId) -> Result<(), BalancerError> {
        Err(BalancerError::Unknown { name: name.to_owned(), hint: "tasks admit themselves".into() })
    }

    async fn drain(&self, name: &str, _: &[String]) -> Result<(), BalancerError> {
        Err(BalancerError::Unknown { name: name.to_owned(), hint: "tasks drain themselves".into() })
    }

    async fn standing(
        &self,
        _: &str,
        _: &[String],
    ) -> Result<BTreeMap<String, Standing>, BalancerError> {
        Ok(BTreeMap::new())
    }

    async fn split(&self, pair: &Pair, percent: u8) -> Result<(), BalancerError> {
        let green = if pair.new == "green" { percent } else { 100 - percent };
        self.green.lock().unwrap().insert(pair.listener.clone().unwrap(), green);
        Ok(())
    }

    async fn percent(&self, pair: &Pair) -> Result<u8, BalancerError> {
        let green = self.green.lock().unwrap();
        let green = green.get(pair.listener.as_ref().unwrap()).copied().unwrap_or(0);
        Ok(if pair.new == "green" { green } else { 100 - green })
    }

    async fn senders(&self, group: &str) -> Result<Vec<String>, BalancerError> {
        let elsewhere = *self.elsewhere.lock().unwrap();
        let of_group = elsewhere.filter(|of| *of == group);
        Ok(of_group.into_iter().map(|_| "a rule for /old/*".to_owned()).collect())
    }
}

impl Ecs {
    fn green(&self, listener: &str) -> Option<u8> {
        self.green.lock().unwrap().get(listener).copied()
    }

    fn sides(&self) -> Vec<u8> {
        self.tasks.lock().unwrap().keys().copied().collect()
    }
}

fn group(name: &str, service: &str, test: bool) -> Value {
    let route = |listener: &str| json!({ "listenerArns": [listener] });
    let mut pair = json!({
        "targetGroups": [{ "name": "blue" }, { "name": "green" }],
        "prodTrafficRoute": route("front"),
    });
    if test {
        pair["testTrafficRoute"] = route("test");
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

async fn world(test: bool) -> (World, Arc<Ecs>, Arc<Functions>) {
    let ecs = Arc::new(Ecs { running: Mutex::new(2), ..Ecs::default() });
    ecs.tasks.lock().unwrap().insert(0, "by hand".to_owned());
    let mut world = World::new();
    let functions = Arc::clone(&world.functions);
    world.traffic(Traffic {
        services: ecs.clone(),
        balancers: ecs.clone(),
        functions: functions.clone(),
        ..Traffic::none()
    });
    let application = json!({ "applicationName": "orders", "computePlatform": "ECS" });
    world.ok("CreateApplication", application).await;
    world.ok("CreateDeploymentGroup", group("live", "shop", test)).await;
    (world, ecs, functions)
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
    let answer = world.ok("CreateDeployment", deployment(spec)).await;
    let id = answer["deploymentId"].as_str().unwrap().to_owned();
    world.advance(&id).await;
    id
}

async fn later(world: &World, id: &str, ms: u64) {
    world.pass_ms(ms);
    world.advance(id).await;
}

async fn probe_says(world: &World, functions: &Functions, id: &str, status: &str) {
    let (called, payload) = functions.calls.lock().unwrap().last().unwrap().clone();
    assert_eq!(called, "probe");
    let payload: Value = serde_json::from_str(&payload).unwrap();
    let body = json!({
        "deploymentId": id,
        "lifecycleEventHookExecutionId": payload["LifecycleEventHookExecutionId"],
        "status": status,
    });
    world.ok("PutLifecycleEventHookExecutionStatus", body).await;
    world.advance(id).await;
    later(world, id, 30_000).await;
}

async fn target(world: &World, id: &str) -> Value {
    let body = json!({ "deploymentId": id, "targetId": "main:shop" });
    world.ok("GetDeploymentTarget", body).await["deploymentTarget"]["ecsTarget"].take()
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
    let (world, ecs, functions) = world(true).await;
    *ecs.running.lock().unwrap() = 1;
    let id = deploy(&world).await;
    let progress = async || world.ok("Cutover_v1.GetProgress", json!({ "deploymentId": id })).await;
    let found = progress().await;
    assert_eq!(found["stage"], "Install", "{found:#}");
    assert_eq!((&found["runningTasks"], &found["desiredTasks"]), (&json!(1), &json!(2)));
    assert_eq!(
        ecs.green("front"),
        Some(0),
        "a target group without a listener finds nobody healthy"
    );
    *ecs.running.lock().unwrap() = 2;
    later(&world, &id, 5_000).await;
    assert_eq!((ecs.green("test"), ecs.green("front")), (Some(100), Some(0)));
    probe_says(&world, &functions, &id, "Succeeded").await;
    assert_eq!(ecs.green("front"), Some(10));
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

    later(&world, &id, 300_000).await;
    assert_eq!(ecs.green("front"), Some(100));
    assert_eq!(ecs.sides(), [0, 1], "what had the traffic is kept for two minutes");
    assert_eq!(progress().await["stage"], "TerminationWait");
    later(&world, &id, 120_000).await;
    assert_eq!((ecs.sides(), *ecs.primary.lock().unwrap()), (vec![1], 1));
    let info = world.info(&id).await;
    assert_eq!((&info["status"], &info["computePlatform"]), (&json!("Succeeded"), &json!("ECS")));

    // What had the traffic is gone: a way back is a deployment of what was before, and there is none.
    let back = json!({ "deploymentId": id });
    assert_eq!(world.refused("Cutover_v1.RollBackDeployment", back).await, "RevisionDoesNotExist");
    // Of the same AppSpec, a way back would be to itself.
    let next = deploy_spec(&world, &SPEC.replace("shop:7", "shop:8")).await;
    assert_eq!(ecs.green("test"), Some(0), "the other target group is the new one now");
    probe_says(&world, &functions, &next, "Succeeded").await;
    later(&world, &next, 300_000).await;
    later(&world, &next, 120_000).await;
    assert_eq!((ecs.sides(), ecs.green("front")), (vec![0], Some(0)));
    let back = world.ok("Cutover_v1.RollBackDeployment", json!({ "deploymentId": next })).await;
    let back = back["deploymentId"].as_str().unwrap();
    world.advance(back).await;
    assert_eq!(ecs.tasks.lock().unwrap()[&1], back, "it brings up what was before");
}

#[tokio::test]
async fn what_was_stopped_before_it_knew_where_the_traffic_is_is_rolled_back_by_new_tasks() {
    let (world, ecs, _) = world(false).await;
    let id = deploy(&world).await;
    for ms in [300_000, 120_000, 10_000] {
        later(&world, &id, ms).await;
    }
    assert_eq!((ecs.sides(), ecs.green("front")), (vec![1], Some(100)));
    let spec = SPEC.replace("shop:7", "shop:8");
    let next = world.ok("CreateDeployment", deployment(&spec)).await;
    let next = next["deploymentId"].as_str().unwrap();
    world.ok("StopDeployment", json!({ "deploymentId": next })).await;
    world.advance(next).await;
    assert_eq!(world.info(next).await["status"], "Stopped");
    let back = world.ok("Cutover_v1.RollBackDeployment", json!({ "deploymentId": next })).await;
    let back = back["deploymentId"].as_str().unwrap();
    world.advance(back).await;
    assert_eq!(ecs.tasks.lock().unwrap()[&0], back, "it brings up what was before");
}

#[tokio::test]
async fn a_probe_that_fails_leaves_the_traffic_and_takes_the_new_tasks_away() {
    let (world, ecs, functions) = world(true).await;
    let id = deploy(&world).await;
    probe_says(&world, &functions, &id, "Failed").await;
    let info = world.info(&id).await;
    assert_eq!(info["status"], "Failed", "{info:#}");
    assert_eq!(info["errorInformation"]["code"], "HOOK_EXECUTION_FAILURE");
    assert_eq!((ecs.green("front"), ecs.green("test")), (Some(0), Some(0)));
    assert_eq!((ecs.sides(), *ecs.primary.lock().unwrap()), (vec![0], 0));
}

#[tokio::test]
async fn a_stop_with_a_rollback_takes_the_traffic_back_before_the_tasks_go() {
    let (world, ecs, functions) = world(true).await;
    let id = deploy(&world).await;
    probe_says(&world, &functions, &id, "Succeeded").await;
    assert_eq!(ecs.green("front"), Some(10));
    world.ok("StopDeployment", json!({ "deploymentId": id, "autoRollbackEnabled": true })).await;
    world.advance(&id).await;
    later(&world, &id, 1_000).await;
    assert_eq!((ecs.green("front"), ecs.sides()), (Some(0), vec![0]));
    assert_eq!(world.info(&id).await["status"], "Stopped");
}

#[tokio::test]
async fn old_tasks_stay_as_long_as_any_rule_sends_them_traffic() {
    let (world, ecs, _) = world(false).await;
    *ecs.elsewhere.lock().unwrap() = Some("blue");
    let id = deploy(&world).await;
    later(&world, &id, 300_000).await;
    later(&world, &id, 120_000).await;
    later(&world, &id, 10_000).await;
    assert_eq!((ecs.green("front"), ecs.sides()), (Some(100), vec![0, 1]));
    assert_eq!(world.info(&id).await["status"], "InProgress");
    *ecs.elsewhere.lock().unwrap() = None;
    later(&world, &id, 10_000).await;
    assert_eq!(ecs.sides(), [1]);
    assert_eq!(world.info(&id).await["status"], "Succeeded");
}

#[tokio::test]
async fn traffic_that_moves_late_after_the_end_is_told() {
    let (world, ecs, _) = world(false).await;
    let id = deploy(&world).await;
    assert_eq!(ecs.green("front"), Some(10));
    world.ok("StopDeployment", json!({ "deploymentId": id, "autoRollbackEnabled": true })).await;
    world.advance(&id).await;
    later(&world, &id, 1_000).await;
    let messages = async || world.info(&id).await["deploymentStatusMessages"].clone();
    world.control.traffic_evaluator().sweep().await.unwrap();
    assert_eq!(messages().await, json!([]), "the traffic is where it was");
    ecs.green.lock().unwrap().insert("front".to_owned(), 10);
    world.pass_ms(60_000);
    world.control.traffic_evaluator().sweep().await.unwrap();
    let told = messages().await[0].as_str().unwrap().to_owned();
    assert!(told.contains("61 s later it had 10%") && told.contains(&id), "{told}");
    let next = deploy(&world).await;
    world.control.traffic_evaluator().sweep().await.unwrap();
    assert_ne!(next, id, "whose traffic it is now is looked at no more");
    ecs.green.lock().unwrap().insert("front".to_owned(), 40);
    world.control.traffic_evaluator().sweep().await.unwrap();
    assert_eq!(messages().await, json!([told]));
}

#[tokio::test]
async fn traffic_never_goes_back_by_hand_to_tasks_that_may_have_been_ended() {
    let (world, ecs, _) = world(false).await;
    *ecs.stuck.lock().unwrap() = true;
    let id = deploy(&world).await;
    later(&world, &id, 300_000).await;
    for _ in 0..50 {
        later(&world, &id, 10_000).await;
    }
    let info = world.info(&id).await;
    assert_eq!(info["errorInformation"]["code"], "ECS_UPDATE_ERROR", "{info:#}");
    assert_eq!((ecs.green("front"), ecs.sides()), (Some(100), vec![1]));
    let back = json!({ "deploymentId": id });
    assert_eq!(world.refused("Cutover_v1.RollBackDeployment", back).await, "RevisionDoesNotExist");
}

#[tokio::test]
async fn without_a_test_listener_there_are_six_events() {
    let (world, ecs, functions) = world(false).await;
    let id = deploy(&world).await;
    assert_eq!(ecs.green("front"), Some(10));
    assert!(functions.calls.lock().unwrap().is_empty(), "nothing was tried");
    let shown = target(&world, &id).await;
    assert_eq!(statuses(&shown).len(), 6);
    let listed = world.ok("ListDeploymentTargets", json!({ "deploymentId": id })).await;
    assert_eq!(listed["targetIds"], json!(["main:shop"]));
}

#[tokio::test]
async fn what_cannot_be_deployed_to_says_why() {
    let (world, ecs, _) = world(false).await;
    let message = "its deployment controller is `CODE_DEPLOY`".to_owned();
    *ecs.controller.lock().unwrap() = Some(message);
    let id = deploy(&world).await;
    let info = world.info(&id).await;
    assert_eq!(info["errorInformation"]["code"], "INVALID_ECS_SERVICE", "{info:#}");
    assert!(info["errorInformation"]["message"].as_str().unwrap().contains("CODE_DEPLOY"));
    *ecs.controller.lock().unwrap() = None;
    *ecs.failing.lock().unwrap() = Some("3 of them have stopped".to_owned());
    let id = deploy(&world).await;
    let info = world.info(&id).await;
    assert_eq!(info["errorInformation"]["code"], "ECS_UPDATE_ERROR", "{info:#}");
    assert_eq!(ecs.green("front"), Some(0));
}

#[tokio::test]
async fn settings_and_requests_that_do_not_fit_are_refused() {
    let (world, ..) = world(false).await;
    let create = "CreateDeploymentGroup";
    let mut twice = group("other", "shop", false);
    twice["loadBalancerInfo"]["targetGroupPairInfoList"] = json!([]);
    assert_eq!(world.refused(create, twice).await, "ECSServiceMappingLimitExceeded");
    let mut bare = group("other", "second", false);
    bare["loadBalancerInfo"] = json!({});
    world.ok(create, bare).await;
    let mut body = deployment(SPEC);
    body["deploymentGroupName"] = "other".into();
    assert_eq!(world.refused("CreateDeployment", body).await, "InvalidTargetGroupPair");
    for (member, value, refusal) in [
        ("fileExistsBehavior", json!("OVERWRITE"), "InvalidFileExistsBehavior"),
        ("updateOutdatedInstancesOnly", json!(true), "InvalidUpdateOutdatedInstancesOnlyValue"),
        ("targetInstances", json!({ "tagFilters": [] }), "InvalidTargetInstances"),
    ] {
        let mut body = deployment(SPEC);
        body[member] = value;
        assert_eq!(world.refused("CreateDeployment", body).await, refusal, "{member}");
    }
    let lambda = SPEC.replace("ECS::Service", "Lambda::Function");
    assert_eq!(world.refused("CreateDeployment", deployment(&lambda)).await, "InvalidRevision");
    let kept = json!({
        "applicationName": "orders",
        "currentDeploymentGroupName": "live",
        "blueGreenDeploymentConfiguration": {
            "terminateBlueInstancesOnDeploymentSuccess": { "action": "KEEP_ALIVE" },
        },
    });
    world.ok("UpdateDeploymentGroup", kept).await;
    let refused = world.refused("CreateDeployment", deployment(SPEC)).await;
    assert_eq!(refused, "InvalidBlueGreenDeploymentConfiguration");
}
