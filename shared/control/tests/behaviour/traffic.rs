//! Ladders, people in charge, balancers, and whose target groups are.

use control::OperatorApi as Api;
use control::ports::Standing;
use control::rows::TrafficClaim;
use serde_json::{Value, json};

use crate::world::{World, deployment, group};

const HOME: &str = "home:web";

/// A world with an application and its group `web` of two instances, and with traffic.
async fn world() -> World {
    let mut world = World::new();
    world.add_own_balancers();
    world.ok(Api::create_application, json!({ "applicationName": "shop" })).await;
    world.ok(Api::create_deployment_group, group("web")).await;
    for name in ["web-1", "web-2"] {
        world.register(name).await;
        world.let_in(HOME, name);
    }
    world
}

fn ladder(steps: &str) -> Value {
    json!({ "deploymentConfigName": "canary", "steps": steps })
}

async fn update(world: &World, mut change: Value) {
    change["applicationName"] = "shop".into();
    change["currentDeploymentGroupName"] = "web".into();
    world.ok(Api::update_deployment_group, change).await;
}

fn wish(id: &str, wish: &str) -> Value {
    json!({ "deploymentId": id, "wish": wish })
}

/// Says what is wanted of a deployment, and lets it hear of it.
async fn steer(world: &World, id: &str, what: &str) -> Value {
    world.ok(Api::steer_deployment, wish(id, what)).await;
    world.advance(id).await;
    world.progress(id).await
}

#[tokio::test]
async fn a_ladder_is_a_configuration_of_its_own() {
    let world = world().await;
    let id = world.ok(Api::create_ladder, ladder("1 host@1m,100%")).await;
    assert!(id["deploymentConfigId"].is_string());
    assert_eq!(
        world.refused(Api::create_ladder, ladder("100%")).await,
        "DeploymentConfigAlreadyExists"
    );
    let listed = world.ok(Api::list_deployment_configs, json!({})).await;
    let listed = listed["deploymentConfigsList"].as_array().unwrap();
    assert!(listed.contains(&json!("canary")), "{listed:?}");
    let named = json!({ "deploymentConfigName": "canary" });
    let config = world.ok(Api::get_deployment_config, named.clone()).await;
    let minimum = &config["deploymentConfigInfo"]["minimumHealthyHosts"];
    assert_eq!(minimum, &json!({ "type": "FLEET_PERCENT", "value": 50 }));
    world.ok(Api::delete_deployment_config, named).await;
    for (steps, refusal) in [
        ("10%", "InvalidTrafficRoutingConfiguration"),
        ("20%,10%,100%", "InvalidTrafficRoutingConfiguration"),
        ("soon", "InvalidTrafficRoutingConfiguration"),
        ("", "Validation"),
    ] {
        assert_eq!(world.refused(Api::create_ladder, ladder(steps)).await, refusal, "{steps}");
    }
    let mut named = ladder("100%");
    named["deploymentConfigName"] = "CodeDeployDefault.Mine".into();
    assert_eq!(world.refused(Api::create_ladder, named).await, "InvalidDeploymentConfigName");
    assert_eq!(
        world.refused(Api::create_ladder, json!({ "steps": "100%" })).await,
        "DeploymentConfigNameRequired"
    );
}

