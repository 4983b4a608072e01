//! Blue/green with TERMINATE: which of the old hosts are ended, when, and which are not.

use control::OperatorApi as Api;
use control::ports::Standing;
use serde_json::{Value, json};
use sim::scripted::Scripted;

use crate::world::{World, group};

/// The target groups of the two sides. The first one has the traffic.
pub(super) const ONE: &str = "home:web-one";
pub(super) const TWO: &str = "home:web-two";

/// Launches an instance of the group `web`, which is let into the first target group and, with `may_be_sent_to`, carries
/// Cutover's tag.
pub(super) fn launch(world: &World, id: &str, scaling_group: Option<&str>, may_be_sent_to: bool) {
    let tags = [("role", "web"), Scripted::tag()];
    world.launch(id, scaling_group, if may_be_sent_to { &tags } else { &tags[..1] });
    world.let_in(ONE, id);
}

/// A world whose group `web` has one new host on premises, and old ones in the target group with the traffic.
async fn world() -> World {
    world_of(&[ONE, TWO]).await
}

/// One whose group has these target groups.
pub(super) async fn world_of(groups: &[&str]) -> World {
    let groups: Vec<Value> = groups.iter().map(|name| json!({ "name": name })).collect();
    let world = World::new();
    world.ok(Api::create_application, json!({ "applicationName": "shop" })).await;
    let mut body = group("web");
    let more = json!({
        "ec2TagFilters": [{ "Key": "role", "Value": "web", "Type": "KEY_AND_VALUE" }],
        "deploymentStyle": {
            "deploymentType": "BLUE_GREEN", "deploymentOption": "WITH_TRAFFIC_CONTROL",
        },
        "loadBalancerInfo": { "targetGroupInfoList": groups },
        "blueGreenDeploymentConfiguration": {
            "terminateBlueInstancesOnDeploymentSuccess": {
                "action": "TERMINATE", "terminationWaitTimeInMinutes": 5,
            },
        },
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.ok(Api::create_deployment_group, body).await;
    world.register("new").await;
    world
}

/// How much of the traffic the second target group has, in percent, and which instances were terminated.
fn seen(world: &World) -> (u8, Vec<String>) {
    (world.percent_of(TWO), world.ended())
}

/// Deploys to the new host, until the traffic has moved and the old hosts are kept.
async fn moved(world: &World) -> String {
    let (id, done) = poised(world).await;
    done.report(world, &id).await;
    let progress = world.progress(&id).await;
    assert_eq!(progress["stage"], "TerminationWait", "{progress:#}");
    id
}

/// What the new host reports when it has its traffic.
pub(super) struct Done(String, Value);

impl Done {
    pub(super) async fn report(self, world: &World, id: &str) {
        let Self(token, mut report) = self;
        report["sequence"] = 1_000_000.into();
        report["status"] = "Succeeded".into();
        world.report(&token, report).await;
        world.advance(id).await;
    }
}

/// Deploys to the new host, until it is ready to get traffic, and gets it where nothing is in its way.
pub(super) async fn poised(world: &World) -> (String, Done) {
    let id = world.deploy("v1").await;
    let (token, mut report) = world.claim("new").await;
    for (sequence, event) in [(1, "BeforeAllowTraffic"), (2, "AllowTraffic"), (3, "AllowTraffic")] {
        report["sequence"] = sequence.into();
        let done = if event == "AllowTraffic" {
            json!([{ "event": "BeforeAllowTraffic", "status": "Succeeded" }])
        } else {
            json!([])
        };
        let mut events = done.as_array().unwrap().clone();
        events.push(json!({ "event": event, "status": "InProgress", "startedAt": 1 }));
        report["events"] = events.into();
        for _ in 0..2 {
            world.report(&token, report.clone()).await;
            world.advance(&id).await;
            report["sequence"] = (report["sequence"].as_u64().unwrap() * 10).into();
        }
    }
    (id, Done(token, report))
}

#[tokio::test]
async fn old_instances_are_terminated_when_they_are_out_and_the_wait_is_over() {
    let world = world().await;
    world.keep_traffic(true);
    for id in ["i-1", "i-2"] {
        launch(&world, id, None, true);
    }
    let standings = || ["i-1", "i-2"].map(|id| world.standing(ONE, id));
    let id = moved(&world).await;
    assert_eq!(seen(&world), (100, Vec::new()));
    let info = world.later(&id, 299_000).await;
    assert_eq!(standings(), [Standing::In, Standing::In], "it is not over yet: {info:#}");
    world.later(&id, 1_000).await;
    assert_eq!(standings(), [Standing::Draining, Standing::Draining]);
    let info = world.later(&id, 10_000).await;
    assert_eq!((seen(&world).1.len(), &info["status"]), (0, &json!("InProgress")));

    world.keep_traffic(false);
    world.throttle_cloud(true);
    world.later(&id, 10_000).await;
    assert_eq!(world.info(&id).await["status"], "InProgress");
    world.throttle_cloud(false);
    // Somebody gives the old target group traffic by hand: nothing of it is ended.
    world.split(ONE, TWO, 99);
    world.later(&id, 10_000).await;
    assert!(world.ended().is_empty());
    world.split(ONE, TWO, 100);
    world.later(&id, 10_000).await;
    assert_eq!(world.ended(), ["i-1", "i-2"]);
    let info = world.later(&id, 10_000).await;
    assert_eq!(
        (&info["status"], &info["deploymentStatusMessages"]),
        (&json!("Succeeded"), &json!([]))
    );
    assert_eq!(world.ended().len(), 2, "once");
    let back = json!({ "deploymentId": id });
    assert_eq!(world.refused(Api::roll_back_deployment, back).await, "RevisionDoesNotExist");
}

#[tokio::test]
async fn what_is_not_ours_or_cannot_be_terminated_goes_on_running_and_is_named() {
    let world = world().await;
    launch(&world, "i-plain", None, true);
    launch(&world, "i-untagged", None, false);
    launch(&world, "i-protected", None, true);
    launch(&world, "i-scaled", Some("blue"), true);
    launch(&world, "i-needed", Some("blue"), true);
    launch(&world, "i-both", None, true);
    launch(&world, "i-stranger", None, true);
    world.register("old").await;
    world.let_in(ONE, "old");
    let id = moved(&world).await;
    world.retag("i-stranger", "role", Some("other"));
    for id in ["i-protected", "i-needed"] {
        world.protect(id, &format!("{id} may not go"));
    }
    world.let_linger("i-scaled");
    world.let_in(TWO, "i-both");
    world.later(&id, 300_000).await;
    let info = world.later(&id, 10_000).await;
    assert_eq!(info["status"], "InProgress", "Auto Scaling has not terminated it yet: {info:#}");
    world.terminate("i-scaled");
    let info = world.later(&id, 10_000).await;
    assert_eq!(info["status"], "Succeeded", "{info:#}");
    assert_eq!(world.ended(), ["i-plain"]);
    assert_eq!(world.scaled_in(), ["i-scaled"], "once, and nothing else");
    let messages = info["deploymentStatusMessages"].as_array().unwrap();
    let told: Vec<&str> = messages.iter().map(|message| message.as_str().unwrap()).collect();
    let told = told.join("\n");
    for named in ["old", "i-untagged", "i-protected may not go", "i-needed may not go", "i-both"] {
        assert!(told.contains(named), "{named}: {told}");
    }
    assert!(!told.contains("i-stranger") && !told.contains("i-plain"), "{told}");
    assert_eq!(world.hosts_in(ONE), ["i-both", "i-stranger", "i-untagged"], "{told}");
}

#[tokio::test]
async fn a_stop_terminates_nothing_and_a_way_back_keeps_both_sides() {
    let world = world().await;
    launch(&world, "i-1", None, true);
    let id = moved(&world).await;
    world
        .ok(Api::stop_deployment, json!({ "deploymentId": id, "autoRollbackEnabled": false }))
        .await;
    world.later(&id, 1_000).await;
    assert_eq!(world.info(&id).await["status"], "Stopped");
    let back = world.ok(Api::roll_back_deployment, json!({ "deploymentId": id })).await;
    let back = back["deploymentId"].as_str().unwrap().to_owned();
    world.advance(&back).await;
    world.later(&back, 1_000).await;
    assert_eq!(world.info(&back).await["status"], "Succeeded");
    assert_eq!(seen(&world), (0, Vec::new()));
    assert!(world.hosts_in(ONE).contains(&"i-1".to_owned()));
}
