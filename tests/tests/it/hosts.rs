//! Home's hosts: what AppSpec files and hooks find there.

use std::collections::BTreeSet;
use std::net::{IpAddr, TcpListener};

use crate::support::archive::Bundle;
use crate::support::home::Home;

const ALL: &str = "CodeDeployDefault.AllAtOnce";

fn subscribed(hosts: u8) -> Home {
    let home = Home::started(hosts);
    home.make_group(ALL);
    home.subscribe();
    home
}

/// Deploys a bundle with this hook, which fails, and returns what is said of it.
#[track_caller]
fn failure_of(home: &Home, key: &str, script: &str, options: &str) -> String {
    failure_at("AfterInstall", home, key, script, options)
}

/// The message of the event that fails because of a script of AfterInstall.
fn failure_at(event: &str, home: &Home, key: &str, script: &str, options: &str) -> String {
    let bundle = Bundle::new("page").hook_with("AfterInstall", script, options);
    let id = home.deploy(key, &bundle.zip());
    assert_eq!(home.ended(&id)["status"], "Failed");
    let event = home.event(&id, 1, event);
    assert_eq!(event["status"], "Failed", "{event:#}");
    event["diagnostics"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn absolute_destinations_and_scripts_work_unchanged() {
    let home = subscribed(2);
    assert!(!home.said().contains("HOST_ROOT"), "this machine refuses namespaces: {}", home.said());
    let script = "set -e\n\
                  [ \"$(cat /srv/shop/page.txt)\" = page ]\n\
                  mkdir -p /opt/shop\n\
                  echo \"$HOST_ADDRESS\" >/opt/shop/address\n\
                  echo port=80 >/etc/shop.conf\n\
                  cat /etc/passwd >/opt/shop/users\n\
                  pwd >/opt/shop/where";
    let bundle = Bundle::new("page").hook("AfterInstall", script);
    home.succeeded(&home.deploy("shop/1.zip", &bundle.zip()));
    let mut addresses = BTreeSet::new();
    for host in 1..=2 {
        assert_eq!(home.text(host, "etc/shop.conf"), "port=80\n");
        assert_eq!(
            home.text(host, "opt/shop/users"),
            std::fs::read_to_string("/etc/passwd").unwrap()
        );
        assert_eq!(home.text(host, "opt/shop/where"), "/\n");
        addresses.insert(home.text(host, "opt/shop/address").trim().parse::<IpAddr>().unwrap());
    }
    assert!(!std::path::Path::new("/etc/shop.conf").exists(), "the machine is as it was");
    assert_eq!(addresses.len(), 2);
    // One port can be used by both.
    let first = TcpListener::bind((*addresses.first().unwrap(), 0)).unwrap();
    TcpListener::bind((*addresses.last().unwrap(), first.local_addr().unwrap().port())).unwrap();
}

#[test]
fn without_namespaces_destinations_lie_under_the_root_that_hooks_are_told() {
    let home = Home::started_without_namespaces(1);
    let said = home.said();
    assert_eq!(said.matches("HOST_ROOT").count(), 1, "said once: {said}");
    home.make_group(ALL);
    home.subscribe();
    let script = "set -e\ncp \"$HOST_ROOT/srv/shop/page.txt\" \"$HOST_ROOT/copy\"\npwd >\"$HOST_ROOT/where\"";
    let bundle = Bundle::new("page").hook("AfterInstall", script);
    home.succeeded(&home.deploy("shop/1.zip", &bundle.zip()));
    assert_eq!(home.text(1, "copy"), "page");
    assert_eq!(
        home.text(1, "where").trim(),
        home.file(1, "").to_str().unwrap().trim_end_matches('/')
    );
}

#[test]
fn scripts_that_want_what_a_host_has_not_fail_with_a_message_that_says_so() {
    let home = subscribed(1);
    let options = "timeout: 60";
    let said = failure_of(&home, "shop/1.zip", "PATH=/none\nsystemctl restart shop", options);
    assert!(said.contains("no systemd"), "{said}");
    let said = failure_of(&home, "shop/2.zip", "PATH=/none\napt-get install -y nginx", options);
    assert!(said.contains("no package manager"), "{said}");
    let options = "timeout: 60\nrunas: nobody-by-this-name";
    let said = failure_at("Install", &home, "shop/3.zip", "true", options);
    assert!(said.contains("no user `nobody-by-this-name` on this host"), "{said}");
}

#[test]
fn runas_becomes_another_user_where_the_home_is_roots() {
    let home = subscribed(1);
    let options = "timeout: 60\nrunas: nobody";
    if rustix::process::geteuid().is_root() {
        let script = "id -un >/tmp/who-it-is";
        let bundle = Bundle::new("page").hook_with("AfterInstall", script, options);
        let id = home.deploy("shop/1.zip", &bundle.zip());
        let info = home.ended(&id);
        let event = home.event(&id, 1, "AfterInstall");
        assert_eq!(info["status"], "Succeeded", "{event:#}");
        assert_eq!(home.text(1, "tmp/who-it-is"), "nobody\n");
    } else {
        let said = failure_at("Install", &home, "shop/1.zip", "true", options);
        assert!(said.contains("run the agent as"), "{said}");
    }
}

#[test]
fn hooks_that_misbehave_end_and_are_told_apart() {
    let home = subscribed(5);
    let script = "case $HOST_ADDRESS in\n\
        *.1) echo waiting; sleep 1000;;\n\
        *.2) trap '' TERM; while true; do sleep 1; done;;\n\
        *.3) head -c 20000000 /dev/zero | tr '\\0' x; echo; echo the last line;;\n\
        *.4) printf 'b\\377d \\303\\050\\n';;\n\
        *.5) sleep 20 & echo started;;\n\
        esac";
    let bundle = Bundle::new("page").hook_with("AfterInstall", script, "timeout: 8");
    let id = home.deploy("shop/1.zip", &bundle.zip());
    home.ended(&id);
    let event = |host| home.event(&id, host, "AfterInstall");
    for host in [1, 2] {
        let event = event(host);
        assert_eq!(event["diagnostics"]["errorCode"], "ScriptTimedOut", "{event:#}");
    }
    for host in 3..=5 {
        let event = event(host);
        assert_eq!(event["status"], "Succeeded", "{event:#}");
    }
    let logs = |host: u8| {
        let output = home.cutover(&["logs", &id, "--host", &format!("host-{host}")]);
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(logs(1).contains("waiting"), "{}", logs(1));
    assert!(logs(3).contains("the last line") && logs(3).len() < 200_000);
    assert!(logs(4).contains("b\u{fffd}d"), "{}", logs(4));
    assert!(logs(5).contains("started"), "{}", logs(5));
}

#[test]
fn a_hook_that_is_missing_or_not_executable_is_told() {
    let home = subscribed(1);
    let bundle = Bundle::new("page").hook("AfterInstall", "echo it ran");
    let plain = bundle
        .files()
        .into_iter()
        .fold(Bundle::default(), |bundle, (path, content, _)| bundle.file(&path, content, 0o644));
    let id = home.deploy("shop/1.zip", &plain.zip());
    home.succeeded(&id);
    let log = String::from_utf8(home.cutover(&["logs", &id]).stdout).unwrap();
    assert!(log.contains("it ran") && log.contains("was not executable"), "{log}");
}