#[tokio::test]
async fn people_pause_resume_skip_and_promote_and_progress_says_so() {
    let world = world().await;
    world.ok(Api::create_ladder, ladder("1 host@1m,100%@1m")).await;
    update(&world, json!({ "deploymentConfigName": "canary" })).await;
    let id = world.deploy("v1").await;
    let found = world.progress(&id).await;
    assert_eq!(found["steps"], json!(["1 host@1m", "100%@1m"]));
    assert_eq!((&found["stepsDone"], &found["paused"]), (&json!(0), &json!(false)));
    assert!(found["bakingUntil"].is_null() && found["alarms"].is_null(), "{found}");
    assert_eq!(
        world.refused(Api::steer_deployment, wish(&id, "SkipBake")).await,
        "InvalidDeploymentStatus"
    );

    world.work("web-1", "Succeeded").await;
    let found = world.progress(&id).await;
    assert_eq!(found["bakingUntil"], 1_800_000_060.0, "{found}");
    assert_eq!(steer(&world, &id, "Pause").await["paused"], true);
    world.pass_ms(120_000);
    world.advance(&id).await;
    assert_eq!(world.progress(&id).await["stepsDone"], 0, "paused, it climbs no further");
    let found = steer(&world, &id, "Resume").await;
    assert_eq!((&found["stepsDone"], &found["paused"]), (&json!(0), &json!(false)));
    assert_eq!(
        found["bakingUntil"], 1_800_000_180.0,
        "it bakes for the minute that it was paused in: {found}"
    );
    world.pass_ms(60_000);
    world.advance(&id).await;
    assert_eq!(world.progress(&id).await["stepsDone"], 1);
    world.work("web-2", "Succeeded").await;
    assert!(world.progress(&id).await["bakingUntil"].is_number());
    let found = steer(&world, &id, "SkipBake").await;
    assert_eq!((&found["stepsDone"], &found["bakingUntil"]), (&json!(2), &Value::Null));
    assert_eq!(world.info(&id).await["status"], "Succeeded");

    let second = world.deploy("v2").await;
    steer(&world, &second, "Pause").await;
    let found = steer(&world, &second, "Promote").await;
    assert_eq!((&found["promoted"], &found["paused"]), (&json!(true), &json!(false)));
    for what in ["Pause", "Promote"] {
        assert_eq!(
            world.refused(Api::steer_deployment, wish(&id, what)).await,
            "DeploymentAlreadyCompleted"
        );
    }
    let config = json!({ "deploymentConfigName": "CodeDeployDefault.AllAtOnce" });
    update(&world, config).await;
    world.ok(Api::stop_deployment, json!({ "deploymentId": second })).await;
    world.advance(&second).await;
    let third = world.deploy("v3").await;
    let no_steps = world.refused(Api::steer_deployment, wish(&third, "Promote")).await;
    assert_eq!(no_steps, "InvalidDeploymentStatus", "there is nothing to promote it past");
    steer(&world, &third, "Pause").await;
    for what in ["", "pause", "Abort"] {
        assert_eq!(
            world.refused(Api::steer_deployment, wish(&id, what)).await,
            "Validation",
            "{what}"
        );
    }
    let nobody = "d-NOSUCHONE";
    assert_eq!(
        world.refused(Api::steer_deployment, wish(nobody, "Pause")).await,
        "DeploymentDoesNotExist"
    );
    let asked = json!({ "deploymentId": nobody });
    assert_eq!(world.refused(Api::get_progress, asked).await, "DeploymentDoesNotExist");
    let refusal = world.refused(Api::get_progress, json!({})).await;
    assert_eq!(refusal, "DeploymentIdRequired");
}

#[tokio::test]
async fn traffic_that_moves_all_together_does_not_go_zone_by_zone() {
    let world = world().await;
    let create = json!({
        "deploymentConfigName": "by-zone",
        "minimumHealthyHosts": { "type": "HOST_COUNT", "value": 0 },
        "zonalConfig": { "monitorDurationInSeconds": 60 },
    });
    world.ok(Api::create_deployment_config, create).await;
    let change = json!({
        "deploymentConfigName": "by-zone",
        "deploymentStyle": {
            "deploymentType": "BLUE_GREEN", "deploymentOption": "WITH_TRAFFIC_CONTROL",
        },
        "loadBalancerInfo": balancers(&["home:one", "home:two"]),
    });
    update(&world, change).await;
    let (name, message) = world.refusal(Api::create_deployment, deployment("v1")).await;
    assert_eq!(name, "InvalidDeploymentConfigName", "{message}");
    assert!(message.contains("Choose one without `zonalConfig`"), "{message}");
}

