//! HAProxy of Debian as the balancer of a home, asked through its runtime socket.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use balancer::{Haproxy, HomeTraffic, Outside, Socket};
use control::ports::{BalancerError, Balancers as _, Pair, Standing};
use engine::DeploymentId;

use crate::support::PATIENCE;
use crate::support::client::http_client;
use crate::support::daemon::{Application, Daemon, free_port, traffic};
use crate::support::load::Load;

/// A HAProxy before four hosts, two blue and two green, of which the green ones have no share.
struct World {
    traffic: HomeTraffic,
    address: SocketAddr,
    url: String,
    http: reqwest::Client,
    applications: Vec<Application>,
    _haproxy: Daemon,
    dir: tempfile::TempDir,
}

const SERVERS: [&str; 4] = ["blue-host-1", "blue-host-2", "green-host-1", "green-host-2"];

fn application(address: SocketAddr, name: &'static str) -> Application {
    let slow = || async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        "slow"
    };
    let router =
        Router::new().route("/", get(move || async move { name })).route("/slow", get(slow));
    Application::start_at(address, router)
}

impl World {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let applications =
            SERVERS.map(|name| application("127.0.0.1:0".parse().unwrap(), name)).into();
        let (port, socket) = (free_port(), dir.path().join("admin.sock"));
        let mut config = format!(
            "global\n  stats socket {} mode 600 level admin\n  maxconn 4000\n\
             defaults\n  mode http\n  retries 0\n  timeout connect 2s\n  timeout check 5s\n  timeout client 10s\n  timeout server 10s\n\
             frontend front\n  bind 127.0.0.1:{port}\n  default_backend web\n\
             backend web\n  balance roundrobin\n  http-response set-header x-server %s\n  http-response set-header x-shop-version 1\n  default-server check inter 50ms fall 2 rise 1\n",
            socket.display()
        );
        for (name, application) in SERVERS.iter().zip::<&Vec<Application>>(&applications) {
            let weight = if name.starts_with("blue-") { 100 } else { 0 };
            writeln!(config, "  server {name} {} weight {weight}", application.address).unwrap();
        }
        writeln!(
            config,
            "backend fixed\n  balance static-rr\n  server a 127.0.0.1:1\n  server b 127.0.0.1:1"
        )
        .unwrap();
        let file = dir.path().join("haproxy.cfg");
        fs::write(&file, config).unwrap();
        let haproxy = Daemon::start(dir.path(), "haproxy", &["-db", "-f", file.to_str().unwrap()]);
        let traffic = traffic(dir.path()).await;
        let haproxy_of = |name: &str| (name.to_owned(), Haproxy::new(Socket::Unix(socket.clone())));
        let outside =
            Outside { haproxy: ["web", "fixed", "nope"].map(haproxy_of).into(), prometheus: None };
        let traffic = HomeTraffic { outside, ..traffic };
        let (url, http) = (format!("http://127.0.0.1:{port}"), http_client().unwrap());
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let world = Self { traffic, address, url, http, applications, _haproxy: haproxy, dir };
        world
            .until("HAProxy is up", async || world.traffic.check("haproxy:web").await.is_ok())
            .await;
        for (group, host) in
            [("blue-", "host-1"), ("blue-", "host-2"), ("green-", "host-1"), ("green-", "host-2")]
        {
            world
                .until_standing(&format!("haproxy:web/{group}"), host, |s| *s == Standing::In)
                .await;
        }
        world
    }

    async fn until(&self, what: &str, mut look: impl AsyncFnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !look().await {
            let log = self.dir.path().join("haproxy.log");
            let log = || fs::read_to_string(&log).unwrap();
            assert!(Instant::now() < deadline, "waited in vain: {what}: {}", log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn standing(&self, group: &str, host: &str) -> Standing {
        self.traffic.standing(group, &[host.into()]).await.unwrap()[host].clone()
    }

    async fn until_standing(&self, group: &str, host: &str, is: impl Fn(&Standing) -> bool) {
        let what = format!("{group} {host}");
        self.until(&what, async || is(&self.standing(group, host).await)).await;
    }

    /// Asks so many times; how many answers came from servers whose names begin so.
    async fn count(&self, times: usize, prefix: &str) -> usize {
        let mut count = 0;
        for _ in 0..times {
            let response = self.http.get(&self.url).send().await.unwrap();
            assert_eq!(response.status(), 200);
            count += usize::from(response.text().await.unwrap().starts_with(prefix));
        }
        count
    }
}

fn pair() -> Pair {
    Pair { old: "haproxy:web/blue-".into(), new: "haproxy:web/green-".into(), listener: None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_shares_traffic_to_the_percent_and_says_so() {
    let world = World::start().await;
    assert_eq!(world.traffic.percent(&pair()).await.unwrap(), 0);
    for percent in [1_u8, 10, 33, 50, 99, 100, 0] {
        world.traffic.split(&pair(), percent).await.unwrap();
        assert_eq!(world.traffic.percent(&pair()).await.unwrap(), percent);
        let green = world.count(500, "green-").await as f64 / 5.0;
        let off = (green - f64::from(percent)).abs();
        assert!(off <= 1.0, "{green} % instead of {percent} %");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_shares_traffic_within_two_points_under_load() {
    let world = World::start().await;
    let load = Load::begin(world.address, 1_000);
    for percent in [10_u8, 25, 50] {
        world.traffic.split(&pair(), percent).await.unwrap();
        // What was on its way when the weights changed is not counted.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let before = load.counts();
        world
            .until("5,000 requests", async || load.counts().answered() - before.answered() >= 5_000)
            .await;
        let counts = load.counts();
        let green =
            ["green-host-1", "green-host-2"].map(|name| counts.of_server_since(&before, name));
        let (green, all) = (green.iter().sum::<u64>(), counts.answered() - before.answered());
        let found = green as f64 * 100.0 / all as f64;
        assert!(
            (found - f64::from(percent)).abs() <= 2.0,
            "{found} % of {all} instead of {percent} %"
        );
    }
    assert_eq!(load.end().failures, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_drains_a_host_without_losing_what_it_has() {
    let world = World::start().await;
    let hosts = ["host-1".to_owned(), "host-2".to_owned()];
    let slow = async || {
        let response = world.http.get(format!("{}/slow", world.url)).send().await.unwrap();
        response.text().await.unwrap()
    };
    let drain = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.traffic.split(&pair(), 50).await.unwrap();
        world.traffic.drain("haproxy:web/blue-", &hosts).await.unwrap();
        for host in &hosts {
            assert_eq!(world.standing("haproxy:web/blue-", host).await, Standing::Draining);
        }
        assert_eq!(world.count(50, "blue-").await, 0, "nothing new reaches them");
        for host in &hosts {
            world.until_standing("haproxy:web/blue-", host, |found| *found == Standing::Out).await;
        }
    };
    let (one, other, ()) = tokio::join!(slow(), slow(), drain);
    assert_eq!((one.as_str(), other.as_str()), ("slow", "slow"));
    world.traffic.drain("haproxy:web/blue-", &hosts).await.unwrap();
    let version: DeploymentId = "d-AAAAAAAAA".parse().unwrap();
    world.traffic.admit("haproxy:web/blue-", "host-1", &version).await.unwrap();
    world.until_standing("haproxy:web/blue-", "host-1", |found| *found == Standing::In).await;
    assert!(world.count(50, "blue-host-1").await > 0);
    assert_eq!(world.standing("haproxy:web/blue-", "host-2").await, Standing::Out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_says_why_a_host_gets_no_traffic_until_it_does() {
    let mut world = World::start().await;
    let gone = world.applications.remove(0);
    let address = gone.address;
    drop(gone);
    let is_down =
        |found: &Standing| matches!(found, Standing::Starting(Some(why)) if why.contains("DOWN"));
    world.until_standing("haproxy:web/blue-", "host-1", is_down).await;
    let hosts = ["host-1".to_owned()];
    world.traffic.drain("haproxy:web/blue-", &hosts).await.unwrap();
    assert_eq!(world.standing("haproxy:web/blue-", "host-1").await, Standing::Out);
    let version: DeploymentId = "d-AAAAAAAAA".parse().unwrap();
    world.traffic.admit("haproxy:web/blue-", "host-1", &version).await.unwrap();
    assert!(is_down(&world.standing("haproxy:web/blue-", "host-1").await));
    let _back = application(address, "blue-host-1");
    world.until_standing("haproxy:web/blue-", "host-1", |found| *found == Standing::In).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_haproxy_does_not_have_or_cannot_do_is_said_with_what_to_write() {
    let world = World::start().await;
    let version: DeploymentId = "d-AAAAAAAAA".parse().unwrap();
    let text = |result: Result<(), BalancerError>, is_unknown: bool| {
        let error = result.unwrap_err();
        let matches = match &error {
            BalancerError::Unknown { .. } => is_unknown,
            BalancerError::Refused { .. } => !is_unknown,
            BalancerError::Unavailable { .. } => false,
        };
        assert!(matches, "{error:?}");
        error.to_string()
    };
    let said = text(world.traffic.check("haproxy:nope").await, true);
    assert!(said.contains("add a section `backend nope` to haproxy.cfg"), "{said}");
    let said = text(world.traffic.check("haproxy:web/red-").await, true);
    assert!(said.contains("add `server red-HOST ADDRESS:PORT check`"), "{said}");
    let said = text(world.traffic.admit("haproxy:web/blue-", "host-9", &version).await, true);
    assert!(said.contains("add `server blue-host-9 ADDRESS:PORT check`"), "{said}");
    // A server may also be named by its host alone, and one that nobody knows is out.
    world.traffic.admit("haproxy:web", "green-host-2", &version).await.unwrap();
    world.traffic.admit("haproxy:web/green-", "green-host-2", &version).await.unwrap();
    assert_eq!(world.standing("haproxy:web", "host-9").await, Standing::Out);
    let fixed =
        Pair { old: "haproxy:fixed/a".into(), new: "haproxy:fixed/b".into(), listener: None };
    let said = text(world.traffic.split(&fixed, 40).await, false);
    assert!(said.contains("choose a `balance` whose weights can change"), "{said}");
    let other =
        Pair { old: "haproxy:web/blue-".into(), new: "haproxy:fixed/b".into(), listener: None };
    let said = text(world.traffic.split(&other, 50).await, false);
    assert!(said.contains("name servers of one backend by two prefixes"), "{said}");
}
