//! Alarms on what went through the balancer.

use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use control::ports::{Alarms as _, Balancers as _, Reading, Standing};

use super::{World, pair, version};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_fires_for_the_version_that_is_bad_and_for_no_other() {
    let world = World::new().await;
    let (url, _blue, green) = world.add_pair().await;
    world.traffic.split(&pair(), 50).await.unwrap();
    green.does.bad_every.store(5, Ordering::SeqCst);
    green.does.delay_ms.store(40, Ordering::SeqCst);
    let alarms = [
        "home:web error_rate>5% over 30s of 20",
        "home:web error_rate>25% over 30s of 20",
        "home:web p50>30ms over 30s",
        "home:web p99>5s over 30s",
    ]
    .map(str::to_owned);
    let read = async |name| world.traffic.read(&alarms, &version(name)).await;
    for _ in 0..30 {
        drop(world.get(&url).await);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let now = u64::try_from(now).unwrap();
    assert_eq!(read("NEW").await[0], Reading::Quiet, "15 requests are less than 20");
    for _ in 0..50 {
        drop(world.get(&url).await);
    }
    let [firing, quiet] = [Reading::Firing, Reading::Quiet];
    assert_eq!(read("NEW").await, [firing.clone(), quiet.clone(), firing, quiet.clone()]);
    assert_eq!(read("OLD").await, vec![quiet.clone(); 4]);
    assert_eq!(read("OTHER").await, vec![quiet; 4], "who has no requests is not bad");
    let first = world.home().first_bad_ms("web", &version("NEW")).unwrap();
    assert!(first <= now && now - first < 20_000, "{first} {now}");
    assert_eq!(world.home().first_bad_ms("web", &version("OLD")), None);
    let found = world.home().measured("web", &version("NEW"), Duration::from_secs(60)).unwrap();
    assert_eq!((found.version.requests, found.version.errors), (40, 8));
    assert_eq!((found.others.requests, found.others.errors), (40, 0));
    assert!(found.version.p50.unwrap() >= Duration::from_millis(40));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_is_too_slow_for_its_clients_is_seen() {
    let world = World::new().await;
    let url = world.add(|_| {}).await;
    let app = world.app(1);
    world.admit("home:web", "host-1", "NEW").await;
    app.does.delay_ms.store(60_000, Ordering::SeqCst);
    let impatient = || async {
        let request = world.http.get(&url).timeout(Duration::from_millis(300));
        assert!(request.send().await.unwrap_err().is_timeout());
    };
    futures::future::join_all((0..10).map(|_| impatient())).await;
    let alarm = ["home:web p50>250ms".to_owned()];
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while world.traffic.read(&alarm, &version("NEW")).await != [Reading::Firing] {
        assert!(std::time::Instant::now() < deadline, "{:?}", world.home().totals("web"));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.traffic.drain("home:web", &["host-1".into()]).await.unwrap();
    assert_eq!(world.standing("home:web", "host-1").await, Standing::Out, "nobody waits there");
}
