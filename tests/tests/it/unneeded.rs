//! What nobody needs any more goes from a home in time.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use local::hosts::layout::{HostFiles, HostNumber};
use rustix::process::Signal;
use serde_json::json;

use crate::support::archive::Bundle;
use crate::support::home::Home;
use crate::support::{process, wait_for};

const ONE: &str = "CodeDeployDefault.OneAtATime";

fn set_back(path: &Path, days: u64) {
    let then = SystemTime::now() - Duration::from_secs(days * 24 * 3_600 + 1);
    File::options().append(true).open(path).unwrap().set_modified(then).unwrap();
}

/// Has the host begin anew, after a day or more as it seems to it.
fn begin_anew(home: &Home, state: &Path) {
    let asked = state.join("groups-asked");
    wait_for("the host's question about its groups", || asked.exists().then_some(()));
    set_back(&asked, 1);
    process::signal(home.host(1).unwrap(), Signal::KILL);
}

#[test]
fn what_a_host_keeps_of_a_deleted_group_goes_when_its_time_is_over() {
    let home = Home::started(1);
    let state = HostFiles::new(&home.dir(), HostNumber::new(1).unwrap()).state();
    let groups = || -> Vec<PathBuf> {
        let all = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| path.join("generation").exists()).collect()
    };
    home.make_group(ONE);
    home.subscribe();
    home.succeeded(&home.deploy("shop/1.zip", &Bundle::new("one").zip()));
    home.succeeded(&home.deploy("shop/2.zip", &Bundle::new("two").zip()));
    let [group] = groups().try_into().unwrap();
    begin_anew(&home, &state);
    wait_for("another question", || {
        let asked = state.join("groups-asked").metadata().unwrap().modified().unwrap();
        asked.elapsed().is_ok_and(|age| age < Duration::from_secs(3_600)).then_some(())
    });
    assert!(!group.join("deleted").exists(), "the group is there");

    let named = json!({ "applicationName": "shop", "deploymentGroupName": "web" });
    home.call("DeleteDeploymentGroup", named);
    begin_anew(&home, &state);
    wait_for("the host to hear of it", || group.join("deleted").exists().then_some(()));
    assert!(group.join("last_successful").exists());
    set_back(&group.join("deleted"), 30);
    begin_anew(&home, &state);
    wait_for("the end of what is kept", || (!group.exists() && groups().is_empty()).then_some(()));
    assert_eq!(home.text(1, "srv/shop/page.txt"), "two", "what was installed stays");
    assert!(!home.file(1, ".cutover").exists(), "what it had replaced does not");
}

/// The files of the kept bundles.
fn kept(home: &Home) -> Vec<PathBuf> {
    let buckets = fs::read_dir(home.dir().join("s3/buckets")).unwrap();
    let buckets = buckets.map(|entry| entry.unwrap().path());
    let bucket = buckets.filter(|path| !path.ends_with("revisions"));
    bucket.flat_map(|path| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path())).collect()
}

/// Has an object be put a year before it was, as its record says.
fn put_a_year_before(object: &Path) {
    let mut bytes = fs::read(object).unwrap();
    let said = b"\"modified\":\"";
    let at = bytes.windows(said.len()).rposition(|window| window == said).unwrap() + said.len();
    let year: u32 = std::str::from_utf8(&bytes[at..at + 4]).unwrap().parse().unwrap();
    bytes[at..at + 4].copy_from_slice((year - 1).to_string().as_bytes());
    fs::write(object, bytes).unwrap();
}

#[test]
fn bundles_that_nothing_needs_go_and_what_may_be_gone_back_to_stays() {
    let mut home = Home::started(1);
    home.make_group(ONE);
    home.subscribe();
    let first = home.deploy("shop/1.zip", &Bundle::new("one").zip());
    home.succeeded(&first);
    let second = home.deploy("shop/2.zip", &Bundle::new("two").zip());
    home.succeeded(&second);
    for key in ["shop/1.zip", "shop/2.zip"] {
        home.client().delete(key);
    }
    assert_eq!(kept(&home).len(), 2);
    let restarted = |home: &mut Home| {
        home.stop();
        kept(home).iter().for_each(|object| put_a_year_before(object));
        home.start();
    };
    restarted(&mut home);
    let rollback = home.cutover(&["rollback", &second]);
    assert!(rollback.status.success(), "{}", String::from_utf8_lossy(&rollback.stderr));
    wait_for("the first revision", || (home.text(1, "srv/shop/page.txt") == "one").then_some(()));
    home.succeeded(&home.deployments()[0]);
    assert_eq!(kept(&home).len(), 2);

    // With the application goes what only that needed.
    home.call("CreateApplication", json!({ "applicationName": "other" }));
    home.call("DeleteApplication", json!({ "applicationName": "shop" }));
    assert_eq!(kept(&home).len(), 2, "they may have been deleted by mistake");
    restarted(&mut home);
    wait_for("their end", || kept(&home).is_empty().then_some(()));
}
