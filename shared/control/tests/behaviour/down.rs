//! Hosts that are known to be down (`docs/semantics.md#hosts`).

use control::OperatorApi as Api;
use control::ports::Unheard;
use control::rows::OnPremises;
use serde_json::{Value, json};

use crate::world::{World, deployment};

async fn poll(world: &World, name: &str) -> Value {
    world.poll(name, json!({})).await
}

/// Deploys to all hosts at once.
async fn deploy(world: &World) -> String {
    let mut body = deployment("v1");
    body["deploymentConfigName"] = "CodeDeployDefault.AllAtOnce".into();
    world.begin(body).await
}

/// What is said of the first event of a host that failed.
async fn said(world: &World, id: &str, name: &str) -> String {
    let target = world.target(id, name).await;
    assert_eq!(target["status"], "Failed", "{target}");
    let message = target["lifecycleEvents"][0]["diagnostics"]["message"].clone();
    message.as_str().unwrap().to_owned()
}

async fn status(world: &World, id: &str, name: &str) -> Value {
    world.target(id, name).await["status"].take()
}

#[tokio::test]
async fn a_host_that_is_down_is_offered_its_command_and_fails_soon_with_when_it_was_last_seen() {
    let world = World::with_group().await;
    for name in ["web-1", "web-2", "web-3", "web-4"] {
        world.register(name).await;
        poll(&world, name).await;
    }
    world.pass_ms(240_000);
    // Twice: what is noted once in a minute must still do.
    poll(&world, "web-2").await;
    world.pass_ms(59_000);
    poll(&world, "web-2").await;
    world.pass_ms(59_000);
    let id = deploy(&world).await;
    for name in ["web-1", "web-2", "web-3", "web-4"] {
        assert_eq!(status(&world, &id, name).await, "Pending", "{name}");
    }
    world.pass_ms(4_999);
    world.claim("web-3").await;
    world.advance(&id).await;
    assert_eq!(status(&world, &id, "web-1").await, "Pending");
    world.pass_ms(1);
    world.advance(&id).await;
    let words = said(&world, &id, "web-1").await;
    assert!(words.contains("is down: last seen 4 min ago"), "{words}");
    assert!(words.contains("within 5 s") && words.contains("its runner runs"), "{words}");
    assert!(said(&world, &id, "web-4").await.contains("last seen"));
    assert_eq!(status(&world, &id, "web-2").await, "Pending", "it was not down");
    assert_eq!(status(&world, &id, "web-3").await, "InProgress", "it came back in time");
    // It is too late now, and the host that came back is heard as any other.
    assert_eq!(poll(&world, "web-1").await["offers"], json!([]));
    // The other one has said nothing meanwhile, and is down when it is offered its command again.
    for ms in [25_000, 5_000] {
        assert_eq!(status(&world, &id, "web-2").await, "Pending");
        world.pass_ms(ms);
        world.advance(&id).await;
    }
    let words = said(&world, &id, "web-2").await;
    assert!(words.contains("last seen 1 min ago"), "{words}");
    world.pass_ms(37_000);
    world.advance(&id).await;
    let words = said(&world, &id, "web-3").await;
    assert!(words.contains("not heard of for 60 s") && !words.contains("down"), "{words}");
}

#[tokio::test]
async fn a_host_that_never_asked_is_down_once_it_has_been_registered_for_long_enough() {
    let world = World::with_group().await;
    world.register("web-1").await;
    world.pass_ms(60_000);
    world.register("web-2").await;
    world.pass_ms(5_000);
    let id = deploy(&world).await;
    world.pass_ms(5_000);
    world.advance(&id).await;
    let words = said(&world, &id, "web-1").await;
    assert!(words.contains("not seen since it was registered 1 min ago"), "{words}");
    assert_eq!(status(&world, &id, "web-2").await, "Pending", "it may still be starting");
}

#[tokio::test]
async fn a_poll_writes_at_most_once_a_minute() {
    let world = World::with_group().await;
    world.register("web-1").await;
    let version = async || {
        let found = world.control.base.table.get(&OnPremises::key_of("web-1")).await.unwrap();
        found.unwrap().version
    };
    let before = version().await;
    for _ in 0..6 {
        poll(&world, "web-1").await;
        world.pass_ms(15_000);
    }
    assert_eq!(version().await, before + 2);
}

#[tokio::test]
async fn what_a_host_was_silent_while_nobody_listened_does_not_count() {
    let world = World::with_group().await;
    world.register("web-1").await;
    world.pass_ms(3_600_000);
    for (ms, expected) in [(59_999, "Pending"), (60_000, "Failed")] {
        // This process hears of all hosts itself, and was started a moment ago.
        world.was_unheard(Some(Unheard { ms, was_heard: false }));
        let id = deploy(&world).await;
        world.pass_ms(5_000);
        world.advance(&id).await;
        assert_eq!(status(&world, &id, "web-1").await, expected);
        if expected == "Pending" {
            world.ok(Api::stop_deployment, json!({ "deploymentId": id })).await;
            world.advance(&id).await;
        } else {
            let words = said(&world, &id, "web-1").await;
            assert!(words.contains("not seen since the server started 1 min ago"), "{words}");
        }
    }
}
