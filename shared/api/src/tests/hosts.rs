//! The host protocol over HTTP: who is let in, and what is refused.

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use super::world::{World, poll};

#[tokio::test]
async fn hosts_without_a_valid_secret_or_body_are_refused_with_a_code() {
    let world = World::with_host("web-1").await;
    let (status, answer) = world.host("poll", "wrong", poll("web-1", 0)).await;
    assert_eq!((status.as_u16(), &answer["code"]), (401, &json!("Unauthorized")));
    let (status, answer) = world.host("poll", "web-1", json!({ "host": 7 })).await;
    assert_eq!((status.as_u16(), &answer["code"]), (400, &json!("Invalid")));
    let body = poll("web-1", 0).to_string();
    let bare = Request::post("/cutover/v1/host/poll").body(body.into()).unwrap();
    assert_eq!(world.send(bare).await.0, 401);
    let offer = json!({ "deploymentId": "d-AAAAAAAAA", "ordinal": 0, "attempt": 1 });
    let claim = json!({ "host": "web-1", "offer": offer });
    let (status, answer) = world.host("claim", "web-1", claim).await;
    assert_eq!((status.as_u16(), &answer["code"]), (409, &json!("Superseded")));
    world.ok("DeregisterOnPremisesInstance", json!({ "instanceName": "web-1" })).await;
    assert_eq!(world.host("poll", "web-1", poll("web-1", 0)).await.0, 401);
}

#[tokio::test]
async fn a_poll_that_is_held_ends_with_its_client() {
    let world = World::with_host("web-1").await;
    {
        let mut held = std::pin::pin!(world.host("poll", "web-1", poll("web-1", 50_000)));
        for _ in 0..100 {
            assert!(futures::poll!(held.as_mut()).is_pending());
        }
    }
    world.deploy().await;
    let (_, answer) = world.host("poll", "web-1", poll("web-1", 0)).await;
    let claim = json!({ "host": "web-1", "offer": answer["offers"][0] });
    let (status, answer) = world.host("claim", "web-1", claim).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["token"].as_str().unwrap().len(), 64);
}

#[tokio::test]
async fn the_largest_body_of_a_host_is_larger_than_that_of_an_operation_and_has_an_end() {
    let world = World::with_host("web-1").await;
    for (bytes, status) in [(2 * 1024 * 1024, 200), (4 * 1024 * 1024 + 1, 413)] {
        let mut body = poll("web-1", 0).to_string().into_bytes();
        body.resize(bytes, b' ');
        let request =
            Request::post("/cutover/v1/host/poll").header("authorization", "Bearer web-1");
        let answer = world.send(request.body(body.into()).unwrap()).await;
        assert_eq!(answer.0, status, "{bytes} bytes");
    }
}

#[tokio::test]
async fn health_tells_the_version() {
    let world = World::new();
    let request = Request::get("/cutover/v1/health").body(Body::empty()).unwrap();
    let (status, _, body) = world.send(request).await;
    assert_eq!(status, 200);
    assert!(serde_json::from_slice::<Value>(&body).unwrap()["version"].is_string());
}
