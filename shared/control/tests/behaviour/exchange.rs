//! Blue/green through one target group: who comes, who goes, and who comes back.

use control::OperatorApi as Api;
use serde_json::{Value, json};

use crate::old_hosts::{ONE, launch, poised, world_of};
use crate::world::World;

async fn stage(world: &World, id: &str) -> Value {
    world.progress(id).await["stage"].take()
}

#[tokio::test]
async fn the_old_hosts_go_when_all_new_ones_are_healthy_and_are_terminated_when_they_are_not_needed()
 {
    let world = world_of(&[ONE]).await;
    launch(&world, "i-1", None, true);
    launch(&world, "i-untagged", None, false);
    launch(&world, "i-stranger", None, true);
    world.retag("i-stranger", "role", None);
    world.find_healthy("new", false);
    let (id, done) = poised(&world).await;
    world.later(&id, 1_000).await;
    assert_eq!(stage(&world, &id).await, "AllowTraffic");
    assert_eq!(world.hosts_in(ONE), ["i-1", "i-stranger", "i-untagged", "new"], "nobody has gone");

    world.find_healthy("new", true);
    world.later(&id, 10_000).await;
    assert_eq!(world.hosts_in(ONE), ["i-stranger", "new"], "who is not ours is left alone");
    assert!(world.ended().is_empty());
    done.report(&world, &id).await;
    world.later(&id, 300_000).await;
    let info = world.later(&id, 10_000).await;
    let info = if info["status"] == "Succeeded" { info } else { world.later(&id, 10_000).await };
    assert_eq!(info["status"], "Succeeded", "{info:#}");
    assert_eq!(world.ended(), ["i-1"], "the other one does not carry the tag");
    let told = info["deploymentStatusMessages"].to_string();
    assert!(told.contains("i-untagged") && !told.contains("i-stranger"), "{told}");
}

#[tokio::test]
async fn who_had_the_traffic_has_it_again_but_for_those_that_are_gone() {
    let world = world_of(&[ONE]).await;
    for id in ["i-1", "i-2"] {
        launch(&world, id, None, true);
    }
    let (id, done) = poised(&world).await;
    done.report(&world, &id).await;
    assert_eq!(stage(&world, &id).await, "TerminationWait");
    assert_eq!(world.hosts_in(ONE), ["new"]);
    world.refuse_host("i-1");
    world.find_healthy("i-2", false);
    world
        .ok(Api::stop_deployment, json!({ "deploymentId": id, "autoRollbackEnabled": true }))
        .await;
    let info = world.later(&id, 1_000).await;
    assert_eq!(info["status"], "InProgress", "{info:#}");
    assert_eq!(world.hosts_in(ONE), ["i-2", "new"], "nobody else could take it yet");
    world.find_healthy("i-2", true);
    let info = world.later(&id, 10_000).await;
    assert_eq!(info["status"], "Stopped", "{info:#}");
    let told = info["rollbackInfo"]["rollbackMessage"].as_str().unwrap();
    assert!(told.contains("where it was before"), "{told}");
    assert_eq!(world.hosts_in(ONE), ["i-2"]);
}

#[tokio::test]
async fn a_rollback_exchanges_the_hosts_back_and_ends_none_of_them() {
    let world = world_of(&[ONE]).await;
    for id in ["i-1", "i-2"] {
        launch(&world, id, None, true);
    }
    let (id, done) = poised(&world).await;
    done.report(&world, &id).await;
    world
        .ok(Api::stop_deployment, json!({ "deploymentId": id, "autoRollbackEnabled": false }))
        .await;
    world.later(&id, 1_000).await;
    assert_eq!(
        (world.info(&id).await["status"].clone(), world.hosts_in(ONE)),
        (json!("Stopped"), vec!["new".to_owned()])
    );
    world.refuse_host("i-2");
    let back = world.ok(Api::roll_back_deployment, json!({ "deploymentId": id })).await;
    let back = back["deploymentId"].as_str().unwrap().to_owned();
    world.later(&back, 1_000).await;
    let info = world.later(&back, 1_000).await;
    assert_eq!(info["status"], "Succeeded", "{info:#}");
    assert_eq!(world.hosts_in(ONE), ["i-1"]);
    assert!(world.ended().is_empty());
}
