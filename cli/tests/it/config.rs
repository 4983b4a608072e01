//! `config create`: ladders, and what goes zone by zone.

use serde_json::json;

use crate::service::Service;

#[test]
fn a_configuration_is_a_ladder_or_goes_zone_by_zone() {
    let made = [json!({ "deploymentConfigId": "6a1f" })];
    let service = Service::with(&[("CreateLadder", &made), ("CreateDeploymentConfig", &made)]);
    let create =
        |options: &[&str]| service.run(&[&["config", "create", "web"][..], options].concat());
    let said = create(&["--steps", "1 host@1m,100%"]);
    assert!(said.starts_with("configuration web created\n"), "{said}");
    let said = create(&["--zone-bake", "5m", "--first-zone-bake", "2h", "--min-per-zone", "50%"]);
    assert!(said.starts_with("configuration web created\n"), "{said}");
    create(&["--zone-bake", "30s", "--minimum-healthy", "3"]);
    let ladder = json!({ "deploymentConfigName": "web", "steps": "1 host@1m,100%" });
    assert_eq!(service.asked("CreateLadder"), [ladder]);
    let zonal = |zonal, kind, value| {
        json!({
            "deploymentConfigName": "web",
            "minimumHealthyHosts": { "type": kind, "value": value },
            "zonalConfig": zonal,
        })
    };
    let first = json!({
        "firstZoneMonitorDurationInSeconds": 7200,
        "monitorDurationInSeconds": 300,
        "minimumHealthyHostsPerZone": { "type": "FLEET_PERCENT", "value": 50 },
    });
    let second = json!({ "monitorDurationInSeconds": 30 });
    let expected = [zonal(first, "FLEET_PERCENT", 50), zonal(second, "HOST_COUNT", 3)];
    assert_eq!(service.asked("CreateDeploymentConfig"), expected);
    let (exit, told) = service.run_for_json(&["config", "create", "web", "--min-per-zone", "1"]);
    assert_eq!((exit, told), (0, made[0].clone()));
}

#[test]
fn a_configuration_that_is_neither_or_both_is_wrong_use() {
    let service = Service::with(&[]);
    for options in [
        &[][..],
        &["--minimum-healthy", "1"],
        &["--steps", "100%", "--zone-bake", "5m"],
        &["--zone-bake", "5"],
        &["--zone-bake", "500ms"],
        &["--min-per-zone", "half"],
    ] {
        let said = service.run(&[&["config", "create", "web"][..], options].concat());
        assert!(said.ends_with("exit 2\n"), "{options:?}: {said}");
    }
    assert!(service.asked("CreateDeploymentConfig").is_empty());
}
