//! Ladders, people in charge, balancers, and whose target groups are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use control::ports::{
    Alarms, BalancerAdmin, BalancerError, Balancers, Pair, Reading, Standing, Traffic,
};
use control::rows::TrafficClaim;
use engine::DeploymentId;
use serde_json::{Value, json};
use wire::cutover::{AddBalancer, BalancerInfo, TargetGroupStatus};

use super::world::{World, deployment, group};

/// Balancers that do as they are asked at once, and an alarm that fires when a test says so.
#[derive(Default)]
struct Fake {
    /// Whether hosts keep the traffic that they have.
    holds: AtomicBool,
    kept: Mutex<BTreeMap<String, BalancerInfo>>,
    out: Mutex<BTreeSet<String>>,
    fires: AtomicBool,
}

#[async_trait]
impl BalancerAdmin for Fake {
    async fn add(&self, balancer: &AddBalancer) -> Result<BalancerInfo, BalancerError> {
        let name = balancer.name.clone().unwrap();
        let of_group = |group: &String| TargetGroupStatus {
            name: Some(format!("home:{group}")),
            ..TargetGroupStatus::default()
        };
        let groups = balancer.target_groups.as_ref();
        let info = BalancerInfo {
            name: Some(name.clone()),
            target_port: balancer.target_port,
            target_groups: groups.map(|groups| groups.iter().map(of_group).collect()),
            ..BalancerInfo::default()
        };
        let known = self.kept.lock().unwrap().insert(name.clone(), info.clone());
        match known {
            Some(known) if known != info => {
                let message = "it has other settings: remove it first".to_owned();
                Err(BalancerError::Refused { name, message })
            }
            Some(_) | None => Ok(info),
        }
    }

    async fn list(&self) -> Vec<BalancerInfo> {
        self.kept.lock().unwrap().values().cloned().collect()
    }

    async fn remove(&self, name: &str) -> Result<(), BalancerError> {
        let removed = self.kept.lock().unwrap().remove(name);
        let (name, message) = (name.to_owned(), "there is no such balancer".to_owned());
        removed.map(drop).ok_or(BalancerError::Refused { name, message })
    }

    fn read_by(&self, alarm: &str) -> Option<String> {
        Some(alarm.strip_prefix("home:")?.split_once(' ')?.0.to_owned())
    }
}

#[async_trait]
impl Balancers for Fake {
    async fn check(&self, _: &str) -> Result<(), BalancerError> {
        Ok(())
    }

    async fn admit(&self, _: &str, host: &str, _: &DeploymentId) -> Result<(), BalancerError> {
        self.out.lock().unwrap().remove(host);
        Ok(())
    }

    async fn drain(&self, _: &str, hosts: &[String]) -> Result<(), BalancerError> {
        self.out.lock().unwrap().extend(hosts.iter().cloned());
        Ok(())
    }

    async fn standing(
        &self,
        _: &str,
        hosts: &[String],
    ) -> Result<BTreeMap<String, Standing>, BalancerError> {
        let out = self.out.lock().unwrap();
        let standing = |host: &String| {
            let held = self.holds.load(Ordering::SeqCst);
            let standing = match out.contains(host) {
                true if held => Standing::Draining,
                true => Standing::Out,
                false => Standing::In,
            };
            (host.clone(), standing)
        };
        Ok(hosts.iter().map(standing).collect())
    }

    async fn split(&self, _: &Pair, _: u8) -> Result<(), BalancerError> {
        Ok(())
    }

    async fn percent(&self, _: &Pair) -> Result<u8, BalancerError> {
        Ok(0)
    }
}

#[async_trait]
impl Alarms for Fake {
    async fn read(&self, alarms: &[String], _: &DeploymentId) -> Vec<Reading> {
        let fires = self.fires.load(Ordering::SeqCst);
        alarms.iter().map(|_| if fires { Reading::Firing } else { Reading::Quiet }).collect()
    }

    async fn notes(&self, alarms: &[String], _: &DeploymentId) -> Vec<Option<String>> {
        let note = |alarm: &String| alarm.contains("worse").then(|| "undecided".to_owned());
        alarms.iter().map(note).collect()
    }
}

/// A world with an application and its group `web` of two instances, and with traffic.
async fn world() -> (World, Arc<Fake>) {
    let fake = Arc::new(Fake::default());
    let mut world = World::new();
    world.control.balancer_admin = Some(fake.clone());
    world.traffic(Traffic { balancers: fake.clone(), alarms: fake.clone(), ..Traffic::none() });
    world.ok("CreateApplication", json!({ "applicationName": "shop" })).await;
    world.ok("CreateDeploymentGroup", group("web")).await;
    for name in ["web-1", "web-2"] {
        world.register(name).await;
    }
    (world, fake)
}

