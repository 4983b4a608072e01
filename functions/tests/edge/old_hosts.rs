//! Instances are terminated by EC2 and by Auto Scaling, whatever goes wrong on the way to them.

use control::ports::CloudError;

use crate::services::Kind;
use crate::world::{HOSTS, Plot, Streaming, World};

const GONE: &str = "i-0000000000000000f";

fn names(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

/// A world whose first call from now on goes wrong.
async fn world(kind: Option<Kind>) -> World {
    let world = World::new(Plot::Failing, None, Streaming::AsWritten).await;
    let mut state = world.services.state();
    state.fault = kind.map(|kind| (state.calls.len(), kind));
    drop(state);
    world
}

const KINDS: [Kind; 5] =
    [Kind::Throttled, Kind::Broken, Kind::NotArrived, Kind::AnswerLost, Kind::Doubled];

#[tokio::test]
async fn what_goes_wrong_once_is_asked_for_again_and_terminates_each_instance() {
    for kind in KINDS {
        let world = world(Some(kind)).await;
        let fleet = world.evaluator.sites.in_own().instances.fleet;
        let first = fleet.terminate(&names(&HOSTS)).await;
        match kind {
            Kind::Doubled => assert!(first.unwrap().is_empty(), "{kind:?}"),
            Kind::Throttled | Kind::Broken | Kind::NotArrived | Kind::AnswerLost => {
                assert!(
                    matches!(first, Err(CloudError::Unavailable { .. })),
                    "{kind:?}: {first:?}"
                );
            }
        }
        assert!(fleet.terminate(&names(&HOSTS)).await.unwrap().is_empty(), "{kind:?}");
        let ended = world.services.state().terminated.clone();
        assert!(HOSTS.iter().all(|host| ended.contains(&(*host).to_owned())), "{kind:?}");
    }
}

#[tokio::test]
async fn one_that_is_protected_or_gone_keeps_none_of_the_others() {
    let world = world(None).await;
    let [first, second, third] = HOSTS;
    world.services.state().protected = names(&[second]);
    let all = names(&[first, second, GONE, third]);
    let fleet = world.evaluator.sites.in_own().instances.fleet;
    let refused = fleet.terminate(&all).await.unwrap();
    let named: Vec<&String> = refused.keys().collect();
    assert_eq!(named, [second], "{refused:?}");
    assert!(refused[second].contains("may not be terminated"), "{refused:?}");
    assert_eq!(world.services.state().terminated, [first, third]);
}

#[tokio::test]
async fn auto_scaling_terminates_one_and_wants_one_less() {
    for kind in KINDS {
        let world = world(Some(kind)).await;
        let scaling = world.evaluator.sites.in_own().instances.scaling;
        let first = scaling.terminate(HOSTS[0]).await;
        let is_heard = kind == Kind::Doubled;
        assert_eq!(first.is_ok(), is_heard, "{kind:?}: {first:?}");
        scaling.terminate(HOSTS[0]).await.unwrap();
        assert_eq!(world.services.state().terminated, [HOSTS[0]], "{kind:?}");
    }
    let world = world(None).await;
    world.services.state().protected = names(&[HOSTS[1]]);
    let scaling = world.evaluator.sites.in_own().instances.scaling;
    let refused = scaling.terminate(HOSTS[1]).await;
    assert!(matches!(refused, Err(CloudError::Refused { .. })), "{refused:?}");
    scaling.terminate(GONE).await.unwrap();
}
