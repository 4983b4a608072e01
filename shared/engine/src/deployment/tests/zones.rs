//! Zone by zone: whose turn it is, what each zone has to keep, and how long it is watched.

use expect_test::expect;
use proptest::prelude::*;

use super::*;
use crate::zonal::{Zonal, Zone};

const MINUTE: u64 = 60_000;

fn zone(name: &str, hosts: u32, unhealthy: u32) -> Zone {
    Zone { name: Some(name).filter(|name| !name.is_empty()).map(str::to_owned), hosts, unhealthy }
}

fn zonal_order(fleet: Minimum, zonal: Zonal) -> Order {
    let mut order = order(fleet, true);
    order.rule.predefined = false;
    order.config = "careful".into();
    order.zonal = Some(zonal);
    order
}

/// A deployment to these zones whose revision is pinned; as many at once as the rule of the fleet allows.
fn zonal(fleet: Minimum, zonal: Zonal, zones: &[Zone]) -> Story {
    let mut story = Story::new(zonal_order(fleet, zonal));
    story.step();
    story.fact(Fact::RevisionPinned(pin()));
    story.fact(Fact::ZonesSealed(zones.to_vec()));
    story
}

/// The first zone bakes for two minutes, each other one for one.
fn bakes() -> Zonal {
    Zonal { first_bake_ms: Some(2 * MINUTE), bake_ms: Some(MINUTE), minimum: None }
}

fn keeps(minimum: Minimum) -> Zonal {
    Zonal { minimum: Some(minimum), ..Zonal::default() }
}

fn started(story: &Story) -> Vec<u32> {
    let hosts = story.deployment.hosts();
    let is_started = |at: &u32| hosts.get(*at).unwrap().state != HostState::Untouched;
    (0..hosts.len()).filter(is_started).collect()
}

fn failure(story: &Story) -> (FailureCode, String) {
    let failure = story.deployment.ended().unwrap().ending.failure.clone().unwrap();
    (failure.code, failure.message)
}

