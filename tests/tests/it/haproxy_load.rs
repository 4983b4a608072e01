//! HAProxy of Debian before the hosts of a home, under load: users come at a steady rate while their hosts are deployed to,
//! and not one of them may notice.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::daemon::{Daemon, free_port};
use crate::support::home::{Home, program};
use crate::support::load::{Counts, Load};
use crate::support::wait_for;

const HOSTS: u8 = 4;

/// How many users come in a second: 1,000, or what CUTOVER_TEST_LOAD says.
fn per_second() -> u32 {
    #[expect(clippy::disallowed_methods, reason = "a test is told so how hard to try")]
    let wanted = std::env::var("CUTOVER_TEST_LOAD");
    wanted.map_or(1_000, |text| text.parse().unwrap())
}

/// A home whose hosts are behind a HAProxy.
struct World {
    home: Home,
    address: SocketAddr,
    /// The port of the application on each host.
    port: u16,
    _haproxy: Daemon,
    _dir: tempfile::TempDir,
}

impl World {
    /// With the servers of each host that `servers` names, by the beginning of their names.
    fn start(servers: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("admin.sock");
        let home =
            Home::new(HOSTS).with_args(&["--haproxy".into(), format!("web={}", socket.display())]);
        let (address, port) = (SocketAddr::from(([127, 0, 0, 1], free_port())), free_port());
        let config = configuration(&home, &socket, address, port, servers);
        let file = dir.path().join("haproxy.cfg");
        fs::write(&file, config).unwrap();
        let haproxy = Daemon::start(dir.path(), "haproxy", &["-db", "-f", file.to_str().unwrap()]);
        wait_for("HAProxy", || socket.exists().then_some(()));
        let mut world = Self { home, address, port, _haproxy: haproxy, _dir: dir };
        world.home.start();
        world
    }