const CREATE: &str = "Cutover_v1.CreateLadder";
const STEER: &str = "Cutover_v1.SteerDeployment";
const ADD: &str = "Cutover_v1.AddBalancer";
const REMOVE: &str = "Cutover_v1.RemoveBalancer";

fn ladder(steps: &str) -> Value {
    json!({ "deploymentConfigName": "canary", "steps": steps })
}

async fn update(world: &World, mut change: Value) {
    change["applicationName"] = "shop".into();
    change["currentDeploymentGroupName"] = "web".into();
    world.ok("UpdateDeploymentGroup", change).await;
}

async fn progress(world: &World, id: &str) -> Value {
    world.ok("Cutover_v1.GetProgress", json!({ "deploymentId": id })).await
}

fn wish(id: &str, wish: &str) -> Value {
    json!({ "deploymentId": id, "wish": wish })
}

/// Says what is wanted of a deployment, and lets it hear of it.
async fn steer(world: &World, id: &str, what: &str) -> Value {
    world.ok(STEER, wish(id, what)).await;
    world.advance(id).await;
    progress(world, id).await
}

#[tokio::test]
async fn a_ladder_is_a_configuration_of_its_own() {
    let (world, _) = world().await;
    let id = world.ok(CREATE, ladder("1 host@1m,100%")).await;
    assert!(id["deploymentConfigId"].is_string());
    assert_eq!(world.refused(CREATE, ladder("100%")).await, "DeploymentConfigAlreadyExists");
    let listed = world.ok("ListDeploymentConfigs", json!({})).await;
    let listed = listed["deploymentConfigsList"].as_array().unwrap();
    assert!(listed.contains(&json!("canary")), "{listed:?}");
    let named = json!({ "deploymentConfigName": "canary" });
    let config = world.ok("GetDeploymentConfig", named.clone()).await;
    let minimum = &config["deploymentConfigInfo"]["minimumHealthyHosts"];
    assert_eq!(minimum, &json!({ "type": "FLEET_PERCENT", "value": 50 }));
    world.ok("DeleteDeploymentConfig", named).await;
    for (steps, refusal) in [
        ("10%", "InvalidTrafficRoutingConfiguration"),
        ("20%,10%,100%", "InvalidTrafficRoutingConfiguration"),
        ("soon", "InvalidTrafficRoutingConfiguration"),
        ("", "Validation"),
    ] {
        assert_eq!(world.refused(CREATE, ladder(steps)).await, refusal, "{steps}");
    }
    let mut named = ladder("100%");
    named["deploymentConfigName"] = "CodeDeployDefault.Mine".into();
    assert_eq!(world.refused(CREATE, named).await, "InvalidDeploymentConfigName");
    assert_eq!(
        world.refused(CREATE, json!({ "steps": "100%" })).await,
        "DeploymentConfigNameRequired"
    );
}

