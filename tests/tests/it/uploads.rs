//! Uploads: which ones start a deployment, which wait, and that none is lost or taken twice.

use std::fs;

use serde_json::Value;

use crate::support::archive::Bundle;
use crate::support::gate::Gate;
use crate::support::home::Home;
use crate::support::wait_for;

const ALL: &str = "CodeDeployDefault.AllAtOnce";

fn subscribed(hosts: u8) -> Home {
    let home = Home::started(hosts);
    home.make_group(ALL);
    home.subscribe();
    home
}

/// The uploads that are known, the newest first.
fn uploads(home: &Home) -> Vec<Value> {
    home.status()["uploads"].as_array().cloned().unwrap_or_default()
}

#[track_caller]
fn wait_for_uploads(home: &Home, count: usize) -> Vec<Value> {
    wait_for(&format!("{count} uploads"), || {
        let found = uploads(home);
        (found.len() >= count).then_some(found)
    })
}

#[test]
fn a_notification_that_comes_twice_starts_one_deployment() {
    let mut home = subscribed(1);
    let first = home.deploy("shop/app.zip", &Bundle::new("one").zip());
    home.succeeded(&first);
    let identity = uploads(&home)[0]["identity"].as_str().unwrap().to_owned();
    assert!(home.stop().success());
    // As if the home had died before it noted that the upload was handled.
    let entry = home.dir().join("s3/uploads").join(&identity);
    assert!(!entry.exists(), "a handled upload is forgotten");
    fs::write(&entry, r#"{"bucket":"revisions","key":"shop/app.zip"}"#).unwrap();
    home.start();
    wait_for("the upload to be handled again", || (!entry.exists()).then_some(()));
    assert_eq!(home.deployments(), [first]);
    assert_eq!(uploads(&home).len(), 1);
}

#[test]
fn a_second_put_starts_another_deployment_even_of_equal_bytes() {
    let home = subscribed(1);
    let bundle = Bundle::new("one").zip();
    let first = home.deploy("shop/app.zip", &bundle);
    home.succeeded(&first);
    home.client().put("shop/app.zip", &bundle);
    let found = wait_for_uploads(&home, 2);
    let second = found[0]["deploymentId"].as_str().unwrap();
    assert_ne!(second, first);
    home.succeeded(second);
    assert_eq!(home.deployments().len(), 2);
}

#[test]
fn what_was_uploaded_before_the_subscription_or_outside_of_its_prefix_is_not_deployed() {
    let home = Home::started(1);
    home.make_group(ALL);
    let bundle = Bundle::new("one").zip();
    home.client().put("shop/early.zip", &bundle);
    home.subscribe();
    home.client().put("shopping/other.zip", &bundle);
    home.client().put("sho", &bundle);
    let id = home.deploy("shop/late.zip", &bundle);
    home.succeeded(&id);
    assert_eq!(home.deployments(), [id]);
    assert_eq!(uploads(&home).len(), 1);
}

#[test]
fn during_a_deployment_the_newest_upload_waits_and_starts_after_its_rollback() {
    let home = subscribed(1);
    home.succeeded(&home.deploy("shop/1.zip", &Bundle::new("one").zip()));
    let gate = Gate::closed();
    let bad = Bundle::new("bad").hook("AfterInstall", &format!("{}\nexit 1", gate.pass()));
    let bad = home.deploy("shop/2.zip", &bad.zip());
    gate.wait_for(1);
    home.client().put("shop/3.zip", &Bundle::new("three").zip());
    assert_eq!(home.upload_of("shop/3.zip")["state"], "Waiting");
    home.client().put("shop/4.zip", &Bundle::new("four").zip());
    assert_eq!(home.upload_of("shop/4.zip")["state"], "Waiting");
    assert_eq!(home.upload_of("shop/3.zip")["state"], "Superseded");
    assert_eq!(home.status()["queuedUpload"]["key"], "shop/4.zip");
    gate.open();
    let info = home.ended(&bad);
    assert_eq!(info["status"], "Failed");
    let rollback = info["rollbackInfo"]["rollbackDeploymentId"].as_str().unwrap().to_owned();
    let last = wait_for("the waiting upload to start", || {
        home.upload_of("shop/4.zip")["deploymentId"].as_str().map(str::to_owned)
    });
    home.succeeded(&rollback);
    home.succeeded(&last);
    assert_eq!(home.text(1, "srv/shop/page.txt"), "four");
    let order = home.deployments();
    assert_eq!(order[..3], [last.clone(), rollback.clone(), bad], "{order:?}");
    let began = |id: &str| home.deployment(id)["createTime"].as_f64().unwrap();
    let ended = home.deployment(&rollback)["completeTime"].as_f64().unwrap();
    assert!(began(&last) >= ended);
}

#[test]
fn an_upload_is_found_again_after_up_was_killed_before_it_was_handled() {
    let mut home = subscribed(1);
    for round in 0..4 {
        let key = format!("shop/{round}.zip");
        home.client().put(&key, &Bundle::new(&format!("round {round}")).zip());
        home.kill();
        home.start();
        let upload = wait_for("the upload to start its deployment", || {
            let upload = home.upload_of(&key);
            upload["deploymentId"].is_string().then_some(upload)
        });
        home.succeeded(upload["deploymentId"].as_str().unwrap());
        assert_eq!(home.text(1, "srv/shop/page.txt"), format!("round {round}"));
    }
    assert_eq!(home.deployments().len(), 4);
}
