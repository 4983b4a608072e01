//! Balancers come, go, and are found again.

use std::time::Duration;

use control::ports::{Alarms as _, BalancerError, Balancers as _, Pair, Reading, Standing};

use super::super::{HomeTraffic, Outside, SetUpError, Settings};
use super::{World, open, pair, version};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_finds_ports_shares_and_hosts_again() {
    let mut world = World::new().await;
    let (url, blue, _green) = world.add_pair().await;
    let _third = world.app(3);
    world.admit("home:web-blue", "host-3", "OLD").await;
    world.traffic.drain("home:web-blue", &["host-3".into()]).await.unwrap();
    world.traffic.split(&pair(), 30).await.unwrap();
    world.home().close(Duration::from_secs(1)).await;
    assert_eq!(world.get(&url).await, Err(0), "a closed balancer listens no more");
    let home = open(world.dir.path(), world.net).await;
    world.traffic = HomeTraffic { home, outside: Outside::default() };
    world.until("home:web-blue", "host-1", Standing::In).await;
    world.until("home:web-green", "host-2", Standing::In).await;
    assert_eq!(world.standing("home:web-blue", "host-3").await, Standing::Out);
    assert_eq!(world.traffic.percent(&pair()).await.unwrap(), 30);
    let before = blue.began();
    for _ in 0..100 {
        world.get(&url).await.unwrap();
    }
    assert_eq!(blue.began() - before, 70);
    // What runs on the host is known again too: its measurements go to the version that it had.
    let found = world.home().measured("web", &version("NEW"), Duration::from_secs(60)).unwrap();
    assert_eq!((found.version.requests, found.others.requests), (30, 70));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_balancer_is_added_once_and_its_names_and_port_are_its_own() {
    let world = World::new().await;
    let settings = Settings::new("web", 80);
    let first = world.home().add(settings.clone()).await.unwrap();
    assert!(first.address.ip().is_loopback() && first.settings.port == first.address.port());
    assert_eq!(world.home().add(settings.clone()).await.unwrap(), first);
    let other = Settings { target_port: 81, ..settings.clone() };
    let error = world.home().add(other).await.unwrap_err();
    assert!(matches!(&error, SetUpError::Taken { name } if name == "web"), "{error}");
    let mut other = Settings::new("shop", 80);
    other.groups = vec!["web".into(), "shop-green".into()];
    let error = world.home().add(other).await.unwrap_err();
    assert!(matches!(&error, SetUpError::Taken { name } if name == "web"), "{error}");
    let other = Settings { port: first.address.port(), ..Settings::new("shop", 80) };
    let error = world.home().add(other).await.unwrap_err();
    assert!(error.to_string().contains("`shop` cannot listen on port"), "{error}");
    assert_eq!(world.home().list(), [first]);
    world.home().remove("web").await.unwrap();
    assert!(matches!(world.home().remove("web").await, Err(SetUpError::Unknown { .. })));
    assert!(world.home().list().is_empty());
    world.home().add(settings).await.unwrap();
}

#[tokio::test]
async fn what_is_not_there_is_said_with_what_to_do() {
    let world = World::new().await;
    let unknown = async |group: &str, expected: &str| {
        let error = world.traffic.check(group).await.unwrap_err();
        assert!(matches!(error, BalancerError::Unknown { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    };
    unknown("home:web", "this home has none yet").await;
    world.home().add(Settings::new("web", 80)).await.unwrap();
    let mut shop = Settings::new("shop", 80);
    shop.groups = vec!["shop-blue".into(), "shop-green".into()];
    world.home().add(shop).await.unwrap();
    unknown("home:shop", "use `home:shop-blue`, `home:shop-green`, `home:web`").await;
    unknown("haproxy:web/blue-", "not told of a HAProxy: start it with `cutover up --haproxy web=")
        .await;
    unknown("nginx:web", "`nginx:` is no kind of balancer here").await;
    unknown("my-targets", "a name without a scheme").await;
    unknown("targetgroup/my-targets/73e2d6bc24d8a067", "a name without a scheme").await;
    let error = world.traffic.admit("home:web", "i-123", &version("OLD")).await.unwrap_err();
    assert!(error.to_string().contains("`i-123` is no host of this home"), "{error}");
    let refused = async |old: &str, new: &str, percent, expected: &str| {
        let pair = Pair { old: old.into(), new: new.into(), listener: None };
        let error = world.traffic.split(&pair, percent).await.unwrap_err();
        assert!(matches!(error, BalancerError::Refused { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    };
    refused("home:web", "home:shop-blue", 5, "do not share the traffic").await;
    refused("home:web", "home:web", 5, "do not share the traffic").await;
    refused("home:shop-blue", "home:shop-green", 101, "101 %").await;
    let alarms = ["home:nope p99>1s", "home:web p98>1s", "prometheus:up", "my-alarm"];
    let alarms = alarms.map(str::to_owned);
    let read = world.traffic.read(&alarms, &version("OLD")).await;
    let expected =
        ["no balancer `nope`", "`p98` is no metric", "not told of a Prometheus", "are written"];
    assert_eq!(read.len(), expected.len());
    for (alarm, expected) in alarms.iter().zip(expected) {
        let why = world.traffic.refusal(alarm).unwrap();
        assert!(why.contains(expected), "{why}");
    }
    assert_eq!(world.traffic.refusal("home:web p99>1s"), None);
    for (reading, expected) in read.iter().zip(expected) {
        assert!(
            matches!(reading, Reading::Unreadable(why) if why.contains(expected)),
            "{reading:?}"
        );
    }
}
