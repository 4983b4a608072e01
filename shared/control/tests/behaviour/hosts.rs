//! What hosts may do and what they hear, and the output that they bring.

use control::OperatorApi as Api;
use serde_json::{Value, json};
use wire::host::RefusalCode;

use crate::world::World;

/// Why a command does not go on.
const STOPPED: &str = "the deployment was stopped";

#[tokio::test]
async fn a_command_names_the_object_that_was_read_whatever_the_revision_named() {
    let world = World::with_group().await;
    world.register("web-1").await;
    let id = world.deploy("v1").await;
    assert_eq!(world.info(&id).await["revision"]["s3Location"].get("eTag"), None);
    let (_, answer) = world.claim_answer("web-1").await;
    let bundle = &answer["specification"]["bundle"];
    assert_eq!((&bundle["eTag"], &bundle["version"]), (&json!("etag-of-v1"), &json!("7")));
}

/// Asks whether a script may start, by the report that was made last.
async fn ask(world: &World, token: &str, report: &Value) -> Value {
    let mut question = report.clone();
    question["sequence"] = 0.into();
    world.report(token, question).await
}

#[tokio::test]
async fn a_host_that_asks_hears_a_stop_that_the_deployment_has_not_taken_note_of() {
    let world = World::with_group().await;
    world.register("web-1").await;
    let id = world.deploy("v1").await;
    let (token, report) = world.claim("web-1").await;
    world.pass_ms(5_000);
    let answer = ask(&world, &token, &report).await;
    // It is no report: the host was last heard of when it claimed.
    assert_eq!((&answer["proceed"], &answer["leaseMs"]), (&json!(true), &json!(25_000)));
    world.ok(Api::stop_deployment, json!({ "deploymentId": id })).await;
    // Nobody has woken the deployment.
    let answer = ask(&world, &token, &report).await;
    assert_eq!(answer["proceed"], false);
    assert_eq!(answer["reason"], STOPPED);
    let answer = world.report(&token, report).await;
    assert_eq!(answer["proceed"], false);
}

#[tokio::test]
async fn a_host_that_comes_back_after_a_stop_is_given_a_token_to_report_with_and_no_more() {
    let world = World::with_group().await;
    world.register("web-1").await;
    world.register("web-2").await;
    let id = world.deploy("v1").await;
    let (_, report) = world.claim("web-1").await;
    let claim = async |name: &str, ordinal: u32| {
        let offer = json!({ "deploymentId": id, "ordinal": ordinal, "attempt": 1 });
        world.try_claim(name, offer).await.map_err(|refused| refused.code)
    };
    world.ok(Api::stop_deployment, json!({ "deploymentId": id })).await;
    // Who had nothing begins nothing.
    assert_eq!(claim("web-2", 1).await, Err(RefusalCode::Superseded));
    for taken in [false, true] {
        if taken {
            world.advance(&id).await;
        }
        let answer = claim("web-1", 0).await.unwrap();
        assert_eq!(answer["proceed"], false, "{answer}");
        assert_eq!((&answer["leaseMs"], answer["reason"].as_str()), (&json!(0), Some(STOPPED)));
        let mut report = report.clone();
        report["sequence"] = (10 + u32::from(taken)).into();
        let token = answer["token"].as_str().unwrap();
        let answer = world.report(token, report).await;
        assert_eq!(answer["proceed"], false, "{answer}");
    }
    // Nobody listens any more once it was given up.
    world.pass_ms(70_000);
    world.advance(&id).await;
    assert_eq!(world.info(&id).await["status"], "Stopped");
    assert_eq!(claim("web-1", 0).await, Err(RefusalCode::Superseded));
}

#[tokio::test]
async fn output_is_followed_as_it_comes_and_is_whole_at_the_end() {
    let world = World::with_group().await;
    world.register("web-1").await;
    let id = world.deploy("v1").await;
    let log = |more: Value| {
        let mut body = json!({ "deploymentId": id });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let (token, mut report) = world.claim("web-1").await;
    let answer = world.report(&token, report.clone()).await;
    assert_eq!(answer["follow"], false);
    let first = world.ok(Api::get_deployment_log, log(json!({ "follow": true }))).await;
    assert_eq!(first["entries"], json!([]));
    report["sequence"] = 2.into();
    report["output"] = json!([{ "event": "AfterInstall", "offset": 0, "text": "one\n" }]);
    let answer = world.report(&token, report.clone()).await;
    assert_eq!(answer["follow"], true);
    let second = world
        .ok(Api::get_deployment_log, log(json!({ "after": first["next"], "follow": true })))
        .await;
    assert_eq!(second["entries"][0]["text"], "one\n");
    assert_eq!(second["entries"][0]["targetId"], "web-1");

    report["sequence"] = 3.into();
    report["status"] = "Succeeded".into();
    report["output"] = json!([]);
    let diagnostics = json!({
        "errorCode": "Success",
        "scriptName": "",
        "message": "Succeeded",
        "logTail": "one\ntwo\n",
    });
    report["events"] =
        json!([{ "event": "AfterInstall", "status": "Succeeded", "diagnostics": diagnostics }]);
    world.report(&token, report).await;
    world.advance(&id).await;
    let third = world.ok(Api::get_deployment_log, log(json!({ "after": second["next"] }))).await;
    assert_eq!(third["entries"][0]["text"], "two\n");
    assert_eq!(third["entries"][0]["offset"], 4);
    assert!(third["next"].is_null(), "nothing more will come");
    let whole = world
        .ok(Api::get_deployment_log, log(json!({ "targetId": "web-1", "event": "AfterInstall" })))
        .await;
    assert_eq!(whole["entries"].as_array().unwrap().len(), 1);
    assert_eq!(whole["entries"][0]["text"], "one\ntwo\n");
    assert_eq!(
        world.refused(Api::get_deployment_log, log(json!({ "after": "x" }))).await,
        "InvalidNextToken"
    );
    let wrong = log(json!({ "event": "AfterInstal" }));
    let (name, message) = world.refusal(Api::get_deployment_log, wrong).await;
    assert_eq!(name, "Validation");
    let said = format!(
        "`AfterInstal` is no lifecycle event of the deployment `{id}`. It has `ApplicationStop`, `DownloadBundle`, `BeforeInstall`, `Install`, `AfterInstall`, `ApplicationStart`, `ValidateService`."
    );
    assert_eq!(message, said);
}

#[tokio::test]
async fn a_target_without_a_log_is_told_which_there_are() {
    let world = World::with_group().await;
    for number in 1..=7 {
        world.register(&format!("web-{number}")).await;
    }
    let id = world.deploy("v1").await;
    let asked = json!({ "deploymentId": id, "targetId": "web-9" });
    let (name, message) = world.refusal(Api::get_deployment_log, asked).await;
    assert_eq!(name, "DeploymentTargetDoesNotExist");
    let said = format!(
        "The deployment `{id}` has no target `web-9`. It has `web-1`, `web-2`, `web-3`, `web-4`, `web-5` and 2 more."
    );
    assert_eq!(message, said);
}
