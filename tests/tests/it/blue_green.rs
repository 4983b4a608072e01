//! Blue/green at home: hosts without traffic get the new revision, are tried on an address of their own, and then get all
//! traffic of the others in steps; back it goes in one.

use serde_json::{Value, json};

use crate::support::client::http_client;
use crate::support::home::Home;
use crate::support::{free_port, wait_for};

/// A home whose first two hosts are blue and whose others are green, with a balancer.
struct World {
    home: Home,
    port: u16,
    url: String,
    test_url: String,
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl World {
    /// With two target groups, and a port at which the one without traffic can be tried.
    fn start() -> Self {
        Self::with(&["--target-group=one", "--target-group=two", "--test-port", "0"])
    }

    fn with(balancer: &[&str]) -> Self {
        let home = Home::started(4);
        let port = free_port();
        let target = port.to_string();
        let add = ["balancer", "add", "shop", "--target-port", &target, "--drain", "1"];
        let more = ["--health-path", "/health", "--format", "json"];
        let added = cutover(&home, &[&add, balancer, &more].concat());
        let added: Value = serde_json::from_str(&added).unwrap();
        let url = |name: &str| added["balancer"][name].as_str().unwrap_or_default().to_owned();
        for (color, hosts) in [("blue", [1, 2]), ("green", [3, 4])] {
            let names = hosts.map(|host| format!("host-{host}"));
            let tags = json!([{ "Key": "color", "Value": color }]);
            home.call(
                "AddTagsToOnPremisesInstances",
                json!({ "instanceNames": names, "tags": tags }),
            );
        }
        let (url, test_url) = (url("url"), url("testUrl"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { home, port, url, test_url, http: http_client().unwrap(), runtime }
    }

    /// Makes the group `shop/web` of both target groups.
    fn group(&self, args: &[&str]) {
        self.group_of(&["--balancer", "home:one", "--balancer", "home:two"], args);
    }

    fn group_of(&self, balancers: &[&str], args: &[&str]) {
        let group = ["init", "shop/web", "--blue-green", "--auto-rollback"];
        let config = ["--config", "CodeDeployDefault.AllAtOnce"];
        cutover(&self.home, &[&group, balancers, &config, args].concat());
    }

    /// Puts a version of the shop where nobody subscribed to it, and deploys it.
    fn deploy(&self, version: u32, errs_each: u32, args: &[&str]) -> String {
        let key = format!("shop/{version}.zip");
        self.home.client().put(&key, &self.bundle(version, errs_each));
        let revision = format!("s3://revisions/{key}");
        let deploy = ["deploy", "shop/web", "--revision", &revision];
        cutover(&self.home, &[&deploy, args].concat()).trim().to_owned()
    }

    fn bundle(&self, version: u32, errs_each: u32) -> Vec<u8> {
        self.home
            .shop(self.port, version, errs_each)
            .hook("BeforeAllowTraffic", "echo before >>$HOST_ROOT/srv/shop/traffic")
            .hook("AfterAllowTraffic", "echo after >>$HOST_ROOT/srv/shop/traffic")
            .zip()
    }

    /// The answers to so many requests: the status and the version of each.
    fn answers(&self, url: &str, times: usize) -> Vec<String> {
        let ask = || {
            let response = self.runtime.block_on(self.http.get(url).send()).unwrap();
            let version = response.headers().get("x-shop-version");
            let version = version.map_or("none", |version| version.to_str().unwrap()).to_owned();
            format!("{} {version}", response.status().as_u16())
        };
        (0..times).map(|_| ask()).collect()
    }

    /// Whether every request of some is answered by a version.
    fn all_get(&self, url: &str, version: u32) -> bool {
        self.answers(url, 20).iter().all(|answer| *answer == format!("200 {version}"))
    }

    fn until_status(&self, id: &str, status: &str) {
        wait_for(&format!("{id} to be {status}"), || {
            (self.home.deployment(id)["status"] == status).then_some(())
        });
    }
}

#[track_caller]
fn cutover(home: &Home, args: &[&str]) -> String {
    let output = home.cutover(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn hosts_without_traffic_are_installed_tried_and_given_all_of_it_and_it_goes_back_in_one_step() {
    let world = World::start();
    let home = &world.home;
    world.group(&[]);
    let first = world.deploy(1, 0, &["--target-tag", "color=blue"]);
    let told = home.succeeded(&first);
    assert_eq!(told["deploymentStyle"]["deploymentType"], "BLUE_GREEN", "{told:#}");
    assert!(world.all_get(&world.url, 1));

    // Who has the traffic is not touched, and need not be named.
    world.group(&["--ready-wait", "10"]);
    let second = world.deploy(2, 0, &[]);
    world.until_status(&second, "Ready");
    let ready = home.deployment(&second);
    assert_eq!(ready["deploymentOverview"]["Ready"], 2, "{ready:#}");
    assert_eq!(home.target(&second, 3)["status"], "Ready");
    assert_eq!(home.target(&second, 3)["instanceLabel"], "Green");
    assert!(world.all_get(&world.url, 1), "no traffic has moved");
    assert!(world.all_get(&world.test_url, 2), "and the new side can be tried");
    assert_eq!(home.text(3, "srv/shop/traffic"), "", "its hooks of traffic wait, too");
    cutover(home, &["continue", &second]);
    home.succeeded(&second);
    assert!(world.all_get(&world.url, 2));
    assert_eq!(home.text(3, "srv/shop/traffic"), "before\nafter\n");
    for host in [1, 2] {
        assert_eq!(home.text(host, "srv/shop/page.txt"), "version 1", "host {host}");
    }

    let back = cutover(home, &["rollback", &second]).trim().to_owned();
    let told = home.succeeded(&back);
    assert_eq!(told["revision"]["s3Location"]["key"], "shop/1.zip", "{told:#}");
    assert_eq!(told["deploymentOverview"]["Succeeded"], 0, "nothing was installed: {told:#}");
    assert!(world.all_get(&world.url, 1));
}

#[test]
fn a_bad_version_loses_its_traffic_by_its_own_errors_and_what_had_it_has_it_again() {
    let world = World::start();
    let home = &world.home;
    cutover(home, &["config", "create", "canary", "--steps", "20%@1m,100%"]);
    world.group(&["--alarm", "home:shop error_rate>5%"]);
    home.succeeded(&world.deploy(1, 0, &["--target-tag", "color=blue"]));
    cutover(home, &["init", "shop/web", "--config", "canary"]);
    let bad = world.deploy(2, 2, &[]);
    let mut answers = Vec::new();
    wait_for("the end of the bad version", || {
        answers.extend(world.answers(&world.url, 20));
        (home.deployment(&bad)["status"] == "Stopped").then_some(())
    });
    assert!(answers.iter().any(|answer| answer == "500 2"), "{answers:?}");
    let told = home.deployment(&bad);
    assert_eq!(told["errorInformation"]["code"], "ALARM_ACTIVE", "{told:#}");
    let message = told["rollbackInfo"]["rollbackMessage"].as_str().unwrap();
    assert!(message.contains("where it was before"), "{message}");
    assert!(world.all_get(&world.url, 1), "{:?}", world.answers(&world.url, 20));
    assert_eq!(home.deployments().len(), 2, "nothing was deployed to go back");
}

#[test]
fn hosts_of_a_single_target_group_are_exchanged_and_exchanged_back() {
    let world = World::with(&[]);
    let home = &world.home;
    world.group_of(&["--balancer", "home:shop"], &["--ready-wait", "10"]);
    let until_done = |id: &str| {
        let mut seen = std::collections::BTreeSet::new();
        world.until_status(id, "Ready");
        cutover(home, &["continue", id]);
        wait_for(&format!("{id} to end"), || {
            seen.extend(world.answers(&world.url, 5));
            (home.deployment(id)["status"] == "Succeeded").then_some(())
        });
        seen.into_iter().collect::<Vec<String>>()
    };
    let first = world.deploy(1, 0, &["--target-tag", "color=blue"]);
    world.until_status(&first, "Ready");
    assert_eq!(
        world.answers(&world.url, 1),
        ["503 none"],
        "nobody has traffic before it is continued"
    );
    cutover(home, &["continue", &first]);
    home.succeeded(&first);
    assert!(world.all_get(&world.url, 1));

    // Those who have the traffic are not touched, and each request is answered by one version or the other.
    let second = world.deploy(2, 0, &[]);
    let seen = until_done(&second);
    assert!(seen.iter().all(|answer| answer == "200 1" || answer == "200 2"), "{seen:?}");
    assert!(world.all_get(&world.url, 2));
    assert_eq!(home.text(1, "srv/shop/page.txt"), "version 1");
    assert_eq!(home.text(3, "srv/shop/traffic"), "before\nafter\n");

    let back = cutover(home, &["rollback", &second]).trim().to_owned();
    let told = home.succeeded(&back);
    assert_eq!(told["deploymentOverview"]["Succeeded"], 0, "nothing was installed: {told:#}");
    assert!(world.all_get(&world.url, 1));

    // The next one finds that the traffic is where it was, and goes to the others.
    let third = world.deploy(3, 0, &[]);
    let seen = until_done(&third);
    assert!(seen.iter().all(|answer| answer == "200 1" || answer == "200 3"), "{seen:?}");
    assert!(world.all_get(&world.url, 3));
    assert_eq!(home.text(1, "srv/shop/page.txt"), "version 1");
}

#[test]
fn a_bad_version_in_a_single_target_group_goes_out_of_it_by_itself() {
    let world = World::with(&[]);
    let home = &world.home;
    let alarm = ["--alarm", "home:shop error_rate>5%", "--keep", "5"];
    world.group_of(&["--balancer", "home:shop"], &alarm);
    let first = world.deploy(1, 0, &["--target-tag", "color=blue"]);
    wait_for("the time in which it is watched", || {
        let ended = home.cutover(&["continue", "--termination-wait", &first]);
        ended.status.success().then_some(())
    });
    home.succeeded(&first);
    let bad = world.deploy(2, 2, &[]);
    let mut answers = Vec::new();
    wait_for("the end of the bad version", || {
        answers.extend(world.answers(&world.url, 20));
        (home.deployment(&bad)["status"] == "Stopped").then_some(())
    });
    assert!(answers.iter().any(|answer| answer == "500 2"), "{answers:?}");
    let by_a_version = |answer: &String| ["200 1", "200 2", "500 2"].contains(&answer.as_str());
    assert!(answers.iter().all(by_a_version), "{answers:?}");
    let told = home.deployment(&bad);
    assert_eq!(told["errorInformation"]["code"], "ALARM_ACTIVE", "{told:#}");
    let message = told["rollbackInfo"]["rollbackMessage"].as_str().unwrap();
    assert!(message.contains("where it was before"), "{message}");
    assert!(world.all_get(&world.url, 1), "{:?}", world.answers(&world.url, 20));
    assert_eq!(home.deployments().len(), 2, "nothing was deployed to go back");
}

#[test]
fn what_a_blue_green_group_cannot_be_is_refused_with_what_to_do() {
    let world = World::start();
    world.group(&[]);
    let refused = |args: &[&str]| {
        let output = world.home.cutover(args);
        assert!(!output.status.success(), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    world.home.client().put("shop/1.zip", &world.bundle(1, 0));
    let deploy = ["deploy", "shop/web", "--revision", "s3://revisions/shop/1.zip"];
    cutover(&world.home, &["config", "create", "by-host", "--steps", "1 host@1m,100%"]);
    let said = refused(&[&deploy[..], &["--config", "by-host"]].concat());
    assert!(said.contains("counts hosts"), "{said}");
    let id = cutover(&world.home, &deploy).trim().to_owned();
    world.home.succeeded(&id);
    let said = refused(&["continue", &id]);
    assert!(said.contains("has ended already"), "{said}");
    cutover(&world.home, &["init", "shop/web", "--balancer", "home:one", "--blue-green"]);
    cutover(&world.home, &["config", "create", "steps", "--steps", "20%@1m,100%"]);
    let said = refused(&[&deploy[..], &["--config", "steps"]].concat());
    assert!(said.contains("moves the traffic by steps, which takes two target groups"), "{said}");
    cutover(&world.home, &["init", "shop/web", "--balancer", "home:one"]);
    let said = refused(&[&deploy[..], &["--target-tag", "color=blue"]].concat());
    assert!(said.contains("in place"), "{said}");
}
