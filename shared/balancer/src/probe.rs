//! Looks again and again whether a host is healthy, until it is admitted no more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use http::{Request, header};

use super::proxy::{HostClient, Running};
use super::settings::Settings;

/// How long a host may take for the first byte of its answer to a probe.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The pause between probes of a host that is not healthy yet.
const EAGER: Duration = Duration::from_millis(50);
/// How long they follow each other so fast. One that is down for longer is hardly about to come.
const EAGER_FOR: Duration = Duration::from_secs(60);
/// The pause between probes otherwise.
const PAUSE: Duration = Duration::from_secs(1);

/// Probes the host of one admission until that is over, or the balancer stopped. The first success lets it have traffic.
pub(super) async fn watch(
    running: Arc<Running>,
    client: HostClient,
    epoch: u64,
    address: SocketAddr,
) {
    let mut unhealthy_since = Instant::now();
    loop {
        let outcome = tokio::select! {
            () = running.stop.cancelled() => return,
            outcome = probe(&client, address, &running.settings) => outcome,
        };
        let is_healthy = match outcome {
            Ok(()) => running.pool().healthy(epoch),
            Err(reason) => running.pool().unhealthy(epoch, reason),
        };
        let Some(is_healthy) = is_healthy else { return };
        if is_healthy {
            unhealthy_since = Instant::now();
        }
        let is_eager = !is_healthy && unhealthy_since.elapsed() < EAGER_FOR;
        let pause = if is_eager { EAGER } else { PAUSE };
        tokio::select! {
            () = running.stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Asks once; what a person would want to know if it failed.
async fn probe(
    client: &HostClient,
    address: SocketAddr,
    settings: &Settings,
) -> Result<(), String> {
    let path = &settings.health_path;
    let request = Request::get(format!("http://{address}{path}"))
        .header(header::USER_AGENT, "cutover-balancer")
        .body(Body::empty())
        .map_err(|error| format!("{path} cannot be asked for: {error}"))?;
    let answer = tokio::time::timeout(TIMEOUT, client.request(request)).await;
    let response = answer
        .map_err(|_| format!("{address}{path} did not answer within {} s", TIMEOUT.as_secs()))?
        .map_err(|error| format!("{address}{path} did not answer: {}", whole(&error)))?;
    let (status, healthy) = (response.status(), &settings.health_status);
    if healthy.hold(status) {
        return Ok(());
    }
    let status = status.as_u16();
    Err(format!("{address}{path} answered {status}, which is none of the healthy {healthy}"))
}

/// An error with its causes, the last of which says what happened.
fn whole(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
