//! Each numeric example of the user guide, and what follows from them.

use super::*;

fn rule(minimum: Minimum) -> Rule {
    Rule { minimum, predefined: false }
}

const ONE_AT_A_TIME: Rule = Rule { minimum: Minimum::OneAtATime, predefined: true };
const HALF_AT_A_TIME: Rule = Rule { minimum: Minimum::FleetPercent(50), predefined: true };
const ALL_AT_ONCE: Rule = Rule { minimum: Minimum::FleetPercent(0), predefined: true };

fn healthy(untouched_healthy: u32) -> Fleet {
    Fleet { untouched_healthy, ..Fleet::default() }
}

fn new(untouched_unhealthy: u32) -> Fleet {
    Fleet { untouched_unhealthy, ..Fleet::default() }
}

/// Runs a whole deployment; hosts whose place in the order is in `bad` fail. Returns whether it succeeded, how many
/// hosts were started, and the most that were ever in flight.
fn run(rule: Rule, mut fleet: Fleet, bad: &[u32]) -> (bool, u32, u32) {
    let (mut next, mut ended, mut widest) = (0, 0, 0);
    loop {
        let start = if rule.must_stop(&fleet) { 0 } else { rule.may_start(&fleet) };
        for _ in 0..start {
            if fleet.untouched_unhealthy > 0 {
                fleet.untouched_unhealthy -= 1;
            } else {
                fleet.untouched_healthy -= 1;
            }
            fleet.in_flight += 1;
            next += 1;
        }
        widest = widest.max(fleet.in_flight);
        if fleet.in_flight == 0 {
            return (rule.is_met(&fleet), next, widest);
        }
        fleet.in_flight -= 1;
        if bad.contains(&ended) {
            fleet.failed += 1;
        } else {
            fleet.succeeded += 1;
        }
        ended += 1;
    }
}

#[test]
fn nine_hosts_all_at_once_fail_only_together() {
    assert_eq!(run(ALL_AT_ONCE, healthy(9), &[]), (true, 9, 9));
    assert_eq!(run(ALL_AT_ONCE, healthy(9), &[0, 1, 2, 3, 4, 5, 6, 7]), (true, 9, 9));
    assert_eq!(run(ALL_AT_ONCE, healthy(9), &[0, 1, 2, 3, 4, 5, 6, 7, 8]), (false, 9, 9));
}

#[test]
fn nine_hosts_half_at_a_time_go_by_four_and_need_five() {
    assert_eq!(run(HALF_AT_A_TIME, healthy(9), &[]), (true, 9, 4));
    assert_eq!(run(HALF_AT_A_TIME, healthy(9), &[5, 6, 7, 8]), (true, 9, 4));
    let (succeeded, _, widest) = run(HALF_AT_A_TIME, healthy(9), &[0, 1, 2, 3]);
    assert!(!succeeded);
    assert_eq!(widest, 4);
    assert_eq!(
        run(HALF_AT_A_TIME, new(9), &[]),
        (true, 9, 4),
        "a first deployment goes as wide, not wider"
    );
}

#[test]
fn nine_hosts_one_at_a_time_allow_only_the_last_to_fail() {
    assert_eq!(run(ONE_AT_A_TIME, healthy(9), &[]), (true, 9, 1));
    assert_eq!(run(ONE_AT_A_TIME, healthy(9), &[8]), (true, 9, 1));
    assert_eq!(run(ONE_AT_A_TIME, healthy(9), &[3]), (false, 4, 1));
    assert_eq!(run(ONE_AT_A_TIME, new(9), &[8]), (true, 9, 1));
    assert_eq!(run(ONE_AT_A_TIME, new(9), &[0]), (false, 1, 1));
}

#[test]
fn a_single_host_decides_alone_in_the_predefined_configurations() {
    for predefined in [ONE_AT_A_TIME, HALF_AT_A_TIME, ALL_AT_ONCE] {
        assert!(predefined.admits(1));
        assert_eq!(run(predefined, healthy(1), &[]), (true, 1, 1));
        assert_eq!(run(predefined, new(1), &[]), (true, 1, 1));
        assert_eq!(run(predefined, healthy(1), &[0]), (false, 1, 1));
    }
}

#[test]
fn ten_hosts_are_spared_by_the_difference_to_the_minimum() {
    assert_eq!(rule(Minimum::HostCount(9)).may_start(&healthy(10)), 1);
    assert_eq!(rule(Minimum::HostCount(8)).may_start(&healthy(10)), 2);
    assert_eq!(rule(Minimum::HostCount(0)).may_start(&healthy(10)), 10);
}

#[test]
fn ninety_five_percent_of_ten_hosts_cannot_be_met() {
    let rule = rule(Minimum::FleetPercent(95));
    assert_eq!(rule.required(10), 10);
    assert!(!rule.admits(10));
    assert!(!rule.admits(0));
}

#[test]
fn eighty_five_percent_of_ten_hosts_fail_with_a_single_failure() {
    let rule = rule(Minimum::FleetPercent(85));
    assert_eq!(rule.required(10), 9);
    assert_eq!(run(rule, healthy(10), &[0]), (false, 1, 1));
    assert_eq!(run(rule, healthy(10), &[9]), (true, 10, 1), "the last one may fail");
}

#[test]
fn eight_of_ten_survive_one_failure_and_a_second_that_is_the_last() {
    let rule = rule(Minimum::HostCount(8));
    assert!(run(rule, healthy(10), &[2]).0);
    assert!(run(rule, healthy(10), &[2, 9]).0);
    assert!(!run(rule, healthy(10), &[2, 4]).0);
}

#[test]
fn unhealthy_hosts_start_first_and_cost_no_healthy_one() {
    let fleet = Fleet { untouched_unhealthy: 3, untouched_healthy: 7, ..Fleet::default() };
    assert_eq!(
        rule(Minimum::HostCount(7)).may_start(&fleet),
        3,
        "seven stay, the three bad ones go"
    );
    assert_eq!(run(rule(Minimum::HostCount(7)), fleet, &[]), (true, 10, 3));
}

#[test]
fn a_group_that_starts_below_its_minimum_is_never_reduced_further() {
    let fleet = Fleet { untouched_unhealthy: 4, untouched_healthy: 6, ..Fleet::default() };
    let rule = rule(Minimum::HostCount(8));
    assert_eq!(rule.may_start(&fleet), 2);
    assert_eq!(run(rule, fleet, &[]), (true, 10, 2));
    assert!(!run(rule, fleet, &[0, 1]).0);
}

#[test]
fn a_fleet_that_shrinks_to_its_minimum_stops() {
    let fleet = Fleet { untouched_healthy: 5, succeeded: 4, ..Fleet::default() };
    assert!(rule(Minimum::HostCount(9)).must_stop(&fleet));
    assert!(!rule(Minimum::HostCount(8)).must_stop(&fleet));
}
