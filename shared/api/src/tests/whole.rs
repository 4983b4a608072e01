//! One deployment through the router, and what it says when something is refused or does not answer.

use serde_json::json;
use sim::TableFaults;

use super::world::{World, poll};

#[tokio::test]
async fn a_deployment_goes_from_its_creation_to_the_last_hosts_report() {
    let world = World::with_host("web-1").await;
    let id = world.deploy().await;
    let named = json!({ "deploymentId": id });
    let info = world.ok("GetDeployment", named.clone()).await;
    assert_eq!(info["deploymentInfo"]["status"], "InProgress", "{info:#}");
    let (status, answer) = world.host("poll", "web-1", poll("web-1", 0)).await;
    assert_eq!(status, 200, "{answer}");
    let offer = &answer["offers"][0];
    assert_eq!(offer["deploymentId"], json!(id));
    let claim = json!({ "host": "web-1", "offer": offer });
    let (status, claimed) = world.host("claim", "web-1", claim).await;
    assert_eq!((status.as_u16(), &claimed["proceed"]), (200, &json!(true)), "{claimed}");
    let report = json!({
        "deploymentId": id,
        "ordinal": offer["ordinal"],
        "attempt": offer["attempt"],
        "sequence": 1,
        "status": "Succeeded",
        "events": [],
    });
    let (status, refused) = world.host("report", "another token", report.clone()).await;
    assert_eq!((status.as_u16(), &refused["code"]), (401, &json!("Unauthorized")));
    let token = claimed["token"].as_str().unwrap();
    assert_eq!(world.host("report", token, report).await.0, 200);
    world.advance(&id).await;
    let info = world.ok("GetDeployment", named.clone()).await;
    let info = &info["deploymentInfo"];
    assert_eq!(info["status"], "Succeeded", "{info:#}");
    assert_eq!(info["deploymentOverview"]["Succeeded"], 1);
    let progress = world.ok("Cutover_v1.GetProgress", named).await;
    assert!(progress.is_object(), "{progress}");
}

#[tokio::test]
async fn a_refusal_has_its_name_and_says_why() {
    let world = World::new();
    for (operation, body, name) in [
        ("GetApplication", json!({ "applicationName": "no" }), "ApplicationDoesNotExistException"),
        ("GetApplication", json!({}), "ApplicationNameRequiredException"),
        (
            "Cutover_v1.CreateLadder",
            json!({ "steps": "100%" }),
            "DeploymentConfigNameRequiredException",
        ),
    ] {
        let (status, answer) = world.call(operation, body).await;
        assert_eq!((status.as_u16(), &answer["__type"]), (400, &json!(name)));
        assert!(answer["message"].as_str().unwrap().len() > 10, "{answer}");
    }
}

#[tokio::test]
async fn what_cannot_be_answered_now_may_be_tried_again() {
    let world = World::with_host("web-1").await;
    let faults = TableFaults { unavailable: 10_000, ..TableFaults::default() };
    world.scripted.table().inject(faults, 1);
    let (status, answer) = world.call("ListApplications", json!({})).await;
    assert_eq!((status.as_u16(), &answer["__type"]), (503, &json!("ServiceUnavailable")));
    let message = answer["message"].as_str().unwrap();
    assert!(message.ends_with("; try again"), "{message}");
}
