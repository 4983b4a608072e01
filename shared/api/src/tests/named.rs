//! Operations that are called under their names.

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use wire::{codedeploy, cutover};

use super::world::World;

/// Calls `target` at `path`; gives the status and the body.
async fn call(world: &World, path: &str, target: &str) -> (u16, Value) {
    let request = Request::post(path).header("x-amz-target", target);
    let (status, headers, body) = world.send(request.body("{}".into()).unwrap()).await;
    assert!(headers.contains_key("x-amzn-requestid"), "{path} leads nowhere");
    let body = if body.is_empty() { json!({}) } else { serde_json::from_slice(&body).unwrap() };
    (status.as_u16(), body)
}

fn targets() -> impl Iterator<Item = (&'static str, String)> {
    let codedeploy = codedeploy::Operation::ALL.iter().map(|operation| operation.name());
    let own = cutover::Operation::ALL.iter().map(|operation| operation.name());
    let codedeploy = codedeploy.map(|name| (name, format!("CodeDeploy_20141006.{name}")));
    codedeploy.chain(own.map(|name| (name, format!("{}{name}", cutover::PREFIX))))
}

#[tokio::test]
async fn every_operation_is_reached_under_its_name_as_at_the_root() {
    for (name, target) in targets() {
        let (named, unnamed) = (World::new(), World::new());
        let at_name = call(&named, &format!("/codedeploy/{name}"), &target).await;
        let at_root = call(&unnamed, "/", &target).await;
        assert_eq!(at_name, at_root, "{target}");
        let unreached = ["UnknownOperationException", "AccessDeniedException"];
        assert!(
            !unreached.iter().any(|code| at_name.1["__type"] == *code),
            "{target}: {at_name:?}"
        );
    }
}

#[tokio::test]
async fn a_path_that_disagrees_with_the_target_is_refused_with_both_names() {
    let world = World::new();
    for (path, target) in [
        ("/codedeploy/ListApplications", "CodeDeploy_20141006.DeleteApplication"),
        ("/codedeploy/ListSubscriptions", "Cutover_v1.Subscribe"),
        ("/codedeploy/GetDeployment", "Cutover_v1.RollBackDeployment"),
        ("/codedeploy/listapplications", "CodeDeploy_20141006.ListApplications"),
        ("/codedeploy/%4cistApplications", "CodeDeploy_20141006.ListApplications"),
        ("/codedeploy/ListApplications%00", "CodeDeploy_20141006.ListApplications"),
        ("/codedeploy/ListApplications", "ListApplications"),
        ("/codedeploy/ListApplications", "CodeDeploy_20141006.x.ListApplications"),
    ] {
        let (status, body) = call(&world, path, target).await;
        assert_eq!((status, &body["__type"]), (400, &json!("AccessDeniedException")), "{path}");
        let message = body["message"].as_str().unwrap();
        let named = path.trim_start_matches("/codedeploy/");
        assert!(message.contains(&format!("`{named}`")), "{message}");
        assert!(message.contains(&format!("`{target}`")), "{message}");
    }
}

#[tokio::test]
async fn what_is_no_operation_is_unknown_under_its_name_too() {
    let world = World::new();
    for (path, target) in [
        ("/codedeploy/Fly", "CodeDeploy_20141006.Fly"),
        ("/codedeploy/Fly", "Cutover_v1.Fly"),
        ("/codedeploy/ListApplications", "Cutover_v1.ListApplications"),
        ("/codedeploy/Subscribe", "CodeDeploy_20141006.Subscribe"),
        ("/codedeploy/ListApplications", "Another_20000101.ListApplications"),
    ] {
        let (status, body) = call(&world, path, target).await;
        let unknown = json!("UnknownOperationException");
        assert_eq!((status, &body["__type"]), (400, &unknown), "{path} {target}");
    }
    let request = Request::post("/codedeploy/ListApplications").body(Body::empty()).unwrap();
    let (status, _, body) = world.send(request).await;
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status.as_u16(), &body["__type"]), (400, &json!("UnknownOperationException")));
}

#[tokio::test]
async fn behind_a_gateway_an_operation_has_no_path_but_its_name() {
    let world = World::new();
    let router = crate::named_router(
        world.scripted.control.operator_api(),
        world.scripted.control.host_api(),
        crate::Open,
    );
    let status = async |path: &str| {
        let request =
            Request::post(path).header("x-amz-target", "CodeDeploy_20141006.ListApplications");
        let request = request.body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap().status().as_u16()
    };
    assert_eq!(status("/codedeploy/ListApplications").await, 200);
    for path in ["/", "//", "/codedeploy", "/codedeploy/", "/codedeploy/ListApplications/"] {
        assert_eq!(status(path).await, 404, "`{path}`");
    }
    let health = Request::get("/cutover/v1/health").body(Body::empty()).unwrap();
    assert_eq!(router.clone().oneshot(health).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_under_a_name_too() {
    let world = World::new();
    let request = Request::post("/codedeploy/GetApplication")
        .header("x-amz-target", "CodeDeploy_20141006.GetApplication");
    let (status, _, body) =
        world.send(request.body(vec![b' '; 1024 * 1024 + 1].into()).unwrap()).await;
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status.as_u16(), &body["__type"]), (400, &json!("SerializationException")));
}
