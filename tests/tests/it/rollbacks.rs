//! What a rollback goes back to, and which hosts it touches.

use serde_json::json;

use crate::support::archive::Bundle;
use crate::support::home::Home;

const ONE: &str = "CodeDeployDefault.OneAtATime";

/// A version whose every start leaves a line on its host.
fn counted(page: &str) -> Bundle {
    Bundle::new(page).hook("ApplicationStart", "echo $DEPLOYMENT_ID >>$HOST_ROOT/srv/starts")
}

/// A version that is bad on the second host.
fn bad(page: &str) -> Bundle {
    counted(page).hook("ValidateService", "case $HOST_ADDRESS in *.2) exit 3;; esac")
}

/// How often something was started on each host.
fn starts(home: &Home) -> Vec<usize> {
    (1..=4).map(|host| home.text(host, "srv/starts").lines().count()).collect()
}

fn hosts_of(home: &Home, id: &str) -> Vec<String> {
    let listed = home.call("ListDeploymentTargets", json!({ "deploymentId": id }));
    let ids = listed["targetIds"].as_array().unwrap().iter();
    let mut ids: Vec<String> = ids.map(|id| id.as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

/// Runs a command that succeeds, and returns what it printed.
#[track_caller]
fn done(home: &Home, args: &[&str]) -> String {
    let output = home.cutover(args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn hosts_that_a_failed_deployment_never_started_are_left_alone() {
    let home = Home::started(4);
    home.make_group(ONE);
    home.subscribe();
    home.succeeded(&home.deploy("shop/1.zip", &counted("one").zip()));
    assert_eq!(starts(&home), [1, 1, 1, 1]);
    for round in 0..2 {
        let failed = home.deploy(&format!("shop/bad-{round}.zip"), &bad("bad").zip());
        let info = home.ended(&failed);
        assert_eq!(info["status"], "Failed", "{info:#}");
        let rollback = info["rollbackInfo"]["rollbackDeploymentId"].as_str().unwrap().to_owned();
        let told = home.succeeded(&rollback);
        assert_eq!(told["deploymentOverview"]["Succeeded"], 2, "{told:#}");
        assert_eq!(hosts_of(&home, &rollback), ["host-1", "host-2"]);
        let twice = 1 + 2 * (round + 1);
        assert_eq!(starts(&home), [twice, twice, 1, 1], "round {round}");
        for host in 1..=4 {
            assert_eq!(home.text(host, "srv/shop/page.txt"), "one", "host {host}");
        }
    }
    // What became of the hosts that were left alone is still known: all four are healthy, and one at a time can go.
    let info = home.succeeded(&home.deploy("shop/2.zip", &counted("two").zip()));
    assert_eq!(info["deploymentOverview"]["Succeeded"], 4, "{info:#}");
    assert_eq!(starts(&home), [6, 6, 2, 2]);
}

#[test]
fn a_failed_deployment_is_rolled_back_by_hand_on_the_hosts_that_it_started() {
    let home = Home::started(4);
    done(&home, &["init", "shop/web", "--config", ONE]);
    home.subscribe();
    home.succeeded(&home.deploy("shop/1.zip", &counted("one").zip()));
    // The same bytes again: a failed deployment goes back to what succeeded last, whatever its bytes.
    let same = home.deploy("shop/again.zip", &counted("one").zip());
    home.succeeded(&same);
    let failed = home.deploy("shop/bad.zip", &bad("bad").zip());
    assert_eq!(home.ended(&failed)["status"], "Failed");
    let rollback = done(&home, &["rollback", &failed]);
    let told = home.succeeded(&rollback);
    assert_eq!(told["revision"]["s3Location"]["key"], "shop/again.zip");
    assert_eq!(told["rollbackInfo"]["rollbackTriggeringDeploymentId"], failed.as_str());
    assert_eq!(hosts_of(&home, &rollback), ["host-1", "host-2"]);
    assert_eq!(starts(&home), [4, 4, 2, 2]);
    // After a later deployment all hosts may have something else, and all of them are brought back.
    home.succeeded(&home.deploy("shop/2.zip", &counted("two").zip()));
    let rollback = done(&home, &["rollback", &failed]);
    home.succeeded(&rollback);
    assert_eq!(hosts_of(&home, &rollback).len(), 4);
    for host in 1..=4 {
        assert_eq!(home.text(host, "srv/shop/page.txt"), "one", "host {host}");
    }
}

#[test]
fn a_rollback_by_hand_goes_to_other_bytes_and_what_was_taken_back_is_not_deployed_unless_it_is_named()
 {
    let home = Home::started(1);
    home.make_group(ONE);
    home.subscribe();
    home.succeeded(&home.deploy("shop/1.zip", &Bundle::new("one").zip()));
    for _ in 0..2 {
        // `push` under the prefix that is subscribed to, and `deploy`: the same bytes twice.
        let url = "s3://revisions/shop/2.zip";
        home.client().put("shop/2.zip", &Bundle::new("two").zip());
        crate::support::wait_for("the upload", || {
            (home.text(1, "srv/shop/page.txt") == "two").then_some(())
        });
        home.succeeded(&home.deployments()[0]);
        let deployed = done(&home, &["deploy", "shop/web"]);
        home.succeeded(&deployed);
        let rollback = done(&home, &["rollback", &deployed]);
        home.succeeded(&rollback);
        assert_eq!(home.text(1, "srv/shop/page.txt"), "one");
        let refused = home.cutover(&["deploy", "shop/web"]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        let insist = format!("`cutover deploy shop/web --revision {url}`");
        for words in [url, &deployed, &rollback, "was taken back", &insist] {
            assert!(said.contains(words), "{words} is not in: {said}");
        }
        home.succeeded(&done(&home, &["deploy", "shop/web", "--revision", url]));
        assert_eq!(home.text(1, "srv/shop/page.txt"), "two");
        // And back again: of this one, whose bytes three deployments before it had.
        home.succeeded(&done(&home, &["rollback", &home.deployments()[0]]));
        assert_eq!(home.text(1, "srv/shop/page.txt"), "one");
    }
}

#[test]
fn a_revision_that_was_rolled_back_by_itself_is_not_deployed_unless_it_is_named() {
    let home = Home::started(1);
    home.make_group(ONE);
    home.subscribe();
    home.succeeded(&home.deploy("shop/1.zip", &Bundle::new("one").zip()));
    let bad = Bundle::new("bad").hook("AfterInstall", "exit 1").zip();
    let failed = home.deploy("shop/2.zip", &bad);
    let rollback = home.ended(&failed)["rollbackInfo"]["rollbackDeploymentId"].clone();
    home.succeeded(rollback.as_str().unwrap());
    let refused = home.cutover(&["--format", "json", "deploy", "shop/web"]);
    assert_eq!(refused.status.code(), Some(2));
    let told: serde_json::Value = serde_json::from_slice(&refused.stdout).unwrap();
    let hint = told["error"]["hint"].as_str().unwrap();
    assert!(hint.contains("--revision s3://revisions/shop/2.zip"), "{told:#}");
    // Naming an older one does not make it the newest.
    home.succeeded(&done(
        &home,
        &["deploy", "shop/web", "--revision", "s3://revisions/shop/1.zip"],
    ));
    assert_eq!(home.cutover(&["deploy", "shop/web"]).status.code(), Some(2));
    // A newer one is what is meant then.
    home.succeeded(&home.deploy("shop/3.zip", &Bundle::new("three").zip()));
    home.succeeded(&done(&home, &["deploy", "shop/web"]));
    assert_eq!(home.text(1, "srv/shop/page.txt"), "three");
}
