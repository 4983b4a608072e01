//! Prometheus of Debian as a source of alarms.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use balancer::{HomeTraffic, Outside, Prometheus};
use control::ports::{Alarms as _, Reading};
use engine::DeploymentId;

use crate::support::PATIENCE;
use crate::support::client::http_client;
use crate::support::daemon::{Application, Daemon, free_port, traffic};

const OLD: &str = "d-OLDAAAAAA";
const NEW: &str = "d-NEWAAAAAA";

/// Errors that count up for the new version alone.
fn metrics() -> Router {
    let scrapes = Arc::new(AtomicU64::new(0));
    let metrics = move || {
        let errors = scrapes.fetch_add(1, Ordering::SeqCst) * 10;
        async move { format!("errors_total{{v=\"{OLD}\"}} 7\nerrors_total{{v=\"{NEW}\"}} {errors}\n") }
    };
    Router::new().route("/metrics", get(metrics))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_fires_when_its_expression_has_a_result() {
    let dir = tempfile::tempdir().unwrap();
    let application = Application::start(metrics());
    let config = format!(
        "global:\n  scrape_interval: 200ms\nscrape_configs:\n- job_name: app\n  static_configs:\n  - targets: ['{}']\n",
        application.address
    );
    let file = dir.path().join("prometheus.yml");
    fs::write(&file, config).unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let args = [
        format!("--config.file={}", file.display()),
        format!("--storage.tsdb.path={}", dir.path().join("data").display()),
        format!("--web.listen-address={address}"),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let _prometheus = Daemon::start(dir.path(), "prometheus", &args);
    let prometheus = Prometheus::new(http_client().unwrap(), &format!("http://{address}")).unwrap();
    let outside = Outside { prometheus: Some(prometheus), ..Outside::default() };
    let traffic = HomeTraffic { outside, ..traffic(dir.path()).await };
    let read = async |alarm: &str, version: &str| {
        let version: DeploymentId = version.parse().unwrap();
        let readings = traffic.read(&[format!("prometheus:{alarm}")], &version).await;
        readings.into_iter().next().unwrap()
    };

    let rate = "rate(errors_total{v=\"$version\"}[2s]) > 1";
    let deadline = Instant::now() + PATIENCE;
    loop {
        match read(rate, NEW).await {
            Reading::Firing => break,
            other @ (Reading::Quiet | Reading::Unreadable(_)) => {
                assert!(Instant::now() < deadline, "{other:?}");
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(read(rate, OLD).await, Reading::Quiet);
    assert_eq!(read("never_heard_of > 1", NEW).await, Reading::Quiet);
    assert_eq!(
        read("scalar(sum(errors_total{v=\"$version\"})) > bool 100", OLD).await,
        Reading::Quiet
    );
    assert_eq!(
        read("scalar(sum(errors_total{v=\"$version\"})) > bool 6", OLD).await,
        Reading::Firing
    );
    let why = async |alarm: &str| match read(alarm, NEW).await {
        Reading::Unreadable(why) => why,
        other @ (Reading::Quiet | Reading::Firing) => panic!("{other:?}"),
    };
    assert!(why("rate(errors_total").await.contains("parse error"));
    assert!(why("errors_total[1m]").await.contains("a range vector"));
    assert!(why("scalar(never_heard_of)").await.contains("`NaN`"));
}
