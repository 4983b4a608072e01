//! Instances to which Systems Manager has lost the connection (`docs/semantics.md#fleets`): what it says of them is shown,
//! and decides nothing.

use engine::Timestamp;

use crate::costs::world_of;

/// How long a host may be silent, in milliseconds.
const SILENCE_MS: u64 = 60_000;

#[tokio::test]
async fn a_connection_that_systems_manager_lost_is_told_of_who_fails_and_decides_nothing() {
    let world = world_of(3).await;
    let began = Timestamp(1_800_000_000_000);
    world.pass_ms(600_000);
    // It has lost two of the three, and one of these takes its command all the same.
    for name in ["i-1", "i-2"] {
        world.lose_connection(name, began);
    }
    let id = world.deploy("v1").await;
    let sent: Vec<String> = world.commands().into_iter().map(|(to, ..)| to).collect();
    assert_eq!(sent, ["i-0", "i-1", "i-2"], "all are sent their command, and at once");
    let (token, mut report) = world.claim_batch("i-1").await;
    report["status"] = "Succeeded".into();
    world.report(&token, report).await;
    world.advance(&id).await;
    let done = world.target(&id, "i-1").await;
    assert_eq!(done["status"], "Succeeded");
    assert!(!done.to_string().contains("ConnectionLost"), "it did as it was told: {done}");

    // The others have as long as each other. After half of that they are sent their command once more.
    world.pass_ms(SILENCE_MS / 2);
    world.advance(&id).await;
    world.pass_ms(SILENCE_MS / 2 - 1);
    world.advance(&id).await;
    for name in ["i-0", "i-2"] {
        assert_eq!(world.target(&id, name).await["status"], "Pending", "{name}");
    }
    world.pass_ms(1);
    world.advance(&id).await;
    let mut said = Vec::new();
    for name in ["i-0", "i-2"] {
        let target = world.target(&id, name).await;
        assert_eq!(target["status"], "Failed", "{name}");
        let message = &target["lifecycleEvents"][0]["diagnostics"]["message"];
        said.push(message.as_str().unwrap().to_owned());
    }
    let lost = "lost its connection to the instance when the command was sent (ConnectionLost, last seen 10 min ago)";
    assert!(said[1].contains(lost), "{said:?}");
    assert!(!said[0].contains("ConnectionLost") && said[0].contains("within 60 s"), "{said:?}");
}
