//! The balancer with real servers behind it and real clients before it, all on loopback.

mod app;
mod faults;
mod haproxy;
mod judged;
mod measured;
mod outside;
mod prometheus;
mod setup;
mod shares;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use control::ports::{Balancers as _, Pair, Standing};
use engine::DeploymentId;

use super::{Balancers, HomeTraffic, Outside, Settings};
use app::App;

/// A home's traffic, with hosts that a test starts one by one.
struct World {
    dir: tempfile::TempDir,
    traffic: HomeTraffic,
    http: reqwest::Client,
    /// The port of all applications.
    target_port: u16,
    /// The first three bytes of the hosts' addresses, from the port: tests that run at once do not meet.
    net: [u8; 3],
}

fn version(name: &str) -> DeploymentId {
    format!("d-{name:A<9}").parse().unwrap()
}

fn http() -> reqwest::Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy();
    client.timeout(Duration::from_secs(20)).build().unwrap()
}

async fn open(dir: &Path, net: [u8; 3]) -> Balancers {
    let resolve = move |host: &str| {
        let number: u8 = host.strip_prefix("host-")?.parse().ok()?;
        Some(IpAddr::from([net[0], net[1], net[2], number]))
    };
    Balancers::open(dir, Arc::new(resolve), 200).await.unwrap()
}

impl World {
    async fn new() -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target_port = free.local_addr().unwrap().port();
        let [high, low] = target_port.to_be_bytes();
        let (dir, net) = (tempfile::tempdir().unwrap(), [127, high.max(16), low]);
        let home = open(dir.path(), net).await;
        let traffic = HomeTraffic { home, outside: Outside::default() };
        Self { dir, traffic, http: http(), target_port, net }
    }

    fn home(&self) -> &Balancers {
        &self.traffic.home
    }

    /// A balancer `web`; its address for clients.
    async fn add(&self, change: impl FnOnce(&mut Settings)) -> String {
        let mut settings = Settings::new("web", self.target_port);
        settings.health_path = "/health".into();
        change(&mut settings);
        let described = self.home().add(settings).await.unwrap();
        format!("http://{}", described.address)
    }

    /// A balancer `web` of two groups, with one host in each, that both get traffic.
    async fn add_pair(&self) -> (String, App, App) {
        let url = self.add(|s| s.groups = vec!["web-blue".into(), "web-green".into()]).await;
        let (blue, green) = (self.app(1), self.app(2));
        self.admit("home:web-blue", "host-1", "OLD").await;
        self.admit("home:web-green", "host-2", "NEW").await;
        (url, blue, green)
    }

    fn app(&self, number: u8) -> App {
        let [first, second, third] = self.net;
        App::start((IpAddr::from([first, second, third, number]), self.target_port).into(), number)
    }

    /// Admits a host and waits until it gets traffic.
    async fn admit(&self, group: &str, host: &str, name: &str) {
        self.traffic.admit(group, host, &version(name)).await.unwrap();
        self.until(group, host, Standing::In).await;
    }

    async fn standing(&self, group: &str, host: &str) -> Standing {
        let standing = self.traffic.standing(group, &[host.into()]).await.unwrap();
        standing[host].clone()
    }

    async fn until(&self, group: &str, host: &str, expected: Standing) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let found = self.standing(group, host).await;
            if found == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{host} is {found:?}, not {expected:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The host that answers, or the status if it is no success.
    async fn get(&self, url: &str) -> Result<String, u16> {
        let response = self.http.get(url).send().await.map_err(|_| 0_u16)?;
        let status = response.status();
        let text = response.text().await.map_err(|_| 0_u16)?;
        if status.is_success() { Ok(text) } else { Err(status.as_u16()) }
    }
}

fn pair() -> Pair {
    Pair { old: "home:web-blue".into(), new: "home:web-green".into(), listener: None }
}

/// Clients that ask again and again.
struct Load {
    stop: tokio_util::sync::CancellationToken,
    clients: Vec<tokio::task::JoinHandle<Vec<Result<String, u16>>>>,
}

impl Load {
    fn start(world: &World, url: &str, clients: usize) -> Self {
        let stop = tokio_util::sync::CancellationToken::new();
        let client = |_| {
            let (stop, url, http) = (stop.clone(), url.to_owned(), world.http.clone());
            tokio::spawn(async move {
                let mut answers = Vec::new();
                while !stop.is_cancelled() {
                    let answer = http.get(&url).send().await;
                    answers.push(match answer {
                        Ok(response) if response.status().is_success() => {
                            response.text().await.map_err(|_| 0)
                        }
                        Ok(response) => Err(response.status().as_u16()),
                        Err(_) => Err(0),
                    });
                }
                answers
            })
        };
        let clients = (0..clients).map(client).collect();
        Self { stop, clients }
    }

    /// All answers: who gave them, or the status of those that were no success (0 for none at all).
    async fn end(self) -> Vec<Result<String, u16>> {
        self.stop.cancel();
        let mut answers = Vec::new();
        for client in self.clients {
            answers.extend(client.await.unwrap());
        }
        answers
    }
}