#[tokio::test]
async fn people_pause_resume_skip_and_promote_and_progress_says_so() {
    let (world, _) = world().await;
    world.ok(CREATE, ladder("1 host@1m,100%@1m")).await;
    update(&world, json!({ "deploymentConfigName": "canary" })).await;
    let id = world.deploy("v1").await;
    let found = progress(&world, &id).await;
    assert_eq!(found["steps"], json!(["1 host@1m", "100%@1m"]));
    assert_eq!((&found["stepsDone"], &found["paused"]), (&json!(0), &json!(false)));
    assert!(found["bakingUntil"].is_null() && found["alarms"].is_null(), "{found}");
    assert_eq!(world.refused(STEER, wish(&id, "SkipBake")).await, "InvalidDeploymentStatus");

    world.work("web-1", "Succeeded").await;
    let found = progress(&world, &id).await;
    assert_eq!(found["bakingUntil"], 1_800_000_060.0, "{found}");
    assert_eq!(steer(&world, &id, "Pause").await["paused"], true);
    world.pass_ms(120_000);
    world.advance(&id).await;
    assert_eq!(progress(&world, &id).await["stepsDone"], 0, "paused, it climbs no further");
    let found = steer(&world, &id, "Resume").await;
    assert_eq!((&found["stepsDone"], &found["paused"]), (&json!(0), &json!(false)));
    assert_eq!(
        found["bakingUntil"], 1_800_000_180.0,
        "it bakes for the minute that it was paused in: {found}"
    );
    world.pass_ms(60_000);
    world.advance(&id).await;
    assert_eq!(progress(&world, &id).await["stepsDone"], 1);
    world.work("web-2", "Succeeded").await;
    assert!(progress(&world, &id).await["bakingUntil"].is_number());
    let found = steer(&world, &id, "SkipBake").await;
    assert_eq!((&found["stepsDone"], &found["bakingUntil"]), (&json!(2), &Value::Null));
    assert_eq!(world.info(&id).await["status"], "Succeeded");

    let second = world.deploy("v2").await;
    steer(&world, &second, "Pause").await;
    let found = steer(&world, &second, "Promote").await;
    assert_eq!((&found["promoted"], &found["paused"]), (&json!(true), &json!(false)));
    for what in ["Pause", "Promote"] {
        assert_eq!(world.refused(STEER, wish(&id, what)).await, "DeploymentAlreadyCompleted");
    }
    let config = json!({ "deploymentConfigName": "CodeDeployDefault.AllAtOnce" });
    update(&world, config).await;
    world.ok("StopDeployment", json!({ "deploymentId": second })).await;
    world.advance(&second).await;
    let third = world.deploy("v3").await;
    let no_steps = world.refused(STEER, wish(&third, "Promote")).await;
    assert_eq!(no_steps, "InvalidDeploymentStatus", "there is nothing to promote it past");
    steer(&world, &third, "Pause").await;
    for what in ["", "pause", "Abort"] {
        assert_eq!(world.refused(STEER, wish(&id, what)).await, "Validation", "{what}");
    }
    let nobody = "d-NOSUCHONE";
    assert_eq!(world.refused(STEER, wish(nobody, "Pause")).await, "DeploymentDoesNotExist");
    let asked = json!({ "deploymentId": nobody });
    assert_eq!(world.refused("Cutover_v1.GetProgress", asked).await, "DeploymentDoesNotExist");
    let refusal = world.refused("Cutover_v1.GetProgress", json!({})).await;
    assert_eq!(refusal, "DeploymentIdRequired");
}

#[tokio::test]
async fn traffic_that_moves_all_together_does_not_go_zone_by_zone() {
    let (world, _) = world().await;
    let create = json!({
        "deploymentConfigName": "by-zone",
        "minimumHealthyHosts": { "type": "HOST_COUNT", "value": 0 },
        "zonalConfig": { "monitorDurationInSeconds": 60 },
    });
    world.ok("CreateDeploymentConfig", create).await;
    let change = json!({
        "deploymentConfigName": "by-zone",
        "deploymentStyle": {
            "deploymentType": "BLUE_GREEN", "deploymentOption": "WITH_TRAFFIC_CONTROL",
        },
        "loadBalancerInfo": balancers(&["home:one", "home:two"]),
    });
    update(&world, change).await;
    let (_, answer) = world.call("CreateDeployment", deployment("v1")).await;
    assert_eq!(answer["__type"], "InvalidDeploymentConfigNameException", "{answer}");
    let message = answer["message"].as_str().unwrap();
    assert!(message.contains("Choose one without `zonalConfig`"), "{message}");
}

#[tokio::test]
async fn progress_tells_what_watches_what_it_says_and_what_fired() {
    let (world, fake) = world().await;
    let alarms = json!([{ "name": "home:web errors worse than baseline" }, { "name": "other" }]);
    let change = json!({
        "deploymentConfigName": "CodeDeployDefault.OneAtATime",
        "alarmConfiguration": { "enabled": true, "alarms": alarms },
        "autoRollbackConfiguration": { "enabled": true, "events": ["DEPLOYMENT_STOP_ON_ALARM"] },
        "deploymentStyle": {
            "deploymentType": "IN_PLACE", "deploymentOption": "WITH_TRAFFIC_CONTROL",
        },
        "loadBalancerInfo": { "targetGroupInfoList": [{ "name": "home:web" }] },
    });
    update(&world, change).await;
    let id = world.deploy("v1").await;
    let found = progress(&world, &id).await;
    let names = json!(["home:web errors worse than baseline", "other"]);
    assert_eq!(found["alarms"], names);
    let note = json!({ "alarm": "home:web errors worse than baseline", "note": "undecided" });
    assert_eq!(found["alarmNotes"], json!([note]));
    world.claim("web-1").await;
    fake.fires.store(true, Ordering::SeqCst);
    world.pass_ms(10_000);
    world.advance(&id).await;
    let found = progress(&world, &id).await;
    assert_eq!(found["activatedAlarms"], names);
    assert!(found["alarmTime"].is_number() && found["trafficBackTime"].is_number(), "{found}");
    assert_eq!(*fake.out.lock().unwrap(), BTreeSet::from(["web-1".to_owned()]));
}

