//! Rollbacks: which hosts they go to, and what the others count for.

use expect_test::expect;

use super::*;
use crate::health::LeftAlone;

/// A rollback to `total` hosts, of which `unhealthy` are unhealthy, beside others.
fn rollback(rule: Minimum, total: u32, unhealthy: u32, left_alone: LeftAlone) -> Story {
    let failed = Deployment::new(order(rule, true), None);
    let begun = failed.order().created_at;
    let rollback = failed.rollback("d-CCCCCCCCC".parse().unwrap(), 6, begun).unwrap();
    let mut story = Story { deployment: rollback, now: begun, told: String::new(), accepts: true };
    story.step();
    story.fact(Fact::PartSealed { total, unhealthy, out: 0, left_alone });
    story
}

#[test]
fn hosts_that_are_left_alone_count_in_the_rule_as_what_they_are() {
    // Five of ten stay healthy. Two hosts failed and cost none; of the eight healthy ones three can be spared.
    let others = LeftAlone { healthy: 3, unhealthy: 0 };
    let mut story = rollback(Minimum::FleetPercent(50), 7, 2, others);
    for ordinal in 0..7 {
        story.seen(ordinal, Sighting::Succeeded);
    }
    story.tells(expect![[r#"
        0 EnrolHosts
        0 Dispatch { batch: 0, attempt: 1, hosts: Ordinals([(0, 5)]) }
        0 Dispatch { batch: 1, attempt: 1, hosts: Ordinals([(5, 1)]) }
        0 Dispatch { batch: 2, attempt: 1, hosts: Ordinals([(6, 1)]) }
        0 End(Ending { status: Succeeded, failure: None, roll_back: false, rollback_refused: None })
    "#]]);
}

#[test]
fn one_failure_of_many_hosts_that_are_healthy_does_not_stop_a_rollback() {
    let others = LeftAlone { healthy: 90, unhealthy: 0 };
    let mut story = rollback(Minimum::FleetPercent(50), 2, 2, others);
    story.seen(0, Sighting::Failed);
    story.seen(1, Sighting::Succeeded);
    assert_eq!(story.deployment.status(), Status::Succeeded, "{}", story.told);
    // Where none of its own hosts succeeds, it has not.
    let mut story = rollback(Minimum::FleetPercent(50), 1, 1, others);
    story.seen(0, Sighting::Failed);
    assert_eq!(story.deployment.status(), Status::Failed, "{}", story.told);
}

#[test]
fn hosts_that_stay_unhealthy_do_not_keep_a_rollback_from_going_on() {
    // All but one would have to be healthy, and that can never be.
    let others = LeftAlone { healthy: 4, unhealthy: 3 };
    let mut story = rollback(Minimum::OneAtATime, 3, 0, others);
    assert_eq!(story.deployment.hosts().fleet().in_flight, 1);
    for ordinal in 0..3 {
        story.seen(ordinal, Sighting::Succeeded);
    }
    assert_eq!(story.deployment.status(), Status::Succeeded, "{}", story.told);
}

#[test]
fn a_rollback_without_a_host_that_is_still_there_has_nothing_to_do() {
    let story = rollback(Minimum::HostCount(5), 0, 0, LeftAlone { healthy: 2, unhealthy: 2 });
    assert_eq!(story.deployment.status(), Status::Succeeded, "{}", story.told);
    let story = rollback(Minimum::OneAtATime, 0, 0, LeftAlone::default());
    let failure = story.deployment.ended().unwrap().ending.failure.clone().unwrap();
    assert_eq!(failure.code, FailureCode::NoInstances);
}

#[test]
fn hosts_that_never_claimed_their_command_are_not_rolled_back() {
    let mut story = Story::running(Minimum::OneAtATime, 3);
    story.seen(0, Sighting::ShutOut);
    let ended = story.deployment.ended().unwrap();
    assert_eq!(ended.ending.status, Status::Failed);
    assert!(!ended.ending.roll_back, "{:?}", ended.ending);
    assert_eq!(
        ended.ending.rollback_refused.as_deref(),
        Some("No host was touched, so there is nothing to roll back.")
    );
    let mut story = Story::running(Minimum::FleetPercent(0), 4);
    story.seen(0, Sighting::Succeeded);
    story.seen(1, Sighting::Claimed { heard_at: story.now, waits_in: None });
    story.fact(Fact::StopRequested { at: story.now, roll_back: Some(true) });
    story.seen(1, Sighting::GivenUp);
    story.seen(2, Sighting::ShutOut);
    story.seen(3, Sighting::Failed);
    assert!(story.deployment.ended().unwrap().ending.roll_back);
    let hosts = (0..4).map(|ordinal| story.deployment.hosts().get(ordinal).unwrap());
    let reached: Vec<bool> = hosts.map(|host| story.deployment.has_reached_host(host)).collect();
    assert_eq!(reached, [true, true, false, true]);
}

#[test]
fn what_somebody_rolls_back_by_hand_is_not_rolled_back_itself() {
    let mut order = order(Minimum::OneAtATime, true);
    order.rolls_back = Some("d-BBBBBBBBB".parse().unwrap());
    let mut story = Story::begun(order, 1, 0);
    story.seen(0, Sighting::Failed);
    let ending = &story.deployment.ended().unwrap().ending;
    assert!(!ending.roll_back);
    assert_eq!(ending.rollback_refused.as_deref(), Some("A rollback is not rolled back itself."));
}
