//! Configurations that go from one availability zone to the next, and deployments with them.

use control::OperatorApi as Api;
use serde_json::{Value, json};

use crate::world::{World, deployment};

fn config(name: &str, zonal: &Value) -> Value {
    json!({
        "deploymentConfigName": name,
        "minimumHealthyHosts": { "type": "HOST_COUNT", "value": 0 },
        "zonalConfig": zonal,
    })
}

async fn read(world: &World, name: &str) -> Value {
    let named = json!({ "deploymentConfigName": name });
    world.ok(Api::get_deployment_config, named).await["deploymentConfigInfo"].take()
}

/// Registers instances, each in a zone; in none where that is empty.
async fn in_zones(hosts: &[(&str, &str)]) -> World {
    let world = World::with_group().await;
    for (name, zone) in hosts {
        world.register(name).await;
        if !zone.is_empty() {
            let tags = json!([{ "Key": "zone", "Value": zone }]);
            let body = json!({ "instanceNames": [name], "tags": tags });
            world.ok(Api::add_tags_to_on_premises_instances, body).await;
        }
    }
    world
}

async fn deploy(world: &World, config: &str) -> String {
    let mut body = deployment("v1");
    body["deploymentConfigName"] = config.into();
    world.begin(body).await
}

#[tokio::test]
async fn a_zonal_configuration_is_given_back_as_it_was_made() {
    let world = World::new();
    let zonals = [
        json!({}),
        json!({ "monitorDurationInSeconds": 60 }),
        json!({
            "firstZoneMonitorDurationInSeconds": 0,
            "monitorDurationInSeconds": 172_800,
            "minimumHealthyHostsPerZone": { "type": "FLEET_PERCENT", "value": 50 },
        }),
        json!({ "minimumHealthyHostsPerZone": { "type": "HOST_COUNT", "value": 2 } }),
    ];
    for (number, zonal) in zonals.iter().enumerate() {
        let name = format!("zonal-{number}");
        let made = world.ok(Api::create_deployment_config, config(&name, zonal)).await;
        let info = read(&world, &name).await;
        assert_eq!(&info["zonalConfig"], zonal);
        assert_eq!(info["deploymentConfigId"], made["deploymentConfigId"]);
        assert_eq!(info["minimumHealthyHosts"], json!({ "type": "HOST_COUNT", "value": 0 }));
        assert_eq!(info["computePlatform"], "Server");
        assert!(info["createTime"].is_number(), "{info}");
        assert_eq!(info.as_object().unwrap().len(), 6, "{info}");
    }
    let listed = world.ok(Api::list_deployment_configs, json!({})).await;
    assert!(listed["deploymentConfigsList"].as_array().unwrap().contains(&json!("zonal-3")));
    for zonal in [
        json!({ "monitorDurationInSeconds": -1 }),
        json!({ "firstZoneMonitorDurationInSeconds": 172_801 }),
        json!({ "minimumHealthyHostsPerZone": { "type": "FLEET_PERCENT", "value": 100 } }),
        json!({ "minimumHealthyHostsPerZone": { "type": "MOST_CONCURRENCY", "value": 1 } }),
        json!({ "minimumHealthyHostsPerZone": { "type": "HOST_COUNT" } }),
    ] {
        let refused = world.refused(Api::create_deployment_config, config("wrong", &zonal)).await;
        assert_eq!(refused, "InvalidZonalDeploymentConfiguration", "{zonal}");
    }
    let lambda = json!({
        "deploymentConfigName": "wrong",
        "computePlatform": "Lambda",
        "trafficRoutingConfig": { "type": "AllAtOnce" },
        "zonalConfig": {},
    });
    assert_eq!(
        world.refused(Api::create_deployment_config, lambda).await,
        "InvalidZonalDeploymentConfiguration"
    );
}

#[tokio::test]
async fn hosts_are_deployed_to_zone_by_zone_and_progress_says_which() {
    let world = in_zones(&[("web-1", "b"), ("web-2", "a"), ("web-3", ""), ("web-4", "a")]).await;
    let times = json!({
        "firstZoneMonitorDurationInSeconds": 120, "monitorDurationInSeconds": 60,
    });
    world.ok(Api::create_deployment_config, config("by-zone", &times)).await;
    let id = deploy(&world, "by-zone").await;
    let found = world.progress(&id).await;
    assert_eq!(found["zones"], json!(["a", "b", ""]));
    assert_eq!((&found["zonesDone"], &found["stepsDone"]), (&json!(0), &Value::Null), "{found}");
    assert_eq!(world.info(&id).await["deploymentOverview"]["InProgress"], 2);
    world.work("web-4", "Succeeded").await;
    assert!(world.progress(&id).await["bakingUntil"].is_null());
    world.work("web-2", "Succeeded").await;
    let found = world.progress(&id).await;
    assert_eq!(found["bakingUntil"], 1_800_000_120.0, "{found}");
    world.pass_ms(60_000);
    world.advance(&id).await;
    assert_eq!(world.info(&id).await["deploymentOverview"]["Pending"], 2);

    let skip = json!({ "deploymentId": id, "wish": "SkipBake" });
    world.ok(Api::steer_deployment, skip.clone()).await;
    world.advance(&id).await;
    let refused = world.refused(Api::steer_deployment, skip).await;
    assert_eq!(refused, "InvalidDeploymentStatus", "the second zone is at work");
    world.work("web-1", "Succeeded").await;
    let found = world.progress(&id).await;
    assert_eq!((&found["zonesDone"], &found["bakingUntil"]), (&json!(1), &json!(1_800_000_120.0)));
    world.pass_ms(60_000);
    world.advance(&id).await;
    world.work("web-3", "Succeeded").await;
    assert_eq!(world.info(&id).await["status"], "Succeeded");
    assert_eq!(world.progress(&id).await["zonesDone"], 3);
}

#[tokio::test]
async fn a_zone_that_fails_leaves_the_later_ones_as_they_were() {
    let world = in_zones(&[("web-1", "b"), ("web-2", "a"), ("web-3", "c")]).await;
    world.ok(Api::create_deployment_config, config("by-zone", &json!({}))).await;
    let id = deploy(&world, "by-zone").await;
    world.work("web-2", "Succeeded").await;
    world.work("web-1", "Failed").await;
    let info = world.info(&id).await;
    assert_eq!(info["errorInformation"]["code"], "HEALTH_CONSTRAINTS", "{info}");
    let message = info["errorInformation"]["message"].as_str().unwrap();
    assert!(message.starts_with("Too many hosts of the zone `b` failed: 1 of 1"), "{message}");
    assert_eq!(info["deploymentOverview"]["Skipped"], 1);
    assert_eq!(world.target(&id, "web-3").await["status"], "Skipped");
}
