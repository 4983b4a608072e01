//! The judge as an alarm: real requests to two versions, of which one is as good as the other, errs, or is slow.

use std::sync::atomic::Ordering;

use control::ports::{Alarms as _, Balancers as _, Reading};

use super::{World, pair, version};

const ERRORS: &str = "home:web errors worse than baseline at 1%";
const LATENCY: &str = "home:web latency worse than baseline at 1%";

/// A world whose new version gets half of the traffic.
async fn world() -> (World, String, super::App, super::App) {
    let world = World::new().await;
    let (url, blue, green) = world.add_pair().await;
    world.traffic.split(&pair(), 50).await.unwrap();
    (world, url, blue, green)
}

/// Looks as a deployment of that version does.
async fn look(world: &World, alarm: &str, name: &str) -> Reading {
    let mut readings = world.traffic.read(&[alarm.to_owned()], &version(name)).await;
    assert_eq!(readings.len(), 1);
    readings.remove(0)
}

async fn note(world: &World, alarm: &str) -> Option<String> {
    let mut notes = world.traffic.notes(&[alarm.to_owned()], &version("NEW")).await;
    notes.remove(0)
}

/// Asks so often, with a look after each ten requests; whether the alarm fired.
async fn ask(world: &World, url: &str, times: u32, alarm: &str) -> bool {
    let mut fired = false;
    for n in 0..times {
        drop(world.get(url).await);
        if n % 10 == 0 {
            fired |= look(world, alarm, "NEW").await == Reading::Firing;
        }
    }
    fired || look(world, alarm, "NEW").await == Reading::Firing
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_errs_more_often_is_found_and_the_other_is_not() {
    let (world, url, blue, green) = world().await;
    assert_eq!(look(&world, ERRORS, "NEW").await, Reading::Quiet);
    let said = note(&world, ERRORS).await.unwrap();
    assert_eq!(said, "undecided, no request to the new version yet");
    // Both err as often: what hits both is no fault of the new one.
    blue.does.bad_every.store(10, Ordering::SeqCst);
    green.does.bad_every.store(10, Ordering::SeqCst);
    assert!(!ask(&world, &url, 400, ERRORS).await);
    let said = note(&world, ERRORS).await.unwrap();
    assert!(
        said.starts_with("undecided, about ") || said == "no worse than the baseline",
        "{said}"
    );
    green.does.bad_every.store(2, Ordering::SeqCst);
    assert!(ask(&world, &url, 1_000, ERRORS).await, "{:?}", note(&world, ERRORS).await);
    assert_eq!(note(&world, ERRORS).await.unwrap(), "worse than the baseline");
    // It is final, and about that version alone.
    green.does.bad_every.store(0, Ordering::SeqCst);
    assert!(ask(&world, &url, 100, ERRORS).await);
    assert_eq!(look(&world, ERRORS, "OLD").await, Reading::Quiet);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_is_slower_is_found_once_the_usual_latency_is_known() {
    let (world, url, blue, green) = world().await;
    assert_eq!(look(&world, LATENCY, "NEW").await, Reading::Quiet);
    let said = note(&world, LATENCY).await.unwrap();
    assert!(said.contains("its baseline needs 100 requests"), "{said}");
    // Slow enough for a busy machine to make no difference.
    for app in [&blue, &green] {
        app.does.delay_ms.store(5, Ordering::SeqCst);
    }
    assert!(!ask(&world, &url, 220, LATENCY).await);
    green.does.delay_ms.store(100, Ordering::SeqCst);
    assert!(ask(&world, &url, 300, LATENCY).await, "{:?}", note(&world, LATENCY).await);
    assert_eq!(note(&world, LATENCY).await.unwrap(), "worse than the baseline");
    let said = note(&world, "home:web p99>1s").await.unwrap();
    assert!(said.starts_with("p99 of ") && said.contains(", limit 1"), "{said}");
    assert_eq!(note(&world, "prometheus:up").await, None);
}
