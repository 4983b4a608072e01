//! Prometheus, played by a server that answers as told; the real one is tried in the whole-system tests.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use control::ports::{Alarms as _, Reading};

use super::super::{HomeTraffic, Outside, Prometheus};
use super::{World, http, version};

async fn reading(router: Router, alarm: &str) -> Reading {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/prefix/", listener.local_addr().unwrap());
    let server = tokio::spawn(async { axum::serve(listener, router).await });
    let world = World::new().await;
    let prometheus = Some(Prometheus::new(http(), &url).unwrap());
    let outside = Outside { prometheus, ..Outside::default() };
    let traffic = HomeTraffic { outside, ..world.traffic.clone() };
    let readings = traffic.read(&[alarm.to_owned()], &version("NEW")).await;
    server.abort();
    readings.into_iter().next().unwrap()
}

fn unreadable(reading: &Reading, expected: &str) {
    let Reading::Unreadable(why) = reading else { panic!("{reading:?}") };
    assert!(why.contains(expected), "{why}");
}

#[tokio::test]
async fn the_deployment_stands_in_the_expression_and_what_is_odd_arrives_whole() {
    let echo = |body: String| async move {
        let is_right = body
            .starts_with("query=sum%28e%7Bv%3D%22d%2DNEWAAAAAA%22%7D%29%20%3E%201%20%2B%20%C3%A9&");
        let elements = if is_right { r#"{"metric":{},"value":[1,"2"]}"# } else { "" };
        format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{elements}]}}}}"#)
    };
    let router = Router::new().route("/prefix/api/v1/query", post(echo));
    let found = reading(router, "prometheus:sum(e{v=\"$version\"}) > 1 + é").await;
    assert_eq!(found, Reading::Firing);
}

#[tokio::test]
async fn a_prometheus_that_cannot_be_asked_is_not_taken_for_a_quiet_one() {
    let refusing = || async {
        let text = r#"{"status":"error","errorType":"bad_data","error":"1:3: parse error"}"#;
        (StatusCode::BAD_REQUEST, text)
    };
    let found =
        reading(Router::new().route("/prefix/api/v1/query", post(refusing)), "prometheus:x x")
            .await;
    unreadable(&found, "`prometheus:x x` cannot be read: 1:3: parse error");
    unreadable(&reading(Router::new(), "prometheus:up").await, "404 Not Found: check the address");
    unreadable(&reading(Router::new(), "prometheus: ").await, "it is empty");
    let long = format!("prometheus:{}", "x".repeat(20_000));
    unreadable(&reading(Router::new(), &long).await, "longer than 16384 bytes");
    let silent = || std::future::pending::<String>();
    let found =
        reading(Router::new().route("/prefix/api/v1/query", post(silent)), "prometheus:up").await;
    unreadable(&found, "did not answer within 5 s");
    let endless = || async { "x".repeat(5 << 20) };
    let found =
        reading(Router::new().route("/prefix/api/v1/query", post(endless)), "prometheus:up").await;
    unreadable(&found, "longer than 4194304 bytes");
}