#[tokio::test]
async fn a_host_is_looked_at_less_often_the_longer_it_waits() {
    let (world, fake) = world().await;
    fake.holds.store(true, Ordering::SeqCst);
    let change = json!({
        "deploymentStyle": {
            "deploymentType": "IN_PLACE", "deploymentOption": "WITH_TRAFFIC_CONTROL",
        },
        "loadBalancerInfo": { "targetGroupInfoList": [{ "name": "home:web" }] },
    });
    update(&world, change).await;
    world.deploy("v1").await;
    let (token, mut report) = world.claim("web-1").await;
    report["events"] = json!([{ "event": "BlockTraffic", "status": "InProgress" }]);
    let mut again = Vec::new();
    for (sequence, passed_ms) in [(2, 0), (3, 2_000), (4, 28_000), (5, 300_000)] {
        world.pass_ms(passed_ms);
        report["sequence"] = sequence.into();
        let (_, answer) = world.host("report", &token, report.clone()).await;
        assert_eq!(answer["traffic"]["done"], false, "{answer}");
        again.push(answer["traffic"]["againAfterMs"].as_u64().unwrap());
    }
    assert_eq!(again, [2_000, 2_000, 6_000, 10_000]);
    fake.holds.store(false, Ordering::SeqCst);
    report["sequence"] = 6.into();
    let (_, answer) = world.host("report", &token, report.clone()).await;
    assert_eq!(answer["traffic"]["done"], true, "{answer}");
}

#[tokio::test]
async fn balancers_are_added_listed_and_removed() {
    let (world, _) = world().await;
    let list = async || world.ok("Cutover_v1.ListBalancers", json!({})).await["balancers"].take();
    assert_eq!(list().await, json!([]));
    let web = json!({ "name": "web", "targetPort": 8080 });
    let added = world.ok(ADD, web.clone()).await;
    assert_eq!(added["balancer"], web);
    assert_eq!(world.ok(ADD, web.clone()).await, added);
    assert_eq!(list().await, json!([web]));
    let other = json!({ "name": "web", "targetPort": 9090 });
    assert_eq!(world.refused(ADD, other).await, "InvalidLoadBalancerInfo");
    for incomplete in [json!({ "name": "web" }), json!({ "targetPort": 1 })] {
        assert_eq!(world.refused(ADD, incomplete).await, "Validation");
    }
    world.ok(REMOVE, json!({ "name": "web" })).await;
    let again = world.refused(REMOVE, json!({ "name": "web" })).await;
    assert_eq!(again, "InvalidLoadBalancerInfo", "it is not there any more");
    assert_eq!(list().await, json!([]));
    assert_eq!(world.refused(REMOVE, json!({})).await, "Validation");

    let none = World::with_group().await;
    assert_eq!(none.refused(ADD, web).await, "InvalidOperation");
    assert_eq!(none.refused(REMOVE, json!({ "name": "web" })).await, "InvalidOperation");
    let listed = none.ok("Cutover_v1.ListBalancers", json!({})).await;
    assert_eq!(listed["balancers"], json!([]));
}

#[tokio::test]
async fn a_balancer_that_a_group_names_is_not_removed_and_it_is_said_which_and_what_to_type() {
    let (world, _) = world().await;
    let remove = json!({ "name": "web" });
    for (name, target_group) in [("one", "home:blue"), ("two", "home:elsewhere")] {
        world.ok("CreateDeploymentGroup", balanced(name, &[target_group])).await;
    }
    let watched = json!({ "enabled": true, "alarms": [{ "name": "home:web error_rate>5%" }] });
    update(&world, json!({ "alarmConfiguration": watched })).await;
    let web = json!({ "name": "web", "targetPort": 8080, "targetGroups": ["blue", "green"] });
    world.ok(ADD, web).await;
    let refusal = async || {
        let (status, answer) = world.call(REMOVE, remove.clone()).await;
        assert_eq!(status, 400, "{answer}");
        answer["message"].as_str().unwrap().to_owned()
    };
    let message = refusal().await;
    assert!(message.contains("deployment group `shop/one` get"), "{message}");
    assert!(message.contains("`cutover init shop/one --no-balancer`"), "{message}");
    let none = json!({ "applicationName": "shop", "currentDeploymentGroupName": "one", "loadBalancerInfo": balancers(&[]) });
    world.ok("UpdateDeploymentGroup", none).await;
    let message = refusal().await;
    assert!(message.contains("deployment group `shop/web` have alarms"), "{message}");
    assert!(message.contains("`cutover init shop/web --no-alarm`"), "{message}");
    update(&world, json!({ "alarmConfiguration": { "enabled": false, "alarms": [] } })).await;
    world.ok(REMOVE, remove).await;
}