    /// Runs a command of `cutover` that succeeds.
    #[track_caller]
    fn cutover(&self, args: &[&str]) -> String {
        let output = self.home.cutover(args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Deploys a version of the shop, and waits for its success.
    #[track_caller]
    fn deploy(&self, version: u32) -> Value {
        let id = self.home.deploy(&format!("shop/{version}.zip"), &self.bundle(version));
        self.home.succeeded(&id)
    }

    fn bundle(&self, version: u32) -> Vec<u8> {
        self.home.shop(self.port, version, 0).zip()
    }
}

fn configuration(
    home: &Home,
    socket: &Path,
    address: SocketAddr,
    port: u16,
    servers: &[&str],
) -> String {
    // No second try: who is sent to a host that is not there has failed. But a check may be answered late on a busy machine.
    let mut config = format!(
        "global\n  stats socket {} mode 600 level admin\n  maxconn 4000\n\
         defaults\n  mode http\n  retries 0\n  timeout connect 5s\n  timeout check 5s\n  timeout client 60s\n  timeout server 20s\n\
         frontend front\n  bind {address}\n  default_backend web\n\
         backend web\n  balance roundrobin\n  option httpchk GET /health\n  http-response set-header x-server %s\n  \
         default-server check inter 50ms fall 2 rise 1\n",
        socket.display()
    );
    // Where two groups share the traffic, nobody is in either before a deployment lets it in.
    let state = if servers.len() > 1 { " disabled" } else { "" };
    for (server, host) in
        servers.iter().flat_map(|server| (1..=HOSTS).map(move |host| (server, host)))
    {
        let address = home.address(host);
        writeln!(config, "  server {server}host-{host} {address}:{port}{state}").unwrap();
    }
    config
}

#[test]
fn no_user_notices_deployments_behind_haproxy() {
    let world = World::start(&[""]);
    world.home.make_group("CodeDeployDefault.OneAtATime");
    world.cutover(&["init", "shop/web", "--balancer", "haproxy:web"]);
    world.home.subscribe();
    world.deploy(1);
    let load = Load::begin(world.address, per_second());
    wait_for("users", || (load.counts().answered() > 1_000).then_some(()));

    // In place, one host after the other.
    world.deploy(2);
    let in_place = load.counts();
    assert_eq!(in_place.failures, Vec::<String>::new());

    // A canary, which bakes long enough for its share to be seen.
    world.cutover(&["config", "create", "canary", "--steps", "1 host@3s,100%"]);
    world.cutover(&["init", "shop/web", "--config", "canary"]);
    world.deploy(3);
    let canary = load.counts();
    let counts = load.end();
    assert_eq!(counts.failures, Vec::<String>::new());
    assert_eq!(counts.asked, counts.answered());
    for version in ["1", "2", "3"] {
        assert!(counts.versions[version] > 500, "{:?}", counts.versions);
    }
    let canaries = canary.versions["3"] - in_place.versions.get("3").copied().unwrap_or_default();
    assert!(canaries > 500, "{canaries}");
    eprintln!("{} requests, {:?}, {canaries} to the canary", counts.asked, counts.versions);
}

#[test]
fn no_user_notices_a_blue_green_deployment_behind_haproxy_and_its_shares_are_exact() {
    let world = World::start(&["one-", "two-"]);
    let (one, two) = ("--balancer=haproxy:web/one-", "--balancer=haproxy:web/two-");
    let config = "--config=CodeDeployDefault.AllAtOnce";
    world.cutover(&["init", "shop/web", one, two, "--blue-green", config]);
    let tags = serde_json::json!([{ "Key": "color", "Value": "blue" }]);
    let blue = serde_json::json!({ "instanceNames": ["host-1", "host-2"], "tags": tags });
    world.home.call("AddTagsToOnPremisesInstances", blue);
    let deploy = |version: u32, args: &[&str]| {
        world.home.client().put(&format!("shop/{version}.zip"), &world.bundle(version));
        let revision = format!("s3://revisions/shop/{version}.zip");
        let deploy = ["deploy", "shop/web", "--revision", &revision];
        world.cutover(&[&deploy, args].concat()).trim().to_owned()
    };
    world.home.succeeded(&deploy(1, &["--target-tag", "color=blue"]));
    let load = Load::begin(world.address, per_second());
    wait_for("users", || (load.counts().answered() > 1_000).then_some(()));

    world.cutover(&["config", "create", "quarter", "--steps", "25%@30s,100%"]);
    let second = deploy(2, &["--config", "quarter"]);
    let percent = |wanted: u64| {
        let request = serde_json::json!({ "deploymentId": second });
        let progress = world.home.call("Cutover_v1.GetProgress", request);
        (progress["trafficPercent"] == wanted).then_some(())
    };
    wait_for("a quarter of the traffic", || percent(25));
    let before = load.counts();
    let after = wait_for("5,000 users", || {
        let counts = load.counts();
        (counts.answered() - before.answered() >= 5_000).then_some(counts)
    });
    let of = |counts: &Counts| counts.versions.get("2").copied().unwrap_or_default();
    let (new, all) = (of(&after) - of(&before), after.answered() - before.answered());
    assert!((23..=27).contains(&(new * 100 / all)), "{new} of {all} got the new version");
    world.cutover(&["skip-bake", &second]);
    world.home.succeeded(&second);
    let back = world.cutover(&["rollback", &second]).trim().to_owned();
    world.home.succeeded(&back);
    let counts = load.end();
    assert_eq!(counts.failures, Vec::<String>::new());
    assert_eq!(counts.asked, counts.answered());
    eprintln!("{} requests, {:?}, {new} of {all} at 25 %", counts.asked, counts.versions);
}

#[test]
fn a_home_that_is_told_of_no_haproxy_says_what_to_start() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |args: &[&str]| {
        let mut command = std::process::Command::new(program());
        command.arg("up").arg("--dir").arg(dir.path().join("home")).args(["--port", "0"]);
        let output = command.args(args).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let socket: PathBuf = dir.path().join("none.sock");
    let said = refused(&["--haproxy", &format!("web={}", socket.display())]);
    assert!(said.contains("none.sock of HAProxy, which was given for the backend `web`"), "{said}");
    assert!(said.contains("start HAProxy before the home"), "{said}");
    let said = refused(&["--prometheus", "http://127.0.0.1:1"]);
    assert!(said.contains("the Prometheus at http://127.0.0.1:1 cannot be used"), "{said}");
    let said = refused(&["--prometheus", "localhost"]);
    assert!(said.contains("`localhost` cannot be the address of a Prometheus"), "{said}");
    let said = refused(&["--haproxy", "web"]);
    assert!(said.contains("NAME=SOCKET"), "{said}");
}
