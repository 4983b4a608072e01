//! Blue/green with a copied Auto Scaling group: when the new hosts are there, and what becomes of the copy.

use control::OperatorApi as Api;
use serde_json::{Value, json};
use sim::scripted::Scripted;

use crate::old_hosts::{ONE, TWO, launch, world_of};
use crate::world::{World, deployment, name_of, web};

/// A world whose group copies its Auto Scaling group `scaling`, of which `i-old` has the traffic.
async fn world_with(scaling: &[&str], groups: &[&str]) -> World {
    let world = world_of(groups).await;
    let change = json!({
        "applicationName": "shop",
        "currentDeploymentGroupName": "web",
        "ec2TagFilters": [],
        "onPremisesInstanceTagFilters": [],
        "autoScalingGroups": scaling,
        "blueGreenDeploymentConfiguration": {
            "greenFleetProvisioningOption": { "action": "COPY_AUTO_SCALING_GROUP" },
        },
    });
    world.ok(Api::update_deployment_group, change).await;
    launch(&world, "i-old", Some("blue"), true);
    world
}

/// The targets of a deployment, or the name of the exception that says that there are none yet.
async fn targets(world: &World, id: &str) -> Value {
    let listed = world.call(Api::list_deployment_targets, json!({ "deploymentId": id })).await;
    match listed {
        Ok(listed) => listed["targetIds"].clone(),
        Err(refused) => name_of(&refused).into(),
    }
}

#[tokio::test]
async fn the_new_hosts_are_those_of_the_copy_once_all_can_be_reached_and_go_with_it_if_it_is_not_needed()
 {
    let world = world_with(&["blue"], &[ONE]).await;
    let id = world.deploy("v1").await;
    let copy = format!("CodeDeploy_web_{id}");
    world.later(&id, 10_000).await;
    assert_eq!(world.copies(), [copy.as_str()]);
    assert_eq!(targets(&world, &id).await, "DeploymentNotStarted");
    let progress = world.progress(&id).await;
    assert_eq!(progress["stage"], "Install", "{progress:#}");

    world.launch("i-new", Some(&copy), &[("role", "web"), Scripted::tag()]);
    world.reach("i-new", false);
    world.later(&id, 10_000).await;
    let none = targets(&world, &id).await;
    assert_eq!(none, "DeploymentNotStarted", "no command would reach it");
    world.reach("i-new", true);
    world.later(&id, 10_000).await;
    assert_eq!(
        targets(&world, &id).await,
        json!(["i-new"]),
        "and not the one that has the traffic"
    );

    world.ok(Api::stop_deployment, json!({ "deploymentId": id })).await;
    let mut info = world.later(&id, 10_000).await;
    for _ in 0..60 {
        if info["status"] == "Stopped" {
            break;
        }
        info = world.later(&id, 60_000).await;
    }
    assert_eq!(info["status"], "Stopped", "{info:#}");
    assert!(world.copies().is_empty(), "nobody has to look after it");
    let group = world.ok(Api::get_deployment_group, web()).await;
    assert_eq!(group["deploymentGroupInfo"]["autoScalingGroups"][0]["name"], "blue");
}

#[tokio::test]
async fn a_group_that_cannot_be_copied_fails_the_deployment_and_says_why() {
    let world = world_with(&["gone"], &[ONE]).await;
    let id = world.deploy("v1").await;
    let info = world.later(&id, 10_000).await;
    let info = if info["status"] == "Failed" { info } else { world.later(&id, 10_000).await };
    assert_eq!(info["errorInformation"]["code"], "AUTO_SCALING_CONFIGURATION", "{info:#}");
    let why = info["errorInformation"]["message"].as_str().unwrap();
    assert!(why.contains("there is no group gone"), "{why}");
}

#[tokio::test]
async fn what_cannot_be_copied_is_refused_before_anything_is_done() {
    let configuration = "InvalidBlueGreenDeploymentConfiguration";
    let refusals = [
        (&["blue"][..], &[ONE, TWO][..], json!({}), configuration),
        (&[], &[ONE], json!({}), configuration),
        (&["blue", "other"], &[ONE], json!({}), configuration),
        (&["blue"], &[ONE], json!({ "autoScalingGroups": ["green"] }), "InvalidTargetInstances"),
    ];
    for (scaling, groups, targets, error) in refusals {
        let world = world_with(scaling, groups).await;
        let mut request = deployment("v1");
        request["targetInstances"] = targets;
        let refused = world.refused(Api::create_deployment, request).await;
        assert_eq!(refused, error, "{scaling:?} {groups:?}");
        assert!(world.copies().is_empty());
    }
}