/// A group with these target groups.
fn balanced(name: &str, target_groups: &[&str]) -> Value {
    let mut body = group(name);
    body["loadBalancerInfo"] = balancers(target_groups);
    body
}

fn balancers(target_groups: &[&str]) -> Value {
    let list: Vec<Value> = target_groups.iter().map(|name| json!({ "name": name })).collect();
    json!({ "targetGroupInfoList": list })
}

#[tokio::test]
async fn a_target_group_belongs_to_one_deployment_group() {
    let world = World::with_group().await;
    let create = "CreateDeploymentGroup";
    world.ok(create, balanced("one", &["home:a", "haproxy:web/blue-"])).await;
    for taken in ["home:a", "haproxy:web", "haproxy:web/green-"] {
        let (status, answer) = world.call(create, balanced("two", &[taken])).await;
        assert_eq!(
            (status.as_u16(), &answer["__type"]),
            (400, &json!("InvalidLoadBalancerInfoException"))
        );
        let message = answer["message"].as_str().unwrap();
        assert!(
            message.contains("the deployment group `one` of the application `shop`"),
            "{message}"
        );
    }
    let twice = balanced("two", &["home:b", "home:b"]);
    assert_eq!(world.refused(create, twice).await, "InvalidLoadBalancerInfo");
    world.ok(create, balanced("two", &["home:b", "a/b", "a/c"])).await;

    // What a group does not name any more is free, and what it keeps is its own.
    let change = |group: &str, target_groups: &[&str]| {
        json!({
            "applicationName": "shop",
            "currentDeploymentGroupName": group,
            "loadBalancerInfo": balancers(target_groups),
        })
    };
    let update = "UpdateDeploymentGroup";
    let refused = world.refused(update, change("two", &["home:b", "home:a"])).await;
    assert_eq!(refused, "InvalidLoadBalancerInfo");
    world.ok(update, change("one", &["haproxy:web/blue-", "haproxy:web/green-"])).await;
    world.ok(update, change("two", &["home:b", "home:a"])).await;
    let rename = json!({
        "applicationName": "shop",
        "currentDeploymentGroupName": "two",
        "newDeploymentGroupName": "three",
    });
    world.ok(update, rename).await;
    assert_eq!(
        world.refused(create, balanced("two", &["home:a"])).await,
        "InvalidLoadBalancerInfo"
    );
    let delete = json!({ "applicationName": "shop", "deploymentGroupName": "three" });
    world.ok("DeleteDeploymentGroup", delete).await;
    world.ok(create, balanced("two", &["home:a", "home:b"])).await;

    // A claim without its group is nobody's.
    let orphan =
        TrafficClaim { name: "home:c".into(), group_id: engine::GroupId::from_random([7; 16]) };
    let write = control::rows::create(&orphan).unwrap();
    world.control.base.table.write(&[write]).await.unwrap();
    world.ok(update, change("web", &["home:c"])).await;
    world.ok("DeleteApplication", json!({ "applicationName": "shop" })).await;
    assert_eq!(world.table.keys(), World::new().table.keys());
}

#[tokio::test]
async fn of_groups_that_name_a_target_group_at_once_one_is_made() {
    let world = World::with_group().await;
    let calls = (0..8).map(|n| {
        let world = &world;
        async move {
            let body = balanced(&format!("group-{n}"), &["home:a"]);
            world.call("CreateDeploymentGroup", body).await
        }
    });
    let answers = futures::future::join_all(calls).await;
    let made = answers.iter().filter(|(status, _)| *status == 200).count();
    assert_eq!(made, 1, "{answers:?}");
}

#[tokio::test]
async fn the_listener_of_a_pair_belongs_to_one_deployment_group() {
    let world = World::with_group().await;
    let listener =
        |n: u8| format!("arn:aws:elasticloadbalancing:eu-central-1:1:listener/app/x/1/{n}");
    let paired = |name: &str, groups: [&str; 2], number: u8| {
        let mut body = group(name);
        let groups = groups.map(|name| json!({ "name": name }));
        body["loadBalancerInfo"] = json!({ "targetGroupPairInfoList": [{
            "targetGroups": groups,
            "prodTrafficRoute": { "listenerArns": [listener(number)] },
        }] });
        body
    };
    let create = "CreateDeploymentGroup";
    world.ok(create, paired("one", ["a", "b"], 1)).await;
    for body in [paired("two", ["c", "d"], 1), paired("two", ["c", "a"], 2)] {
        assert_eq!(world.refused(create, body).await, "InvalidLoadBalancerInfo");
    }
    world.ok(create, paired("two", ["c", "d"], 2)).await;
}