#[tokio::test]
async fn progress_tells_what_watches_what_it_says_and_what_fired() {
    let world = world().await;
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
    world.note_alarm("home:web errors worse than baseline", "undecided");
    let id = world.deploy("v1").await;
    let found = world.progress(&id).await;
    let names = json!(["home:web errors worse than baseline", "other"]);
    assert_eq!(found["alarms"], names);
    let note = json!({ "alarm": "home:web errors worse than baseline", "note": "undecided" });
    assert_eq!(found["alarmNotes"], json!([note]));
    world.claim("web-1").await;
    world.fire_alarms(true);
    world.pass_ms(10_000);
    world.advance(&id).await;
    let found = world.progress(&id).await;
    assert_eq!(found["activatedAlarms"], names);
    assert!(found["alarmTime"].is_number() && found["trafficBackTime"].is_number(), "{found}");
    assert_eq!(world.hosts_in(HOME), ["web-2"]);
}

#[tokio::test]
async fn a_host_is_looked_at_less_often_the_longer_it_waits() {
    let world = world().await;
    world.keep_traffic(true);
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
        let answer = world.report(&token, report.clone()).await;
        assert_eq!(answer["traffic"]["done"], false, "{answer}");
        again.push(answer["traffic"]["againAfterMs"].as_u64().unwrap());
    }
    assert_eq!(again, [2_000, 2_000, 6_000, 10_000]);
    assert_eq!(world.standing(HOME, "web-1"), Standing::Draining);
    world.keep_traffic(false);
    report["sequence"] = 6.into();
    let answer = world.report(&token, report.clone()).await;
    assert_eq!(answer["traffic"]["done"], true, "{answer}");
}

#[tokio::test]
async fn balancers_are_added_listed_and_removed() {
    let world = world().await;
    let list = async || world.ok(Api::list_balancers, json!({})).await["balancers"].take();
    assert_eq!(list().await, json!([]));
    let web = json!({ "name": "web", "targetPort": 8080 });
    let added = world.ok(Api::add_balancer, web.clone()).await;
    assert_eq!(added["balancer"], web);
    assert_eq!(world.ok(Api::add_balancer, web.clone()).await, added);
    assert_eq!(list().await, json!([web]));
    let other = json!({ "name": "web", "targetPort": 9090 });
    assert_eq!(world.refused(Api::add_balancer, other).await, "InvalidLoadBalancerInfo");
    for incomplete in [json!({ "name": "web" }), json!({ "targetPort": 1 })] {
        assert_eq!(world.refused(Api::add_balancer, incomplete).await, "Validation");
    }
    world.ok(Api::remove_balancer, json!({ "name": "web" })).await;
    let again = world.refused(Api::remove_balancer, json!({ "name": "web" })).await;
    assert_eq!(again, "InvalidLoadBalancerInfo", "it is not there any more");
    assert_eq!(list().await, json!([]));
    assert_eq!(world.refused(Api::remove_balancer, json!({})).await, "Validation");

    let none = World::with_group().await;
    assert_eq!(none.refused(Api::add_balancer, web).await, "InvalidOperation");
    assert_eq!(
        none.refused(Api::remove_balancer, json!({ "name": "web" })).await,
        "InvalidOperation"
    );
    let listed = none.ok(Api::list_balancers, json!({})).await;
    assert_eq!(listed["balancers"], json!([]));
}

