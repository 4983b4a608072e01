//! Blue/green through one target group: who comes, who goes, and who comes back.

use serde_json::{Value, json};

use super::old_hosts::{Fake, later, poised, world_of};
use super::world::World;

/// Who is registered with the target group.
fn registered(fake: &Fake) -> Vec<String> {
    fake.state().registered["home:one"].iter().cloned().collect()
}

async fn stage(world: &World, id: &str) -> Value {
    world.ok("Cutover_v1.GetProgress", json!({ "deploymentId": id })).await["stage"].clone()
}

#[tokio::test]
async fn the_old_hosts_go_when_all_new_ones_are_healthy_and_are_terminated_when_they_are_not_needed()
 {
    let (world, fake) = world_of(&["home:one"]).await;
    fake.add("i-1", None, true);
    fake.add("i-untagged", None, false);
    fake.add("i-stranger", None, true);
    fake.state().instances.get_mut("i-stranger").unwrap().tags.remove("role");
    fake.state().unhealthy.insert("new".to_owned());
    let (id, done) = poised(&world).await;
    later(&world, &id, 1_000).await;
    assert_eq!(stage(&world, &id).await, "AllowTraffic");
    assert_eq!(registered(&fake), ["i-1", "i-stranger", "i-untagged", "new"], "nobody has gone");

    fake.state().unhealthy.clear();
    later(&world, &id, 10_000).await;
    assert_eq!(registered(&fake), ["i-stranger", "new"], "who is not ours is left alone");
    assert!(fake.state().ended.is_empty());
    done.report(&world, &id).await;
    later(&world, &id, 300_000).await;
    let info = later(&world, &id, 10_000).await;
    let info = if info["status"] == "Succeeded" { info } else { later(&world, &id, 10_000).await };
    assert_eq!(info["status"], "Succeeded", "{info:#}");
    assert_eq!(fake.state().ended, ["i-1"], "the other one does not carry the tag");
    let told = info["deploymentStatusMessages"].to_string();
    assert!(told.contains("i-untagged") && !told.contains("i-stranger"), "{told}");
}

#[tokio::test]
async fn who_had_the_traffic_has_it_again_but_for_those_that_are_gone() {
    let (world, fake) = world_of(&["home:one"]).await;
    for id in ["i-1", "i-2"] {
        fake.add(id, None, true);
    }
    let (id, done) = poised(&world).await;
    done.report(&world, &id).await;
    assert_eq!(stage(&world, &id).await, "TerminationWait");
    assert_eq!(registered(&fake), ["new"]);
    fake.state().gone.insert("i-1".to_owned());
    fake.state().unhealthy.insert("i-2".to_owned());
    world.ok("StopDeployment", json!({ "deploymentId": id, "autoRollbackEnabled": true })).await;
    let info = later(&world, &id, 1_000).await;
    assert_eq!(info["status"], "InProgress", "{info:#}");
    assert_eq!(registered(&fake), ["i-2", "new"], "nobody else could take it yet");
    fake.state().unhealthy.clear();
    let info = later(&world, &id, 10_000).await;
    assert_eq!(info["status"], "Stopped", "{info:#}");
    let told = info["rollbackInfo"]["rollbackMessage"].as_str().unwrap();
    assert!(told.contains("where it was before"), "{told}");
    assert_eq!(registered(&fake), ["i-2"]);
}

#[tokio::test]
async fn a_rollback_exchanges_the_hosts_back_and_ends_none_of_them() {
    let (world, fake) = world_of(&["home:one"]).await;
    for id in ["i-1", "i-2"] {
        fake.add(id, None, true);
    }
    let (id, done) = poised(&world).await;
    done.report(&world, &id).await;
    world.ok("StopDeployment", json!({ "deploymentId": id, "autoRollbackEnabled": false })).await;
    later(&world, &id, 1_000).await;
    assert_eq!(
        (world.info(&id).await["status"].clone(), registered(&fake)),
        (json!("Stopped"), vec!["new".to_owned()])
    );
    fake.state().gone.insert("i-2".to_owned());
    let back = world.ok("Cutover_v1.RollBackDeployment", json!({ "deploymentId": id })).await;
    let back = back["deploymentId"].as_str().unwrap().to_owned();
    later(&world, &back, 1_000).await;
    let info = later(&world, &back, 1_000).await;
    assert_eq!(info["status"], "Succeeded", "{info:#}");
    assert_eq!(registered(&fake), ["i-1"]);
    assert!(fake.state().ended.is_empty());
}
