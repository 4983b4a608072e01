//! Who gets which request.

use std::sync::atomic::Ordering;
use std::time::Duration;

use control::ports::{Balancers as _, Standing};

use super::super::Cohort;
use super::{Load, World, pair};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_gets_traffic_only_once_a_probe_succeeded() {
    let world = World::new().await;
    let url = world.add(|_| {}).await;
    let (_one, two) = (world.app(1), world.app(2));
    world.admit("home:web", "host-1", "OLD").await;
    two.does.health.store(503, Ordering::SeqCst);
    world.traffic.admit("home:web", "host-2", &super::version("OLD")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let standing = world.standing("home:web", "host-2").await;
    let Standing::Starting(Some(said)) = standing else { panic!("{standing:?}") };
    assert!(said.contains("/health answered 503, which is none"), "{said}");
    for _ in 0..20 {
        assert_eq!(world.get(&url).await.as_deref(), Ok("host-1"));
    }
    two.does.health.store(204, Ordering::SeqCst);
    world.until("home:web", "host-2", Standing::In).await;
    for _ in 0..20 {
        world.get(&url).await.unwrap();
    }
    assert_eq!(two.began(), 10, "two idle hosts take turns");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_is_healthy_everybody_is_tried() {
    let world = World::new().await;
    let url = world.add(|settings| settings.health_path = "/wrong".into()).await;
    let app = world.app(1);
    app.does.bad_every.store(1, Ordering::SeqCst);
    world.traffic.admit("home:web", "host-1", &super::version("OLD")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(matches!(world.standing("home:web", "host-1").await, Standing::Starting(Some(_))));
    app.does.bad_every.store(0, Ordering::SeqCst);
    assert_eq!(world.get(&url).await.as_deref(), Ok("host-1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_requests_are_shared_to_the_percent() {
    let world = World::new().await;
    let (url, blue, green) = world.add_pair().await;
    for _ in 0..50 {
        assert_eq!(
            world.get(&url).await.as_deref(),
            Ok("host-1"),
            "at first the first group has all"
        );
    }
    world.traffic.split(&pair(), 10).await.unwrap();
    assert_eq!(world.traffic.percent(&pair()).await.unwrap(), 10);
    let before = blue.began();
    let clients = (0..10).map(|_| async {
        for _ in 0..500 {
            world.get(&url).await.unwrap();
        }
    });
    futures::future::join_all(clients).await;
    let (old, new) = (blue.began() - before, green.began());
    assert_eq!(old + new, 5_000);
    assert!((498..=502).contains(&new), "the new group got {new} instead of 500");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_shares_under_load_loses_no_request() {
    let world = World::new().await;
    let (url, _blue, green) = world.add_pair().await;
    let load = Load::start(&world, &url, 8);
    for percent in [1, 50, 100, 0, 100] {
        world.traffic.split(&pair(), percent).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let answers = load.end().await;
    let bad: Vec<_> = answers.iter().filter(|answer| answer.is_err()).collect();
    assert!(bad.is_empty() && answers.len() > 100, "{} of {}: {bad:?}", bad.len(), answers.len());
    let before = green.began();
    for _ in 0..20 {
        assert_eq!(world.get(&url).await.as_deref(), Ok("host-2"));
    }
    assert_eq!(green.began(), before + 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cohort_gets_the_new_version_and_nobody_else_does() {
    let world = World::new().await;
    let url = world
        .add(|settings| {
            settings.groups = vec!["web-blue".into(), "web-green".into()];
            settings.cohort = Some(Cohort::Header { name: "X-Beta".into(), value: "yes".into() });
        })
        .await;
    let (_blue, green) = (world.app(1), world.app(2));
    world.admit("home:web-blue", "host-1", "OLD").await;
    world.admit("home:web-green", "host-2", "NEW").await;
    world.traffic.split(&pair(), 1).await.unwrap();
    let ask = async |value: &str| {
        let response = world.http.get(&url).header("x-beta", value).send().await.unwrap();
        response.text().await.unwrap()
    };
    for _ in 0..10 {
        assert_eq!(ask("yes").await, "host-2");
    }
    for _ in 0..90 {
        ask("no").await;
    }
    assert_eq!(green.began(), 11, "ten of the cohort, and one of a hundred");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_under_load_loses_no_request_and_lets_no_new_one_through() {
    let world = World::new().await;
    let url = world.add(|_| {}).await;
    let (one, two, _three) = (world.app(1), world.app(2), world.app(3));
    for host in ["host-1", "host-2", "host-3"] {
        world.admit("home:web", host, "OLD").await;
    }
    for app in [&one, &two] {
        app.does.delay_ms.store(60, Ordering::SeqCst);
    }
    let load = Load::start(&world, &url, 12);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let hosts = ["host-1".to_owned(), "host-2".to_owned()];
    world.traffic.drain("home:web", &hosts).await.unwrap();
    // What had been given to them may still arrive there, but nothing that is given out from now on.
    for host in &hosts {
        world.until("home:web", host, Standing::Out).await;
    }
    let (one_began, two_began) = (one.began(), two.began());
    assert!(one_began > 5 && two_began > 5, "they had {one_began} and {two_began}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((one.began(), two.began()), (one_began, two_began));
    // A host that is out may be taken down under the same load.
    one.kill();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let answers = load.end().await;
    let bad: Vec<_> = answers.iter().filter(|answer| answer.is_err()).collect();
    assert!(bad.is_empty() && answers.len() > 100, "{} of {}: {bad:?}", bad.len(), answers.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_waits_for_a_slow_request_but_not_forever() {
    let world = World::new().await;
    let url = world.add(|settings| settings.drain_timeout_ms = 700).await;
    let app = world.app(1);
    world.admit("home:web", "host-1", "OLD").await;
    app.does.delay_ms.store(1_500, Ordering::SeqCst);
    let drained = async {
        while app.began() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.traffic.drain("home:web", &["host-1".into()]).await.unwrap();
        assert_eq!(world.standing("home:web", "host-1").await, Standing::Draining);
        tokio::time::sleep(Duration::from_millis(350)).await;
        assert_eq!(world.standing("home:web", "host-1").await, Standing::Draining);
        tokio::time::sleep(Duration::from_millis(450)).await;
        assert_eq!(world.standing("home:web", "host-1").await, Standing::Out);
        assert_eq!(world.get(&url).await, Err(503));
    };
    let (answer, ()) = tokio::join!(world.get(&url), drained);
    assert_eq!(answer.as_deref(), Ok("host-1"), "nobody cuts it off");
}