#[tokio::test]
async fn a_balancer_that_a_group_names_is_not_removed_and_it_is_said_which_and_what_to_type() {
    let world = world().await;
    let remove = json!({ "name": "web" });
    for (name, target_group) in [("one", "home:blue"), ("two", "home:elsewhere")] {
        world.ok(Api::create_deployment_group, balanced(name, &[target_group])).await;
    }
    let watched = json!({ "enabled": true, "alarms": [{ "name": "home:web error_rate>5%" }] });
    update(&world, json!({ "alarmConfiguration": watched })).await;
    let web = json!({ "name": "web", "targetPort": 8080, "targetGroups": ["blue", "green"] });
    world.ok(Api::add_balancer, web).await;
    let refusal = async || world.refusal(Api::remove_balancer, remove.clone()).await.1;
    let message = refusal().await;
    assert!(message.contains("deployment group `shop/one` get"), "{message}");
    assert!(message.contains("`cutover init shop/one --no-balancer`"), "{message}");
    let none = json!({ "applicationName": "shop", "currentDeploymentGroupName": "one", "loadBalancerInfo": balancers(&[]) });
    world.ok(Api::update_deployment_group, none).await;
    let message = refusal().await;
    assert!(message.contains("deployment group `shop/web` have alarms"), "{message}");
    assert!(message.contains("`cutover init shop/web --no-alarm`"), "{message}");
    update(&world, json!({ "alarmConfiguration": { "enabled": false, "alarms": [] } })).await;
    world.ok(Api::remove_balancer, remove).await;
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
    world.ok(Api::create_deployment_group, balanced("one", &["home:a", "haproxy:web/blue-"])).await;
    for taken in ["home:a", "haproxy:web", "haproxy:web/green-"] {
        let (name, message) =
            world.refusal(Api::create_deployment_group, balanced("two", &[taken])).await;
        assert_eq!(name, "InvalidLoadBalancerInfo");
        assert!(
            message.contains("the deployment group `one` of the application `shop`"),
            "{message}"
        );
    }
    let twice = balanced("two", &["home:b", "home:b"]);
    assert_eq!(world.refused(Api::create_deployment_group, twice).await, "InvalidLoadBalancerInfo");
    world.ok(Api::create_deployment_group, balanced("two", &["home:b", "a/b", "a/c"])).await;

    // What a group does not name any more is free, and what it keeps is its own.
    let change = |group: &str, target_groups: &[&str]| {
        json!({
            "applicationName": "shop",
            "currentDeploymentGroupName": group,
            "loadBalancerInfo": balancers(target_groups),
        })
    };
    let refused =
        world.refused(Api::update_deployment_group, change("two", &["home:b", "home:a"])).await;
    assert_eq!(refused, "InvalidLoadBalancerInfo");
    world
        .ok(
            Api::update_deployment_group,
            change("one", &["haproxy:web/blue-", "haproxy:web/green-"]),
        )
        .await;
    world.ok(Api::update_deployment_group, change("two", &["home:b", "home:a"])).await;
    let rename = json!({
        "applicationName": "shop",
        "currentDeploymentGroupName": "two",
        "newDeploymentGroupName": "three",
    });
    world.ok(Api::update_deployment_group, rename).await;
    assert_eq!(
        world.refused(Api::create_deployment_group, balanced("two", &["home:a"])).await,
        "InvalidLoadBalancerInfo"
    );
    let delete = json!({ "applicationName": "shop", "deploymentGroupName": "three" });
    world.ok(Api::delete_deployment_group, delete).await;
    world.ok(Api::create_deployment_group, balanced("two", &["home:a", "home:b"])).await;

    // A claim without its group is nobody's.
    let orphan =
        TrafficClaim { name: "home:c".into(), group_id: engine::GroupId::from_random([7; 16]) };
    let write = control::rows::create(&orphan).unwrap();
    world.control.base.table.write(&[write]).await.unwrap();
    world.ok(Api::update_deployment_group, change("web", &["home:c"])).await;
    world.ok(Api::delete_application, json!({ "applicationName": "shop" })).await;
    assert_eq!(world.table().keys(), World::new().table().keys());
}

#[tokio::test]
async fn of_groups_that_name_a_target_group_at_once_one_is_made() {
    let world = World::with_group().await;
    let calls = (0..8).map(|n| {
        let world = &world;
        async move {
            let body = balanced(&format!("group-{n}"), &["home:a"]);
            world.call(Api::create_deployment_group, body).await
        }
    });
    let answers = futures::future::join_all(calls).await;
    let made = answers.iter().filter(|answer| answer.is_ok()).count();
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
    world.ok(Api::create_deployment_group, paired("one", ["a", "b"], 1)).await;
    for body in [paired("two", ["c", "d"], 1), paired("two", ["c", "a"], 2)] {
        assert_eq!(
            world.refused(Api::create_deployment_group, body).await,
            "InvalidLoadBalancerInfo"
        );
    }
    world.ok(Api::create_deployment_group, paired("two", ["c", "d"], 2)).await;
}
