//! Availability zones one after another: made with AWS's own command line, and steered by people.

use serde_json::{Value, json};

use crate::support::archive::Bundle;
use crate::support::home::Home;
use crate::support::tools::aws;
use crate::support::wait_for;

#[track_caller]
fn cutover(home: &Home, args: &[&str]) -> String {
    let output = home.cutover(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `aws deploy`, and gives what it answers.
#[track_caller]
fn deploy(home: &Home, args: &[&str]) -> Value {
    let output = aws(home, &[&["deploy"], args].concat());
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// A home whose second and third host are in the zone `a`, the first in `b`, and the fourth in none.
fn world() -> Home {
    let home = Home::started(4);
    for (zone, hosts) in [("a", &["host-2", "host-3"][..]), ("b", &["host-1"])] {
        let tag = format!("Key=zone,Value={zone}");
        let names = [&["--instance-names"][..], hosts, &["--tags", tag.as_str()]].concat();
        deploy(&home, &[&["add-tags-to-on-premises-instances"], &names[..]].concat());
    }
    home
}

fn pages(home: &Home) -> Vec<String> {
    (1..=4).map(|host| home.text(host, "srv/shop/page.txt")).collect()
}

fn progress(home: &Home, id: &str) -> Value {
    home.call("Cutover_v1.GetProgress", json!({ "deploymentId": id }))
}

#[test]
fn zones_of_a_home_are_deployed_to_one_after_another_and_watched() {
    let home = world();
    let zonal = "firstZoneMonitorDurationInSeconds=3600,monitorDurationInSeconds=1,\
                 minimumHealthyHostsPerZone={type=FLEET_PERCENT,value=40}";
    let create = ["create-deployment-config", "--deployment-config-name", "by-zone"];
    let minimum = ["--minimum-healthy-hosts", "type=HOST_COUNT,value=1", "--zonal-config", zonal];
    // The zone `b` has one host, which cannot be spared.
    let first = deploy(&home, &[&create[..], &minimum].concat());
    assert!(first["deploymentConfigId"].is_string(), "{first}");
    let get = ["get-deployment-config", "--deployment-config-name", "by-zone"];
    let given = deploy(&home, &get)["deploymentConfigInfo"]["zonalConfig"].take();
    assert_eq!(
        given["minimumHealthyHostsPerZone"],
        json!({ "type": "FLEET_PERCENT", "value": 40 })
    );
    assert_eq!(given["firstZoneMonitorDurationInSeconds"], 3600);
    home.make_group("by-zone");
    home.subscribe();
    let info = home.ended(&home.deploy("shop/1.zip", &Bundle::new("one").zip()));
    assert_eq!(info["errorInformation"]["code"], "HEALTH_CONSTRAINTS_INVALID", "{info:#}");
    assert!(info["errorInformation"]["message"].as_str().unwrap().contains("zone `b`"), "{info:#}");

    let create = ["config", "create", "patient", "--first-zone-bake", "1h", "--zone-bake", "1s"];
    cutover(&home, &[&create[..], &["--minimum-healthy", "1"]].concat());
    home.make_group("patient");
    let id = home.deploy("shop/2.zip", &Bundle::new("two").zip());
    let found = wait_for("the first zone to bake", || {
        let found = progress(&home, &id);
        (!found["bakingUntil"].is_null()).then_some(found)
    });
    assert_eq!(found["zones"], json!(["a", "b", ""]), "{found:#}");
    assert_eq!(found["zonesDone"], 0);
    assert_eq!(pages(&home), ["", "two", "two", ""]);
    let told = cutover(&home, &["status", "shop/web"]);
    assert!(told.contains("zone 1 of 3: a, bakes until"), "{told}");
    cutover(&home, &["skip-bake", &id]);
    home.succeeded(&id);
    assert_eq!(pages(&home), ["two"; 4]);
    let ended = |host| home.target(&id, host)["lastUpdatedAt"].as_f64().unwrap();
    assert!(ended(1) + 1.0 <= ended(4), "the second zone was watched for a second");
}

#[test]
fn a_zone_that_fails_is_the_last_one_and_is_rolled_back() {
    let home = world();
    cutover(&home, &["config", "create", "quick", "--zone-bake", "0s", "--minimum-healthy", "0"]);
    home.make_group("quick");
    home.subscribe();
    home.succeeded(&home.deploy("shop/1.zip", &Bundle::new("one").zip()));
    assert_eq!(pages(&home), ["one"; 4]);
    let script = "case $HOST_ADDRESS in *.1) exit 1;; esac";
    let id = home.deploy("shop/2.zip", &Bundle::new("two").hook("AfterInstall", script).zip());
    let info = home.ended(&id);
    assert_eq!(info["errorInformation"]["code"], "HEALTH_CONSTRAINTS", "{info:#}");
    let message = info["errorInformation"]["message"].as_str().unwrap();
    assert!(message.starts_with("Too many hosts of the zone `b` failed: 1 of 1"), "{message}");
    let statuses: Vec<Value> =
        (1..=4).map(|host| home.target(&id, host)["status"].clone()).collect();
    assert_eq!(statuses, ["Failed", "Succeeded", "Succeeded", "Skipped"]);
    assert_eq!(progress(&home, &id)["zonesDone"], 1);
    home.succeeded(info["rollbackInfo"]["rollbackDeploymentId"].as_str().unwrap());
    assert_eq!(pages(&home), ["one"; 4]);
}