#[test]
fn zones_go_one_after_another_and_bake_except_for_the_last() {
    let zones = [zone("a", 2, 0), zone("b", 1, 0), zone("", 1, 0)];
    let mut story = zonal(Minimum::FleetPercent(0), bakes(), &zones);
    story.seen(0, Sighting::Succeeded);
    assert_eq!(story.deployment.bakes_until(), None, "one of its hosts is at work");
    story.seen(1, Sighting::Succeeded);
    assert_eq!(story.deployment.bakes_until(), Some(story.now.plus_ms(2 * MINUTE)));
    story.wait(2 * MINUTE - 1);
    story.wait(1);
    story.seen(2, Sighting::Succeeded);
    story.wait(MINUTE);
    story.seen(3, Sighting::Succeeded);
    story.tells(expect![[r#"
        0 PinRevision
        0 EnrolHosts
        0 Dispatch { batch: 0, attempt: 1, hosts: Ordinals([(0, 2)]) }
        120000 Dispatch { batch: 1, attempt: 1, hosts: Ordinals([(2, 1)]) }
        180000 Dispatch { batch: 2, attempt: 1, hosts: Ordinals([(3, 1)]) }
        180000 End(Ending { status: Succeeded, failure: None, roll_back: false, rollback_refused: None })
    "#]]);
}

#[test]
fn without_a_time_the_next_zone_follows_at_once() {
    let zones = [zone("a", 1, 0), zone("b", 1, 0)];
    let mut story = zonal(Minimum::FleetPercent(0), Zonal::default(), &zones);
    assert_eq!(started(&story), [0]);
    story.seen(0, Sighting::Succeeded);
    assert_eq!(started(&story), [0, 1]);
}

#[test]
fn a_zone_keeps_its_own_minimum_besides_that_of_the_fleet() {
    let zones = [zone("a", 4, 1), zone("b", 2, 0)];
    let mut story = zonal(Minimum::FleetPercent(0), keeps(Minimum::FleetPercent(50)), &zones);
    assert_eq!(started(&story), [0, 1], "the unhealthy one, and one of three healthy ones");
    story.seen(0, Sighting::Succeeded);
    assert_eq!(started(&story), [0, 1, 2]);
    for ordinal in [1, 2, 3] {
        story.seen(ordinal, Sighting::Succeeded);
    }
    assert_eq!(started(&story), [0, 1, 2, 3, 4], "one of two in the second zone");
    let mut story = zonal(Minimum::HostCount(5), Zonal::default(), &zones);
    assert_eq!(started(&story), [0], "the fleet's minimum holds in a zone that would let all go");
    story.seen(0, Sighting::Succeeded);
    assert_eq!(started(&story), [0, 1]);
}

#[test]
fn a_zone_whose_rule_is_broken_stops_the_deployment() {
    let zones = [zone("a", 2, 0), zone("b", 3, 0), zone("c", 1, 0)];
    let mut story = zonal(Minimum::FleetPercent(0), keeps(Minimum::HostCount(0)), &zones);
    story.seen(0, Sighting::Succeeded);
    story.seen(1, Sighting::Failed);
    assert_eq!(started(&story), [0, 1, 2, 3, 4], "one of two is more than it has to keep");
    for ordinal in [2, 3, 4] {
        story.seen(ordinal, Sighting::Failed);
    }
    let message = "Too many hosts of the zone `b` failed: 3 of 3 failed, and `careful` demands 1 healthy ones in each \
                   zone. 1 hosts were left as they were.";
    assert_eq!(failure(&story), (FailureCode::HealthConstraints, message.to_owned()));
    assert_eq!(story.deployment.hosts().get(5).unwrap().state, HostState::Skipped);
    assert!(story.deployment.ended().unwrap().ending.roll_back);
    let zones = [zone("a", 4, 0), zone("b", 4, 0)];
    let mut story = zonal(Minimum::FleetPercent(0), keeps(Minimum::FleetPercent(50)), &zones);
    story.seen(0, Sighting::Failed);
    story.seen(1, Sighting::Failed);
    let (code, message) = failure(&story);
    assert_eq!(code, FailureCode::HealthConstraints);
    assert!(
        message.starts_with("Too many hosts of the zone `a` failed: 2 of 4 failed"),
        "{message}"
    );
}

#[test]
fn the_last_zone_has_to_keep_its_minimum_as_well() {
    let zones = [zone("a", 4, 0), zone("", 1, 0)];
    let mut story = zonal(Minimum::FleetPercent(0), Zonal::default(), &zones);
    for ordinal in 0..4 {
        story.seen(ordinal, Sighting::Succeeded);
    }
    story.seen(4, Sighting::Failed);
    let message = "Too many hosts without a zone failed: 1 of 1 failed, and `careful` demands 1 healthy ones in each zone.";
    assert_eq!(failure(&story), (FailureCode::HealthConstraints, message.to_owned()));
}

#[test]
fn the_rule_of_the_fleet_stops_it_in_the_middle_of_a_zone() {
    let zones = [zone("a", 3, 0), zone("b", 3, 0)];
    let mut story = zonal(Minimum::HostCount(5), bakes(), &zones);
    story.seen(0, Sighting::Failed);
    let (code, message) = failure(&story);
    assert_eq!((code, started(&story).len()), (FailureCode::HealthConstraints, 6));
    assert!(message.ends_with("It had come to the hosts of the zone `a`."), "{message}");
}

#[test]
fn what_is_unhealthy_in_a_later_zone_lets_no_healthy_host_of_this_one_start() {
    let zones = [zone("a", 2, 0), zone("b", 2, 2)];
    let story = zonal(Minimum::FleetPercent(50), bakes(), &zones);
    let (code, message) = failure(&story);
    assert_eq!(code, FailureCode::HealthConstraints);
    assert!(message.ends_with("It had come to the hosts of the zone `a`."), "{message}");
    let zones = [zone("a", 3, 0), zone("b", 2, 2)];
    let story = zonal(Minimum::FleetPercent(40), bakes(), &zones);
    assert_eq!(started(&story), [0], "one of three healthy ones, though three could be at work");
}

#[test]
fn a_zone_that_could_spare_nobody_is_told_before_anything_is_touched() {
    let zones = [zone("a", 3, 0), zone("b", 1, 0)];
    let story = zonal(Minimum::FleetPercent(0), keeps(Minimum::FleetPercent(50)), &zones);
    let (code, message) = failure(&story);
    assert_eq!((code, story.deployment.next_batch), (FailureCode::HealthConstraintsInvalid, 0));
    let expected =
        "`careful` keeps 1 hosts healthy in each zone, and there are 1 hosts of the zone `b`";
    assert!(message.starts_with(expected), "{message}");
}

#[test]
fn people_pause_skip_a_bake_and_promote_between_zones() {
    let wish = |version, paused, promoted, baked_below| {
        Fact::Steered(Steering { version, paused, promoted, baked_below, ..Steering::default() })
    };
    let zones = ["a", "b", "c", "d", "e"].map(|name| zone(name, 1, 0));
    let mut story = zonal(Minimum::FleetPercent(0), bakes(), &zones);
    story.seen(0, Sighting::Succeeded);
    story.fact(wish(1, false, false, 1));
    assert_eq!(started(&story), [0, 1], "the first bake was skipped");
    story.fact(wish(2, true, false, 1));
    story.seen(1, Sighting::Succeeded);
    story.wait(10 * MINUTE);
    assert_eq!(started(&story), [0, 1], "it is paused, and so is the bake of the second zone");
    story.fact(wish(3, false, false, 1));
    assert_eq!(started(&story), [0, 1]);
    story.wait(10 * MINUTE);
    assert_eq!(started(&story), [0, 1, 2]);
    story.fact(wish(4, false, true, 1));
    assert_eq!(started(&story), [0, 1, 2], "promoted, zones still go one after another");
    story.seen(2, Sighting::Succeeded);
    story.seen(3, Sighting::Succeeded);
    story.seen(4, Sighting::Succeeded);
    assert_eq!(story.deployment.status(), Status::Succeeded);
}

#[test]
fn an_alarm_stops_it_while_a_zone_bakes() {
    let mut order = zonal_order(Minimum::FleetPercent(0), bakes());
    order.watch =
        Some(Watch { alarms: vec!["slow".into()], ignores_unreadable: false, every_ms: 200 });
    let mut story = Story::new(order);
    let read = |firing: &[&str]| {
        let firing = firing.iter().map(|name| (*name).to_owned()).collect();
        Fact::AlarmsRead { firing, unreadable: None, notes: BTreeMap::new() }
    };
    story.step();
    story.fact(Fact::RevisionPinned(pin()));
    story.fact(Fact::ZonesSealed(vec![zone("a", 1, 0), zone("b", 1, 0)]));
    story.fact(read(&[]));
    story.seen(0, Sighting::Succeeded);
    story.wait(1_000);
    assert!(story.told.ends_with("1000 ReadAlarms\n"), "{}", story.told);
    story.fact(read(&["slow"]));
    assert_eq!(failure(&story).0, FailureCode::AlarmActive);
    assert_eq!(story.deployment.hosts().get(1).unwrap().state, HostState::Skipped);
}

#[test]
fn a_host_that_arrives_goes_with_the_zone_whose_turn_it_is_and_waits_for_no_bake() {
    let zones = [zone("a", 2, 0), zone("b", 1, 0)];
    let mut story = zonal(Minimum::FleetPercent(50), bakes(), &zones);
    assert_eq!(started(&story), [0]);
    story.fact(Fact::HostsArrived { total: 4 });
    assert_eq!(started(&story), [0, 3], "before the healthy one");
    for ordinal in [0, 3, 1] {
        story.seen(ordinal, Sighting::Succeeded);
    }
    assert!(story.deployment.bakes_until().is_some());
    story.fact(Fact::HostsArrived { total: 5 });
    assert_eq!(started(&story), [0, 1, 3, 4], "also while the first zone bakes");
    story.wait(2 * MINUTE);
    story.seen(2, Sighting::Succeeded);
    assert_eq!(story.deployment.status(), Status::InProgress, "it is waited for");
    story.seen(4, Sighting::Succeeded);
    assert_eq!(story.deployment.status(), Status::Succeeded);
}

#[test]
fn a_zone_whose_hosts_have_all_vanished_is_passed_without_a_bake() {
    let zones = [zone("a", 1, 0), zone("b", 2, 0), zone("c", 1, 0)];
    let mut story = zonal(Minimum::FleetPercent(0), bakes(), &zones);
    story.fact(Fact::HostsGone(vec![0]));
    assert_eq!(started(&story), [0, 1, 2]);
    story.fact(Fact::HostsGone(vec![1, 2]));
    story.seen(3, Sighting::Succeeded);
    assert_eq!(story.deployment.status(), Status::Succeeded);
}

#[test]
fn what_the_zones_bake_is_not_taken_off_the_time_that_hosts_have() {
    let hours = Zonal { bake_ms: Some(8 * 60 * MINUTE), ..Zonal::default() };
    let mut story =
        zonal(Minimum::FleetPercent(0), hours, &["a", "b"].map(|name| zone(name, 1, 0)));
    story.seen(0, Sighting::Succeeded);
    story.wait(8 * 60 * MINUTE);
    assert_eq!((started(&story), story.deployment.status()), (vec![0, 1], Status::InProgress));
}

#[test]
fn a_rollback_does_not_go_zone_by_zone() {
    let story = zonal(Minimum::FleetPercent(0), bakes(), &[zone("a", 1, 0)]);
    let rollback = story.deployment.rollback("d-CCCCCCCCC".parse().unwrap(), 6, story.now);
    assert_eq!(rollback.unwrap().order().zonal, None);
}

/// Checks that every host that was started is of the zone whose turn it is, or of one before it, and that each zone
/// keeps what it has to.
fn check_zones(story: &Story, zones: &[Zone], minimum: u8) {
    let hosts = story.deployment.hosts();
    let turn = usize::try_from(story.deployment.climb().rung).unwrap();
    let mut first = 0;
    for (number, zone) in zones.iter().enumerate() {
        let states: Vec<HostState> =
            (first..first + zone.hosts).map(|at| hosts.get(at).unwrap().state).collect();
        let is_new = |at: usize| u32::try_from(at).unwrap() < zone.unhealthy;
        let healthy = states.iter().enumerate().filter(|(at, state)| {
            let is_spared = **state == HostState::Untouched && !is_new(*at);
            is_spared || **state == HostState::Succeeded
        });
        let is_touched = |state: &HostState| {
            !matches!(state, HostState::Untouched | HostState::Skipped | HostState::Gone)
        };
        let mut in_flight = states.iter().enumerate().filter(|(_, state)| state.in_flight());
        let takes_healthy = in_flight.any(|(at, _)| !is_new(at));
        let total = states.iter().filter(|state| **state != HostState::Gone).count();
        let required = (total * usize::from(minimum)).div_ceil(100);
        let failed = states.iter().filter(|state| state.is_failure()).count();
        assert!(
            number <= turn || !states.iter().any(is_touched),
            "{number} before its turn {turn}"
        );
        if takes_healthy && failed == 0 && states.iter().all(|state| *state != HostState::Gone) {
            assert!(healthy.count() >= required, "zone {number} keeps too few: {states:?}");
        }
        first += zone.hosts;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_becomes_of_hosts_zones_keep_their_turns_and_their_minimum_and_it_ends(
        sizes in proptest::collection::vec((1_u32..5, 0_u32..3), 1..5),
        (fleet, each, bake_ms) in (0_u8..80, 0_u8..80, 0_u64..3_000),
        outcomes in proptest::collection::vec(0_u8..12, 40),
        arrive_at in 0_usize..20,
    ) {
        let zones: Vec<Zone> = sizes
            .iter()
            .enumerate()
            .map(|(at, (hosts, unhealthy))| zone(&format!("z{at}"), *hosts, *unhealthy.min(hosts)))
            .collect();
        let rule = Zonal {
            bake_ms: Some(bake_ms),
            minimum: Some(Minimum::FleetPercent(each)),
            first_bake_ms: None,
        };
        let mut story = zonal(Minimum::FleetPercent(fleet), rule, &zones);
        let total: u32 = zones.iter().map(|zone| zone.hosts).sum();
        for (at, outcome) in outcomes.iter().enumerate() {
            check_zones(&story, &zones, each);
            if at == arrive_at {
                story.fact(Fact::HostsArrived { total: total + 1 });
            }
            let next = story.deployment.all_outstanding().next();
            match (next, story.deployment.plan(story.now).wake_at) {
                (Some(ordinal), _) => story.seen(ordinal, match outcome {
                    0 => Sighting::Failed,
                    1 => Sighting::Gone,
                    _ => Sighting::Succeeded,
                }),
                (None, Some(at)) => story.wait(at.since_ms(story.now)),
                (None, None) => break,
            }
        }
        let ended = story.deployment.ended();
        prop_assert!(ended.is_some(), "{:?}", story.deployment);
        let code = ended.and_then(|ended| Some(ended.ending.failure.as_ref()?.code));
        prop_assert!(code != Some(FailureCode::Timeout), "it was stuck: {:?}", story.deployment);
    }
}
