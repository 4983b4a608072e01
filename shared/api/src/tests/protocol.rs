//! awsJson1.1 itself: headers, bodies, errors, who may call.

use axum::body::Body;
use futures::future::BoxFuture;
use http::Request;
use http::request::Parts;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use wire::codedeploy::{ApiError, ErrorName};

use super::world::World;

#[tokio::test]
async fn answers_carry_the_content_type_and_a_request_id() {
    let world = World::new();
    let request = Request::post("/").header("x-amz-target", "CodeDeploy_20141006.ListApplications");
    let (status, headers, body) = world.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(status, 200);
    assert_eq!(headers["content-type"], "application/x-amz-json-1.1");
    assert_eq!(headers["x-amzn-requestid"].len(), 36);
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), json!({ "applications": [] }));
}

#[tokio::test]
async fn what_is_no_operation_or_no_json_is_refused_by_name() {
    let world = World::new();
    for target in ["CodeDeploy_20141006.Fly", "Cutover_v1.Fly", "ListApplications", "", "🦀"] {
        let request = Request::post("/").header("x-amz-target", target);
        let (status, _, body) = world.send(request.body("{}".into()).unwrap()).await;
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status.as_u16(), &body["__type"]), (400, &json!("UnknownOperationException")));
    }
    for body in ["{", "[]", "{\"applicationName\": 7}", "\u{0}"] {
        let request =
            Request::post("/").header("x-amz-target", "CodeDeploy_20141006.GetApplication");
        let (status, _, body) = world.send(request.body(body.into()).unwrap()).await;
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status.as_u16(), &body["__type"]), (400, &json!("SerializationException")));
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let world = World::new();
    let request = Request::post("/").header("x-amz-target", "CodeDeploy_20141006.GetApplication");
    let (status, _, body) =
        world.send(request.body(vec![b' '; 1024 * 1024 + 1].into()).unwrap()).await;
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status.as_u16(), &body["__type"]), (400, &json!("SerializationException")));
}

struct Closed;

impl crate::Guard for Closed {
    fn check<'a>(
        &'a self,
        _parts: &'a Parts,
        _body: &'a [u8],
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        let refused = ErrorName::InvalidSignature.because("The signature is not yours.");
        Box::pin(std::future::ready(Err(refused)))
    }
}

#[tokio::test]
async fn the_guard_keeps_callers_from_operations_but_not_hosts_from_theirs() {
    let world = World::new();
    let router = crate::router(
        world.scripted.control.operator_api(),
        world.scripted.control.host_api(),
        Closed,
    );
    let call = Request::post("/").header("x-amz-target", "CodeDeploy_20141006.ListApplications");
    let answer = router.clone().oneshot(call.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 400);
    let health = Request::get("/cutover/v1/health").body(Body::empty()).unwrap();
    assert_eq!(router.oneshot(health).await.unwrap().status(), 200);
}
