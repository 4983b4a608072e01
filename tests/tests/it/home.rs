//! A home's life: its ports and keys, its directory, a second start, its end.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::json;

use crate::support::archive::Bundle;
use crate::support::client::http_client;
use crate::support::gate::Gate;
use crate::support::home::{Home, program};
use crate::support::{process, wait_for};

const ALL: &str = "CodeDeployDefault.AllAtOnce";

fn up(dir: &Path, args: &[&str]) -> Output {
    Command::new(program()).arg("up").arg("--dir").arg(dir).args(args).output().unwrap()
}

#[track_caller]
fn failed_with(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` is not in `{said}`");
    }
}

#[test]
fn a_restart_keeps_state_ports_and_keys() {
    let mut home = Home::started(2);
    home.make_group(ALL);
    home.subscribe();
    let id = home.deploy("shop/1.zip", &Bundle::new("one").zip());
    home.succeeded(&id);
    let endpoints = home.dir().join("endpoints.json");
    let before = fs::read(&endpoints).unwrap();
    assert_eq!(endpoints.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(home.stop().success());
    assert!(!endpoints.exists(), "removed at a clean end");
    assert!(process::naming(&home.dir()).is_empty(), "hosts end with their home");
    home.start();
    assert_eq!(fs::read(&endpoints).unwrap(), before);
    assert_eq!(home.deployments(), [id]);
    let second = home.deploy("shop/2.zip", &Bundle::new("two").zip());
    home.succeeded(&second);
    assert_eq!(home.text(2, "srv/shop/page.txt"), "two");
}

/// The ports that a process listens on.
fn listening(pid: rustix::process::Pid) -> Vec<u16> {
    let pid = pid.as_raw_pid();
    let sockets: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .filter_map(|link| {
            let link = link.to_string_lossy().into_owned();
            Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect();
    let all = ["tcp", "tcp6"].map(|kind| fs::read_to_string(format!("/proc/{pid}/net/{kind}")));
    let lines = all.iter().flatten().flat_map(|text| text.lines().skip(1));
    let port = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        // 0A is a listener; the tenth word is the socket.
        let is_ours = words[3] == "0A" && sockets.iter().any(|socket| socket == words[9]);
        is_ours.then(|| u16::from_str_radix(words[1].rsplit(':').next().unwrap(), 16).unwrap())
    };
    lines.filter_map(port).collect()
}

#[test]
fn nothing_of_the_table_is_on_the_network_unless_it_was_asked_for() {
    let port_of = |home: &Home, name: &str| {
        let url = home.client().get(name).to_owned();
        url.rsplit_once(':').unwrap().1.parse::<u16>().unwrap()
    };
    let mut home = Home::started(1);
    let told = fs::read_to_string(home.dir().join("endpoints.json")).unwrap();
    assert!(!told.contains("dynamodb"), "{told}");
    let environment = home.cutover(&["env", "--format", "json"]);
    let environment = String::from_utf8(environment.stdout).unwrap();
    assert!(environment.contains("_S3") && !environment.contains("DYNAMODB"), "{environment}");
    let mut expected = [port_of(&home, "api"), port_of(&home, "s3")];
    expected.sort_unstable();
    let mut found = listening(home.pid());
    found.sort_unstable();
    assert_eq!(found, expected);
    home.stop();

    // What is not served here is the user's own affair.
    let dir = home.dir();
    let seen = |show: &str| {
        let mut command = Command::new(program());
        command.arg("--dir").arg(&dir).args(["env", "--", "sh", "-c", show]);
        command.env("AWS_ENDPOINT_URL", "http://all").env("AWS_PROFILE", "work");
        command
            .env("AWS_ENDPOINT_URL_DYNAMODB", "http://table")
            .env("AWS_ENDPOINT_URL_S3", "http://s3");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let mut home = home.with_args(&[]);
    home.start();
    let all = "echo $AWS_ENDPOINT_URL $AWS_ENDPOINT_URL_DYNAMODB $AWS_ENDPOINT_URL_S3 ${AWS_PROFILE-none}";
    let s3 = home.client().get("s3").to_owned();
    assert_eq!(seen(all), format!("http://all http://table {s3} none"));
    home.stop();

    let mut home = home.with_args(&["--table-port".to_owned(), "0".to_owned()]);
    home.start();
    let table = home.client().get("dynamodb").to_owned();
    assert_eq!(seen("echo $AWS_ENDPOINT_URL_DYNAMODB"), table);
    assert!(listening(home.pid()).contains(&port_of(&home, "dynamodb")));
    let environment = home.cutover(&["env", "--format", "json"]);
    assert!(String::from_utf8(environment.stdout).unwrap().contains("AWS_ENDPOINT_URL_DYNAMODB"));
    let asked = http_client().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let unsigned = asked
        .post(home.client().get("dynamodb"))
        .header("x-amz-target", "DynamoDB_20120810.Scan")
        .body(json!({ "TableName": "cutover" }).to_string());
    let answer = runtime.block_on(unsigned.send()).unwrap();
    assert_eq!(answer.status(), 400);
    let signed = home.client().dynamodb("Scan", &json!({ "TableName": "cutover" }));
    assert!(signed["Count"].as_u64().unwrap() > 0);
}

#[test]
fn a_second_up_on_the_same_directory_says_who_has_it() {
    let mut home = Home::started(1);
    failed_with(&up(&home.dir(), &["--port", "0"]), &["another `cutover up` runs in", "--dir"]);
    home.make_group(ALL);
    // One that is about to end is waited for.
    let mut second = Command::new(program());
    second.arg("up").arg("--dir").arg(home.dir()).args(["--port", "0", "--hosts", "1"]);
    let mut second = second.stderr(std::process::Stdio::null()).spawn().unwrap();
    assert!(home.stop().success());
    let endpoints = home.dir().join("endpoints.json");
    wait_for("the second one to be up", || endpoints.exists().then_some(()));
    process::signal(rustix::process::Pid::from_child(&second), rustix::process::Signal::TERM);
    assert!(second.wait().unwrap().success());
}

#[test]
fn a_port_in_use_is_named() {
    let place = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = up(&place.path().join("home"), &["--port", &port]);
    failed_with(&output, &[&format!("port {port}"), "--port"]);
    assert!(process::naming(place.path()).is_empty());
    assert!(!place.path().join("home").exists(), "nothing is left behind");
}

#[test]
fn an_up_that_fails_leaves_the_home_as_it_was() {
    let mut home = Home::started(1);
    assert!(home.stop().success());
    let in_the_way = home.dir().join("hosts/host-3");
    fs::write(&in_the_way, "no directory").unwrap();
    // Twice: the second one must not find what the first one left.
    for _ in 0..2 {
        failed_with(&up(&home.dir(), &["--port", "0", "--hosts", "3"]), &["host-3"]);
        assert!(process::naming(&home.dir()).is_empty(), "no host was left running");
        assert!(!home.dir().join("hosts/host-2").exists());
    }
    fs::remove_file(in_the_way).unwrap();
    home.asks_for(None);
    home.start();
    assert_eq!(registered(&home), ["host-1"]);
}

#[test]
fn a_directory_of_a_newer_version_is_left_as_it_is() {
    let mut home = Home::started(1);
    assert!(home.stop().success());
    fs::write(home.dir().join("version"), "2").unwrap();
    let files = || -> BTreeMap<_, _> {
        let all = fs::read_dir(home.dir()).unwrap().map(Result::unwrap);
        all.map(|file| (file.file_name(), fs::read(file.path()).unwrap_or_default())).collect()
    };
    let before = files();
    failed_with(&up(&home.dir(), &["--port", "0"]), &["newer version of Cutover"]);
    assert_eq!(files(), before);
}

#[test]
fn other_keys_are_refused_by_the_api_and_by_the_bucket() {
    let home = Home::started(0);
    let cases = [
        (
            "access_key_id",
            "AKIAAAAAAAAAAAAAAAAA",
            "UnrecognizedClientException",
            "InvalidAccessKeyId",
        ),
        ("secret_access_key", "0123456789", "InvalidSignatureException", "SignatureDoesNotMatch"),
    ];
    for (member, value, api, s3) in cases {
        let stranger = home.client().with(member, value);
        let refused = stranger.try_call("ListApplications", &json!({})).unwrap_err();
        assert_eq!(refused.name, api, "{refused:?}");
        let refused = stranger.try_put("shop/app.zip", b"bytes").unwrap_err();
        assert_eq!(refused.status, 403, "{refused:?}");
        assert!(refused.body.contains(s3), "{refused:?}");
    }
    home.call("ListApplications", json!({}));
}

#[test]
fn sigterm_ends_everything_and_a_running_hook_is_told_and_reported_as_interrupted() {
    let mut home = Home::started(2);
    home.make_group(ALL);
    home.subscribe();
    let gate = Gate::closed();
    let bundle = Bundle::new("one").hook("AfterInstall", &gate.pass());
    let id = home.deploy("shop/1.zip", &bundle.zip());
    gate.wait_for(2);
    assert!(home.stop().success());
    let said = home.said();
    for host in 1..=2 {
        assert!(
            said.contains(&format!("interrupted on host-{host}: hooks/AfterInstall-0.sh of {id}")),
            "{said}"
        );
    }
    assert!(process::naming(&home.dir()).is_empty(), "hosts and hooks end with their home");
    gate.open();
    home.start();
    let info = home.ended(&id);
    assert_eq!(info["status"], "Failed", "{info:#}");
    for host in 1..=2 {
        let event = home.event(&id, host, "AfterInstall");
        assert_eq!(event["status"], "Failed", "{event:#}");
        let message = event["diagnostics"]["message"].as_str().unwrap();
        assert!(message.contains("interrupted"), "{message}");
    }
    assert_eq!(gate.came().len(), 2, "no hook runs a second time");
}

#[test]
fn hosts_end_themselves_when_their_directory_is_gone() {
    let mut home = Home::started(2);
    let dir = home.dir();
    let hosts: Vec<_> = (1..=2).map(|number| home.host(number).unwrap()).collect();
    home.kill();
    fs::remove_dir_all(&dir).unwrap();
    for host in hosts {
        wait_for("the host to end", || (!process::is_alive(host)).then_some(()));
    }
    assert!(!dir.exists(), "nothing makes it again");
}

/// The names of the hosts that are registered.
fn registered(home: &Home) -> Vec<String> {
    let filter = json!({ "registrationStatus": "Registered" });
    let names = home.call("ListOnPremisesInstances", filter)["instanceNames"].take();
    serde_json::from_value(names).unwrap()
}

/// A hook that starts an application which outlives it.
const APPLICATION: &str = "setsid sleep 1000 >/dev/null 2>&1 &\necho $! >/srv/shop/pid";

#[test]
fn up_keeps_the_number_of_hosts_and_removes_some_only_when_that_is_meant() {
    let mut home = Home::started(3);
    home.make_group(ALL);
    home.subscribe();
    let bundle = Bundle::new("one").hook("ApplicationStart", APPLICATION);
    home.succeeded(&home.deploy("shop/1.zip", &bundle.zip()));
    let application = |host| {
        let pid = home.text(host, "srv/shop/pid").trim().parse().unwrap();
        rustix::process::Pid::from_raw(pid).unwrap()
    };
    let applications = [1, 2, 3].map(application);
    assert!(home.stop().success());
    home.asks_for(None);
    home.start();
    assert_eq!(registered(&home), ["host-1", "host-2", "host-3"], "as many as there were");
    assert!(home.stop().success());

    let refused = up(&home.dir(), &["--port", "0", "--hosts", "1"]);
    assert_eq!(refused.status.code(), Some(2));
    failed_with(&refused, &["removes host-2 and host-3", "--yes", "deregistered"]);
    assert!(applications.iter().all(|pid| process::is_alive(*pid)), "nothing was changed");

    // Twice, and then back.
    for _ in 0..2 {
        home.asks_for(Some(&["--hosts", "1", "--yes"]));
        home.start();
        assert_eq!(registered(&home), ["host-1"]);
        assert!(home.host(1).is_some() && home.host(2).is_none() && home.host(3).is_none());
        let is_alive = applications.map(process::is_alive);
        assert_eq!(is_alive, [true, false, false], "what the removed hosts ran has ended");
        assert_eq!(home.text(3, "srv/shop/page.txt"), "one", "and their files stay");
        assert!(home.stop().success());
    }
    home.asks_for(None);
    home.start();
    assert_eq!(registered(&home), ["host-1"], "the lower number is kept as well");
    assert!(home.stop().success());
    home.asks_for(Some(&["--hosts", "2"]));
    home.start();
    assert_eq!(registered(&home), ["host-1", "host-2"]);
    let second = home.deploy("shop/2.zip", &Bundle::new("two").zip());
    home.succeeded(&second);
    assert_eq!(home.text(2, "srv/shop/page.txt"), "two");
    for pid in applications {
        process::signal(pid, rustix::process::Signal::KILL);
    }
}

#[test]
fn a_host_that_is_down_fails_in_seconds_and_says_since_when_it_was_not_seen() {
    let home = Home::started(2);
    home.make_group(ALL);
    home.subscribe();
    let mut options = json!({ "applicationName": "shop", "deploymentGroupName": "web" });
    options["hostSilenceSeconds"] = 10.into();
    home.call("Cutover_v1.SetGroupOptions", options);
    // It does not find its home any more, so nobody starts it again.
    let connection = home.file(1, "../state/connection.json");
    let (written, process) = (fs::read(&connection).unwrap(), home.host(1).unwrap());
    fs::remove_file(&connection).unwrap();
    process::signal(process, rustix::process::Signal::KILL);
    std::thread::sleep(Duration::from_secs(11));

    let began = std::time::Instant::now();
    let id = home.deploy("shop/1.zip", &Bundle::new("one").zip());
    home.ended(&id);
    let event = home.event(&id, 1, "ApplicationStop");
    let message = event["diagnostics"]["message"].as_str().unwrap();
    assert!(message.contains("The instance is down: last seen 1"), "{message}");
    assert!(message.contains(" s ago. It did not take the deployment within 5 s."), "{message}");
    assert!(began.elapsed() >= Duration::from_secs(5), "it was offered its command all the same");
    assert_eq!(home.target(&id, 2)["status"], "Succeeded");

    // It is back before the next one.
    fs::write(&connection, written).unwrap();
    let mut host = Command::new(program());
    host.args(["host", "--number", "1", "--home"]).arg(home.dir());
    let mut host = host.env_clear().env("PATH", "/usr/bin:/bin").spawn().unwrap();
    let second = home.deploy("shop/2.zip", &Bundle::new("two").zip());
    home.succeeded(&second);
    assert_eq!(home.target(&second, 1)["status"], "Succeeded");
    host.kill().unwrap();
    host.wait().unwrap();
}

#[test]
fn what_does_not_exist_is_refused_where_it_is_named() {
    let home = Home::started(1);
    let refused = |args: &[&str], words: &[&str]| {
        let output = home.cutover(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        failed_with(&output, words);
    };
    let nope = "there is no balancer `nope`";
    refused(&["init", "shop/web", "--balancer", "home:nope"], &["nope", "cutover balancer"]);
    refused(&["init", "shop/web", "--alarm", "home:nope error_rate>5%"], &[nope]);
    refused(&["init", "shop/web", "--alarm", "home:nope error_rate"], &["not understood"]);
    let applications = home.call("ListApplications", json!({}));
    assert_eq!(applications["applications"], json!([]), "nothing is left of what was refused");
    home.make_group(ALL);
    refused(&["init", "shop/web", "--balancer", "home:nope"], &["nope"]);
    refused(&["subscribe", "shop/web", "s3://other/shop/"], &["`other`", "`revisions`"]);
    let absent = ["deploy", "shop/web", "--revision", "s3://revisions/nope.zip"];
    refused(&absent, &["no object `nope.zip`", "Upload it first"]);
    let elsewhere = ["deploy", "shop/web", "--revision", "s3://other/nope.zip"];
    refused(&elsewhere, &["bucket `other`"]);
    assert_eq!(home.deployments(), Vec::<String>::new());
    refused(&["balancer", "remove", "nope"], &[nope]);

    home.subscribe();
    let gate = Gate::closed();
    let bundle = Bundle::new("one").hook("AfterInstall", &gate.pass());
    let id = home.deploy("shop/1.zip", &bundle.zip());
    gate.wait_for(1);
    refused(&["promote", &id], &["no steps"]);
    refused(&["skip-bake", &id], &["bakes just now"]);
    refused(&["logs", &id, "--host", "host-9"], &["no target `host-9`"]);
    refused(&["logs", &id, "--event", "BeforeInstal"], &["BeforeInstal"]);
    gate.open();
    home.succeeded(&id);
}

#[test]
fn what_a_group_still_names_is_not_removed_and_what_is_told_to_type_helps() {
    let home = Home::started(1);
    let done = |line: &str| {
        let output = home.cutover(&line.split(' ').collect::<Vec<_>>());
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let remove = ["balancer", "remove", "web"];
    done("balancer add web --target-port 8080");
    done("init shop/web --balancer home:web");
    let made = home.cutover(&["init", "shop/api", "--alarm", "home:web error_rate>5%"]);
    assert!(made.status.success());
    for group in ["shop/web", "shop/api"] {
        let output = home.cutover(&remove);
        assert_eq!(output.status.code(), Some(2));
        failed_with(&output, &[group]);
        let said = String::from_utf8(output.stderr).unwrap();
        let told = said.split('`').find_map(|words| words.strip_prefix("cutover init "));
        done(&format!("init {}", told.unwrap()));
    }
    done("balancer remove web");
    // What is gone is named by nobody, and deployments go on without it.
    let status = home.call(
        "GetDeploymentGroup",
        json!({ "applicationName": "shop", "deploymentGroupName": "web" }),
    );
    let info = &status["deploymentGroupInfo"];
    assert_eq!(info["loadBalancerInfo"]["targetGroupInfoList"], json!([]), "{info:#}");
    home.subscribe();
    home.succeeded(&home.deploy("shop/1.zip", &Bundle::new("one").zip()));
}
