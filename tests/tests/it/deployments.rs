//! The main job: an upload becomes a deployment, and a bad one is rolled back.

use serde_json::{Value, json};

use crate::support::archive::Bundle;
use crate::support::home::Home;

const ONE: &str = "CodeDeployDefault.OneAtATime";

#[test]
fn an_upload_is_deployed_to_every_host() {
    let home = Home::started(4);
    home.make_group(ONE);
    home.subscribe();
    let bundle = Bundle::new("one\n")
        .hook("ApplicationStart", "echo $HOST_ADDRESS >$HOST_ROOT/srv/shop/ran");
    let info = home.succeeded(&home.deploy("shop/1.zip", &bundle.zip()));
    assert_eq!(info["deploymentOverview"]["Succeeded"], 4, "{info:#}");
    for host in 1..=4 {
        assert_eq!(home.text(host, "srv/shop/page.txt"), "one\n");
        assert!(home.text(host, "srv/shop/ran").starts_with("127."));
    }
}

#[test]
fn a_bad_revision_is_rolled_back_also_when_the_good_one_is_gone_from_the_bucket() {
    let home = Home::started(3);
    home.make_group(ONE);
    home.subscribe();
    let good = home.deploy("shop/good.zip", &Bundle::new("good").zip());
    home.succeeded(&good);
    let better = home
        .deploy("shop/better.tar.gz", &crate::support::archive::gzip(&Bundle::new("better").tar()));
    home.succeeded(&better);
    home.client().delete("shop/better.tar.gz");
    let bad = Bundle::new("bad").file("www/new.txt", "new", 0o644);
    let bad =
        bad.hook("ValidateService", "case $HOST_ADDRESS in *.2) echo it is bad >&2; exit 3;; esac");
    let bad = home.deploy("shop/bad.zip", &bad.zip());
    let info = home.ended(&bad);
    assert_eq!(info["status"], "Failed", "{info:#}");
    let rollback = info["rollbackInfo"]["rollbackDeploymentId"].as_str().unwrap().to_owned();
    let told = home.succeeded(&rollback);
    assert_eq!(told["rollbackInfo"]["rollbackTriggeringDeploymentId"], bad.as_str(), "{told:#}");
    assert_eq!(told["revision"]["s3Location"]["key"], "shop/better.tar.gz");
    for host in 1..=3 {
        assert_eq!(home.text(host, "srv/shop/page.txt"), "better", "host {host}");
        assert!(!home.file(host, "srv/shop/new.txt").exists(), "host {host}");
    }
    let failed = home.event(&bad, 2, "ValidateService");
    assert_eq!(failed["diagnostics"]["errorCode"], "ScriptFailed", "{failed:#}");
    assert!(failed["diagnostics"]["logTail"].as_str().unwrap().contains("it is bad"), "{failed:#}");
    assert_eq!(home.deployments().len(), 4);
}

#[test]
fn a_rollback_has_the_bytes_of_its_revision_after_the_key_was_overwritten() {
    let home = Home::started(1);
    home.make_group(ONE);
    home.subscribe();
    home.succeeded(&home.deploy("shop/app.zip", &Bundle::new("first").zip()));
    let bad = Bundle::new("second").hook("AfterInstall", "exit 1");
    home.client().put("shop/app.zip", &bad.zip());
    let bad = crate::support::wait_for("the second deployment", || {
        home.deployments().into_iter().find(|id| home.deployment(id)["status"] == "Failed")
    });
    let rollback = home.deployment(&bad)["rollbackInfo"]["rollbackDeploymentId"].clone();
    home.succeeded(rollback.as_str().unwrap());
    assert_eq!(home.text(1, "srv/shop/page.txt"), "first");
}

#[test]
fn hooks_know_the_object_that_was_read_whatever_the_revision_named() {
    let home = Home::started(1);
    home.make_group(ONE);
    home.subscribe();
    let note = "echo $BUNDLE_ETAG $BUNDLE_VERSION >$HOST_ROOT/srv/shop/object";
    let good = Bundle::new("first").hook("AfterInstall", note).zip();
    let location = |id: &str| home.deployment(id)["revision"]["s3Location"].clone();
    let named = |location: &Value| {
        let part = |name: &str| location[name].as_str().unwrap().to_owned();
        format!("{} {}\n", part("eTag"), part("version"))
    };
    let by_upload = home.deploy("shop/app.zip", &good);
    home.succeeded(&by_upload);
    let of_first = named(&location(&by_upload));
    assert_eq!(home.text(1, "srv/shop/object"), of_first);

    // A revision that names neither is of the object that is there, also when it is gone back to later.
    let deploy = || {
        let revision = json!({ "bucket": "revisions", "key": "shop/app.zip", "bundleType": "zip" });
        let revision = json!({ "revisionType": "S3", "s3Location": revision });
        let request = json!({ "applicationName": "shop", "deploymentGroupName": "web", "revision": revision });
        home.call("CreateDeployment", request)["deploymentId"].as_str().unwrap().to_owned()
    };
    std::fs::write(home.file(1, "srv/shop/object"), "nothing").unwrap();
    let unnamed = deploy();
    home.succeeded(&unnamed);
    assert_eq!(location(&unnamed).get("eTag"), None);
    assert_eq!(home.text(1, "srv/shop/object"), of_first);

    let bad = Bundle::new("second").hook("AfterInstall", note).hook("ValidateService", "exit 1");
    home.client().put("shop/app.zip", &bad.zip());
    let bad = crate::support::wait_for("the failed deployment", || {
        home.deployments().into_iter().find(|id| home.deployment(id)["status"] == "Failed")
    });
    let rollback = home.deployment(&bad)["rollbackInfo"]["rollbackDeploymentId"].clone();
    home.succeeded(rollback.as_str().unwrap());
    assert_ne!(named(&location(&bad)), of_first);
    assert_eq!(home.text(1, "srv/shop/object"), of_first);
}
