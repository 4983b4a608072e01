//! Blue/green with a copied Auto Scaling group: when the new hosts are there, and what becomes of the copy.

use std::sync::Arc;

use serde_json::{Value, json};

use super::old_hosts::{Fake, later, world_of};
use super::world::{World, deployment};

/// A world whose group copies its Auto Scaling group `scaling`, of which `i-old` has the traffic.
async fn world_with(scaling: &[&str], groups: &[&str]) -> (World, Arc<Fake>) {
    let (world, fake) = world_of(groups).await;
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
    world.ok("UpdateDeploymentGroup", change).await;
    fake.add("i-old", Some("blue"), true);
    (world, fake)
}

/// The targets of a deployment, or the name of the exception that says that there are none yet.
async fn targets(world: &World, id: &str) -> Value {
    let (_, answer) = world.call("ListDeploymentTargets", json!({ "deploymentId": id })).await;
    answer.get("targetIds").unwrap_or_else(|| &answer["__type"]).clone()
}

/// Launches an instance in the copy.
fn launch(fake: &Fake, copy: &str) {
    fake.add("i-new", Some(copy), true);
    fake.state().registered.get_mut("home:one").unwrap().remove("i-new");
}

#[tokio::test]
async fn the_new_hosts_are_those_of_the_copy_once_all_can_be_reached_and_go_with_it_if_it_is_not_needed()
 {
    let (world, fake) = world_with(&["blue"], &["home:one"]).await;
    let id = world.deploy("v1").await;
    let copy = format!("CodeDeploy_web_{id}");
    later(&world, &id, 10_000).await;
    assert!(fake.state().copies.contains_key(&copy));
    assert_eq!(targets(&world, &id).await, "DeploymentNotStartedException");
    let progress = world.ok("Cutover_v1.GetProgress", json!({ "deploymentId": id })).await;
    assert_eq!(progress["stage"], "Install", "{progress:#}");

    launch(&fake, &copy);
    fake.state().unreached.insert("i-new".to_owned());
    later(&world, &id, 10_000).await;
    let none = targets(&world, &id).await;
    assert_eq!(none, "DeploymentNotStartedException", "no command would reach it");
    fake.state().unreached.clear();
    later(&world, &id, 10_000).await;
    assert_eq!(
        targets(&world, &id).await,
        json!(["i-new"]),
        "and not the one that has the traffic"
    );

    world.ok("StopDeployment", json!({ "deploymentId": id })).await;
    let mut info = later(&world, &id, 10_000).await;
    for _ in 0..60 {
        if info["status"] == "Stopped" {
            break;
        }
        info = later(&world, &id, 60_000).await;
    }
    assert_eq!(info["status"], "Stopped", "{info:#}");
    assert!(fake.state().copies.is_empty(), "nobody has to look after it");
    let group = json!({ "applicationName": "shop", "deploymentGroupName": "web" });
    let group = world.ok("GetDeploymentGroup", group).await;
    assert_eq!(group["deploymentGroupInfo"]["autoScalingGroups"][0]["name"], "blue");
}

#[tokio::test]
async fn a_group_that_cannot_be_copied_fails_the_deployment_and_says_why() {
    let (world, _) = world_with(&["gone"], &["home:one"]).await;
    let id = world.deploy("v1").await;
    let info = later(&world, &id, 10_000).await;
    let info = if info["status"] == "Failed" { info } else { later(&world, &id, 10_000).await };
    assert_eq!(info["errorInformation"]["code"], "AUTO_SCALING_CONFIGURATION", "{info:#}");
    let why = info["errorInformation"]["message"].as_str().unwrap();
    assert!(why.contains("there is no Auto Scaling group `gone`"), "{why}");
}

#[tokio::test]
async fn what_cannot_be_copied_is_refused_before_anything_is_done() {
    let configuration = "InvalidBlueGreenDeploymentConfiguration";
    let refusals = [
        (&["blue"][..], &["home:one", "home:two"][..], json!({}), configuration),
        (&[], &["home:one"], json!({}), configuration),
        (&["blue", "other"], &["home:one"], json!({}), configuration),
        (
            &["blue"],
            &["home:one"],
            json!({ "autoScalingGroups": ["green"] }),
            "InvalidTargetInstances",
        ),
    ];
    for (scaling, groups, targets, error) in refusals {
        let (world, fake) = world_with(scaling, groups).await;
        let mut request = deployment("v1");
        request["targetInstances"] = targets;
        let refused = world.refused("CreateDeployment", request).await;
        assert_eq!(refused, error, "{scaling:?} {groups:?}");
        assert!(fake.state().copies.is_empty());
    }
}
