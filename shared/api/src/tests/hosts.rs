//! The host protocol over HTTP, and the output that hosts bring.

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use super::world::World;

/// Why a command does not go on.
const STOPPED: &str = "the deployment was stopped";

#[tokio::test]
async fn hosts_without_a_valid_secret_or_body_are_refused_with_a_code() {
    let world = World::with_group().await;
    world.register("web-1").await;
    let poll = json!({ "host": "web-1", "waitMs": 0, "runnerVersion": "1" });
    let (status, answer) = world.host("poll", "wrong", poll.clone()).await;
    assert_eq!((status.as_u16(), &answer["code"]), (401, &json!("Unauthorized")));
    let (status, answer) = world.host("poll", "web-1", json!({ "host": 7 })).await;
    assert_eq!((status.as_u16(), &answer["code"]), (400, &json!("Invalid")));
    let bare = Request::post("/cutover/v1/host/poll").body(poll.to_string().into()).unwrap();
    assert_eq!(world.send(bare).await.0, 401);
    let offer = json!({ "deploymentId": "d-AAAAAAAAA", "ordinal": 0, "attempt": 1 });
    let claim = json!({ "host": "web-1", "offer": offer });
    let (status, answer) = world.host("claim", "web-1", claim).await;
    assert_eq!((status.as_u16(), &answer["code"]), (409, &json!("Superseded")));
    world.ok("DeregisterOnPremisesInstance", json!({ "instanceName": "web-1" })).await;
    assert_eq!(world.host("poll", "web-1", poll).await.0, 401);
}

#[tokio::test]
async fn a_poll_that_is_held_ends_with_its_client() {
    let world = World::with_group().await;
    world.register("web-1").await;
    let poll = json!({ "host": "web-1", "waitMs": 50_000, "runnerVersion": "1" });
    {
        let held = world.host("poll", "web-1", poll);
        let held = std::pin::pin!(held);
        assert!(futures::poll!(held).is_pending());
    }
    world.deploy("v1").await;
    let (token, _) = world.claim("web-1").await;
    assert_eq!(token.len(), 64);
}

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
    let (status, answer) = world.host("report", token, question).await;
    assert_eq!(status, 200, "{answer}");
    answer
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
    world.ok("StopDeployment", json!({ "deploymentId": id })).await;
    // Nobody has woken the deployment.
    let answer = ask(&world, &token, &report).await;
    assert_eq!(answer["proceed"], false);
    assert_eq!(answer["reason"], STOPPED);
    let (_, answer) = world.host("report", &token, report).await;
    assert_eq!(answer["proceed"], false);
}

#[tokio::test]
async fn a_host_that_comes_back_after_a_stop_is_given_a_token_to_report_with_and_no_more() {
    let world = World::with_group().await;
    world.register("web-1").await;
    world.register("web-2").await;
    let id = world.deploy("v1").await;
    let (_, report) = world.claim("web-1").await;
    let claim = |name: &str, ordinal: u32| {
        let offer = json!({ "deploymentId": id, "ordinal": ordinal, "attempt": 1 });
        json!({ "host": name, "offer": offer })
    };
    world.ok("StopDeployment", json!({ "deploymentId": id })).await;
    // Who had nothing begins nothing.
    let (status, answer) = world.host("claim", "web-2", claim("web-2", 1)).await;
    assert_eq!((status.as_u16(), &answer["code"]), (409, &json!("Superseded")));
    for taken in [false, true] {
        if taken {
            world.advance(&id).await;
        }
        let (status, answer) = world.host("claim", "web-1", claim("web-1", 0)).await;
        assert_eq!((status.as_u16(), &answer["proceed"]), (200, &json!(false)), "{answer}");
        assert_eq!((&answer["leaseMs"], answer["reason"].as_str()), (&json!(0), Some(STOPPED)));
        let mut report = report.clone();
        report["sequence"] = (10 + u32::from(taken)).into();
        let token = answer["token"].as_str().unwrap();
        let (status, answer) = world.host("report", token, report).await;
        assert_eq!((status.as_u16(), &answer["proceed"]), (200, &json!(false)), "{answer}");
    }
    // Nobody listens any more once it was given up.
    world.pass_ms(70_000);
    world.advance(&id).await;
    assert_eq!(world.info(&id).await["status"], "Stopped");
    let (status, answer) = world.host("claim", "web-1", claim("web-1", 0)).await;
    assert_eq!((status.as_u16(), &answer["code"]), (409, &json!("Superseded")), "{answer}");
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
    let get = "Cutover_v1.GetDeploymentLog";
    let (token, mut report) = world.claim("web-1").await;
    let (_, answer) = world.host("report", &token, report.clone()).await;
    assert_eq!(answer["follow"], false);
    let first = world.ok(get, log(json!({ "follow": true }))).await;
    assert_eq!(first["entries"], json!([]));
    report["sequence"] = 2.into();
    report["output"] = json!([{ "event": "AfterInstall", "offset": 0, "text": "one\n" }]);
    let (_, answer) = world.host("report", &token, report.clone()).await;
    assert_eq!(answer["follow"], true);
    let second = world.ok(get, log(json!({ "after": first["next"], "follow": true }))).await;
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
    world.host("report", &token, report).await;
    world.advance(&id).await;
    let third = world.ok(get, log(json!({ "after": second["next"] }))).await;
    assert_eq!(third["entries"][0]["text"], "two\n");
    assert_eq!(third["entries"][0]["offset"], 4);
    assert!(third["next"].is_null(), "nothing more will come");
    let whole = world.ok(get, log(json!({ "targetId": "web-1", "event": "AfterInstall" }))).await;
    assert_eq!(whole["entries"].as_array().unwrap().len(), 1);
    assert_eq!(whole["entries"][0]["text"], "one\ntwo\n");
    assert_eq!(world.refused(get, log(json!({ "after": "x" }))).await, "InvalidNextToken");
    let (status, answer) = world.call(get, log(json!({ "event": "AfterInstal" }))).await;
    assert_eq!((status.as_u16(), &answer["__type"]), (400, &json!("ValidationException")));
    let said = format!(
        "`AfterInstal` is no lifecycle event of the deployment `{id}`. It has `ApplicationStop`, `DownloadBundle`, `BeforeInstall`, `Install`, `AfterInstall`, `ApplicationStart`, `ValidateService`."
    );
    assert_eq!(answer["message"], said);
}

#[tokio::test]
async fn a_target_without_a_log_is_told_which_there_are() {
    let world = World::with_group().await;
    for number in 1..=7 {
        world.register(&format!("web-{number}")).await;
    }
    let id = world.deploy("v1").await;
    let get = "Cutover_v1.GetDeploymentLog";
    let asked = json!({ "deploymentId": id, "targetId": "web-9" });
    let (status, answer) = world.call(get, asked.clone()).await;
    assert_eq!(status.as_u16(), 400, "{answer}");
    assert_eq!(world.refused(get, asked).await, "DeploymentTargetDoesNotExist");
    let said = format!(
        "The deployment `{id}` has no target `web-9`. It has `web-1`, `web-2`, `web-3`, `web-4`, `web-5` and 2 more."
    );
    assert_eq!(answer["message"], said);
}

#[tokio::test]
async fn health_tells_the_version() {
    let world = World::new();
    let request = Request::get("/cutover/v1/health").body(Body::empty()).unwrap();
    let (status, _, body) = world.send(request).await;
    assert_eq!(status, 200);
    assert!(serde_json::from_slice::<Value>(&body).unwrap()["version"].is_string());
}
