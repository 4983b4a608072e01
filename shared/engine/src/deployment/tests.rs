//! Whole deployments by hand: facts in, requests out.

mod fleet;
mod gate;
mod rollback;
mod sending;
mod service;
mod shift;
mod traffic;
mod zones;

use std::collections::BTreeMap;

use expect_test::{Expect, expect};

use super::*;
use crate::appspec::FileExistsBehavior;
use crate::health::{Minimum, Rule};
use crate::ladder::Ladder;
use crate::lifecycle::Event;
use crate::{BundleType, GroupId, Pin, Revision, Timestamp};

fn order(rule: Minimum, fallback: bool) -> Order {
    let revision = |key: &str| Revision {
        bucket: "revisions".into(),
        key: key.into(),
        bundle_type: BundleType::Zip,
        version: None,
        e_tag: None,
        content: None,
    };
    Order {
        id: "d-AAAAAAAAA".parse().unwrap(),
        application: "shop".into(),
        group: "web".into(),
        group_id: GroupId::from_random([7; 16]),
        generation: 5,
        creator: Creator::User,
        created_at: Timestamp(1_000_000),
        revision: revision("new.zip"),
        fallback: fallback.then(|| Fallback {
            deployment: "d-BBBBBBBBB".parse().unwrap(),
            revision: revision("old.zip"),
            pin: pin(),
            file_exists_behavior: FileExistsBehavior::Disallow,
        }),
        rolls_back: None,
        description: None,
        config: "CodeDeployDefault.OneAtATime".into(),
        rule: Rule { minimum: rule, predefined: true },
        ignore_application_stop_failures: false,
        file_exists_behavior: FileExistsBehavior::Disallow,
        auto_rollback: AutoRollback { on_failure: true, ..AutoRollback::default() },
        silence_ms: 60_000,
        total_ms: 8 * 3_600_000,
        rerun_interrupted: false,
        start_ramp: None,
        ladder: Ladder::default(),
        zonal: None,
        traffic: None,
        watch: None,
        shift: None,
    }
}

fn pin() -> Pin {
    Pin::of_bytes("ab".repeat(32), 3)
}

/// A deployment with its clock and all that it did.
struct Story {
    deployment: Deployment,
    now: Timestamp,
    told: String,
    /// Whether commands are accepted as soon as they are sent.
    accepts: bool,
}

impl Story {
    fn new(order: Order) -> Self {
        let now = order.created_at;
        let deployment = Deployment::new(order, None);
        Self { deployment, now, told: String::new(), accepts: true }
    }

    fn running(rule: Minimum, hosts: u32) -> Self {
        Self::begun(order(rule, true), hosts, 0)
    }

    /// A deployment whose revision is pinned and whose roster is sealed.
    fn begun(order: Order, total: u32, unhealthy: u32) -> Self {
        let mut story = Self::new(order);
        story.step();
        story.fact(Fact::RevisionPinned(pin()));
        story.fact(Fact::RosterSealed { total, unhealthy, out: 0 });
        story
    }

    fn fact(&mut self, fact: Fact) {
        self.deployment.apply(fact);
        self.step();
    }

    fn seen(&mut self, ordinal: u32, sighting: Sighting) {
        self.fact(Fact::HostsSeen(vec![HostSeen { ordinal, sighting }]));
    }

    fn wait(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        self.step();
    }

    fn step(&mut self) {
        use std::fmt::Write as _;
        let plan = self.deployment.plan(self.now);
        for request in &plan.requests {
            writeln!(
                self.told,
                "{} {request:?}",
                self.now.since_ms(self.deployment.order.created_at)
            )
            .unwrap();
        }
        assert!(
            plan.wake_at.is_some_and(|at| at > self.now)
                || !plan.requests.is_empty()
                || self.deployment.ended.is_some()
        );
        let wake_at = plan.wake_at;
        let ends = plan.requests.iter().any(|request| matches!(request, Request::End(_)));
        let sent = sent_by(&plan);
        self.deployment.apply(Fact::Decided { at: self.now, plan });
        for batch in sent.into_iter().filter(|_| self.accepts) {
            self.deployment.apply(Fact::BatchAccepted { batch, at: self.now });
        }
        if ends {
            self.deployment.apply(Fact::Ended { at: self.now, rolled_back_by: None });
        } else if self.deployment.ended.is_none() {
            let wanted = self.deployment.plan(self.now).wake_at;
            assert!(wake_at <= wanted, "woken at {wake_at:?}, and wants {wanted:?}");
        }
        let row = serde_json::to_string(&self.deployment).unwrap();
        assert_eq!(serde_json::from_str::<Deployment>(&row).unwrap(), self.deployment);
    }

    fn tells(&self, expected: Expect) {
        expected.assert_eq(&self.told);
    }
}

/// The batches that a plan sends their command.
fn sent_by(plan: &Plan) -> Vec<u32> {
    let mut batches = Vec::new();
    for request in &plan.requests {
        if let Request::Dispatch { batch, .. } = request {
            batches.push(*batch);
        }
    }
    batches
}

/// Decides at `now`; commands are accepted as soon as they are sent.
fn decide(deployment: &mut Deployment, now: Timestamp) -> Plan {
    let plan = deployment.plan(now);
    deployment.apply(Fact::Decided { at: now, plan: plan.clone() });
    for batch in sent_by(&plan) {
        deployment.apply(Fact::BatchAccepted { batch, at: now });
    }
    plan
}

#[test]
fn a_rolling_deployment_goes_host_by_host() {
    let mut story = Story::running(Minimum::OneAtATime, 2);
    story.seen(0, Sighting::Succeeded);
    story.seen(1, Sighting::Succeeded);
    story.tells(expect![[r#"
        0 PinRevision
        0 EnrolHosts
        0 Dispatch { batch: 0, attempt: 1, hosts: Ordinals([(0, 1)]) }
        0 Dispatch { batch: 1, attempt: 1, hosts: Ordinals([(1, 1)]) }
        0 End(Ending { status: Succeeded, failure: None, roll_back: false, rollback_refused: None })
    "#]]);
    assert_eq!(story.deployment.status(), Status::Succeeded);
}

#[test]
fn a_failure_ends_it_and_asks_for_the_rollback() {
    let mut story = Story::running(Minimum::OneAtATime, 4);
    story.seen(0, Sighting::Succeeded);
    story.seen(1, Sighting::Failed);
    let ended = story.deployment.ended().unwrap();
    assert!(ended.ending.roll_back);
    assert_eq!(ended.ending.status, Status::Failed);
    let states: Vec<_> = (0..4).map(|o| story.deployment.hosts().get(o).unwrap().state).collect();
    assert_eq!(
        states,
        [HostState::Succeeded, HostState::Failed, HostState::Skipped, HostState::Skipped]
    );
    let rollback = story.deployment.rollback("d-CCCCCCCCC".parse().unwrap(), 6, story.now).unwrap();
    assert_eq!(rollback.order().revision.key, "old.zip");
    assert_eq!(rollback.order().rolls_back.as_ref(), Some(story.deployment.id()));
    assert!(rollback.pin().is_some(), "its bytes are kept, whatever became of the key");
}

#[test]
fn a_fact_delivered_twice_changes_nothing() {
    let mut story = Story::running(Minimum::FleetPercent(0), 3);
    story.seen(1, Sighting::Failed);
    let before = story.deployment.clone();
    for sighting in [
        Sighting::Failed,
        Sighting::Succeeded,
        Sighting::Claimed { heard_at: story.now, waits_in: None },
    ] {
        assert!(!story.deployment.apply(Fact::HostsSeen(vec![HostSeen { ordinal: 1, sighting }])));
    }
    assert!(!story.deployment.apply(Fact::RosterSealed { total: 9, unhealthy: 0, out: 0 }));
    assert_eq!(story.deployment, before);
}

#[test]
fn an_unclaimed_command_is_sent_twice_and_then_the_host_fails() {
    let mut story = Story::running(Minimum::OneAtATime, 1);
    story.wait(30_000);
    story.fact(Fact::BatchChecked {
        batch: 0,
        seen: vec![HostSeen { ordinal: 0, sighting: Sighting::Unclaimed }],
    });
    story.wait(30_000);
    story.fact(Fact::BatchChecked {
        batch: 1,
        seen: vec![HostSeen { ordinal: 0, sighting: Sighting::ShutOut }],
    });
    story.tells(expect![[r#"
        0 PinRevision
        0 EnrolHosts
        0 Dispatch { batch: 0, attempt: 1, hosts: Ordinals([(0, 1)]) }
        30000 CheckHosts { batch: 0, shut_out: false, give_up_before: Timestamp(964000) }
        30000 Dispatch { batch: 1, attempt: 2, hosts: Ordinals([(0, 1)]) }
        60000 CheckHosts { batch: 1, shut_out: true, give_up_before: Timestamp(994000) }
        60000 End(Ending { status: Failed, failure: Some(Failure { code: HealthConstraints, message: "Too many hosts failed: 1 of 1 failed, and `CodeDeployDefault.OneAtATime` demands 1 healthy ones. 1 of them were not heard of for 60 s." }), roll_back: false, rollback_refused: Some("No host was touched, so there is nothing to roll back.") })
    "#]]);
}

#[test]
fn a_host_that_was_heard_of_is_looked_at_again_when_it_could_be_silent() {
    let mut story = Story::running(Minimum::OneAtATime, 1);
    story.wait(30_000);
    let heard_at = story.now.plus_ms(0);
    story.fact(Fact::BatchChecked {
        batch: 0,
        seen: vec![HostSeen {
            ordinal: 0,
            sighting: Sighting::Claimed { heard_at, waits_in: None },
        }],
    });
    assert_eq!(story.deployment.plan(story.now).wake_at, Some(heard_at.plus_ms(66_000)));
    story.wait(66_000);
    story.fact(Fact::BatchChecked {
        batch: 0,
        seen: vec![HostSeen { ordinal: 0, sighting: Sighting::GivenUp }],
    });
    assert_eq!(story.deployment.hosts().get(0).unwrap().state, HostState::Silent);
    assert_eq!(story.deployment.status(), Status::Failed);
}

#[test]
fn a_stop_shuts_out_who_has_not_claimed_and_waits_for_who_has() {
    let mut story = Story::running(Minimum::FleetPercent(0), 3);
    story.seen(0, Sighting::Claimed { heard_at: story.now, waits_in: None });
    story.fact(Fact::StopRequested { at: story.now, roll_back: Some(true) });
    assert!(story.deployment.may_proceed(0, story.now).is_err());
    let seen = |ordinal, sighting| HostSeen { ordinal, sighting };
    story.fact(Fact::BatchChecked {
        batch: 0,
        seen: vec![
            seen(0, Sighting::Claimed { heard_at: story.now, waits_in: None }),
            seen(1, Sighting::ShutOut),
            seen(2, Sighting::ShutOut),
        ],
    });
    assert_eq!(story.deployment.status(), Status::InProgress);
    story.seen(0, Sighting::Failed);
    let ended = story.deployment.ended().unwrap();
    assert_eq!((ended.ending.status, ended.ending.roll_back), (Status::Stopped, true));
    assert_eq!(story.deployment.hosts().get(1).unwrap().state, HostState::Skipped);
}

#[test]
fn a_host_that_a_stop_halted_is_no_success_and_no_failure_of_its_own() {
    let mut story = Story::running(Minimum::FleetPercent(0), 3);
    for ordinal in 0..3 {
        story.seen(ordinal, Sighting::Claimed { heard_at: story.now, waits_in: None });
    }
    story.fact(Fact::StopRequested { at: story.now, roll_back: Some(true) });
    story.seen(0, Sighting::Halted);
    story.seen(1, Sighting::Failed);
    story.seen(2, Sighting::Halted);
    let (deployment, ending) = (&story.deployment, &story.deployment.ended().unwrap().ending);
    assert_eq!((ending.status, ending.roll_back), (Status::Stopped, true));
    let halted: Vec<u32> = (0..3).filter(|ordinal| deployment.was_halted(*ordinal)).collect();
    assert_eq!((halted, deployment.halted()), (vec![0, 2], 2));
}

#[test]
fn a_host_that_a_stop_left_out_keeps_the_deployment_from_having_succeeded() {
    let mut story = Story::running(Minimum::OneAtATime, 2);
    story.seen(0, Sighting::Succeeded);
    story.fact(Fact::StopRequested { at: story.now, roll_back: None });
    story.seen(1, Sighting::ShutOut);
    assert_eq!(story.deployment.status(), Status::Stopped);
    assert_eq!(story.deployment.hosts().get(1).unwrap().state, HostState::Skipped);
}

/// A deployment to two hosts, all of which succeed after `stops` were asked for.
fn stopped_and_succeeded(change: impl FnOnce(&mut Order), stops: &[Option<bool>]) -> Ending {
    let mut order = order(Minimum::FleetPercent(0), true);
    change(&mut order);
    let mut story = Story::begun(order, 2, 0);
    story.seen(0, Sighting::Succeeded);
    story.seen(1, Sighting::Claimed { heard_at: story.now, waits_in: None });
    for roll_back in stops {
        story.fact(Fact::StopRequested { at: story.now, roll_back: *roll_back });
        story.wait(10);
    }
    story.seen(1, Sighting::Succeeded);
    story.deployment.ended().unwrap().ending.clone()
}

#[test]
fn a_stop_wins_over_success_also_during_the_very_last_event() {
    let ending = stopped_and_succeeded(|_| {}, &[None]);
    assert_eq!((ending.status, ending.roll_back), (Status::Stopped, false));
    let message = ending.failure.unwrap().message;
    assert!(message.contains("running their last lifecycle events"), "{message}");
    let on_stop = |order: &mut Order| order.auto_rollback.on_stop = true;
    assert!(stopped_and_succeeded(on_stop, &[None]).roll_back);
    assert!(!stopped_and_succeeded(on_stop, &[Some(false)]).roll_back);
}

#[test]
fn a_rollback_that_was_asked_for_is_never_dropped() {
    let yes = Some(true);
    for stops in [&[yes][..], &[None, yes], &[Some(false), yes], &[yes, None], &[yes, Some(false)]]
    {
        let ending = stopped_and_succeeded(|_| {}, stops);
        assert_eq!((ending.status, ending.roll_back), (Status::Stopped, true), "{stops:?}");
    }
    // Nor by an alarm that fires as well and would not be followed by one.
    let mut story = Story::running(Minimum::FleetPercent(0), 1);
    story.deployment.order.watch =
        Some(Watch { alarms: vec!["a".into()], ignores_unreadable: false, every_ms: 1 });
    story.seen(0, Sighting::Claimed { heard_at: story.now, waits_in: None });
    story.fact(Fact::StopRequested { at: story.now, roll_back: yes });
    story.fact(Fact::AlarmsRead {
        firing: vec!["a".into()],
        unreadable: None,
        notes: BTreeMap::new(),
    });
    story.seen(0, Sighting::Failed);
    assert!(story.deployment.ended().unwrap().ending.roll_back);
}

#[test]
fn a_deployment_out_of_time_fails() {
    let mut story = Story::running(Minimum::OneAtATime, 2);
    story.seen(0, Sighting::Claimed { heard_at: story.now, waits_in: None });
    story.wait(8 * 3_600_000);
    story.seen(0, Sighting::GivenUp);
    let failure = story.deployment.ended().unwrap().ending.failure.clone().unwrap();
    assert_eq!(failure.code, FailureCode::Timeout);
}

#[test]
fn hosts_that_vanish_leave_the_denominator() {
    let mut story = Story::running(Minimum::OneAtATime, 3);
    story.fact(Fact::HostsGone(vec![0]));
    story.seen(1, Sighting::Succeeded);
    story.fact(Fact::HostsGone(vec![2]));
    assert_eq!(story.deployment.status(), Status::Succeeded);
    let mut story = Story::running(Minimum::OneAtATime, 1);
    story.fact(Fact::HostsGone(vec![0]));
    assert_eq!(
        story.deployment.ended().unwrap().ending.failure.clone().unwrap().code,
        FailureCode::NoInstances
    );
}

#[test]
fn what_cannot_be_deployed_touches_no_host_and_rolls_nothing_back() {
    let mut story = Story::new(order(Minimum::OneAtATime, true));
    story.step();
    let failure = Failure { code: FailureCode::RevisionMissing, message: "gone".into() };
    story.fact(Fact::RevisionRefused(failure));
    let ending = &story.deployment.ended().unwrap().ending;
    assert_eq!((ending.status, ending.roll_back), (Status::Failed, false));
    assert!(ending.rollback_refused.is_some());
}

#[test]
fn ten_thousand_hosts_in_flight_fit_into_the_row() {
    let mut story = Story::running(Minimum::FleetPercent(0), 10_000);
    let row = serde_json::to_string(&story.deployment).unwrap();
    assert!(row.len() < 64 * 1024, "{}", row.len());
    let odd = |batch: u32| {
        (0..50)
            .filter(|o| o % 2 == 1)
            .map(move |o| HostSeen { ordinal: batch * 50 + o, sighting: Sighting::Unclaimed })
    };
    story.wait(30_000);
    for batch in 0..200 {
        story.deployment.apply(Fact::BatchChecked { batch, seen: odd(batch).collect() });
    }
    story.step();
    let row = serde_json::to_string(&story.deployment).unwrap();
    assert!(row.len() < 64 * 1024, "every second host was sent its command again: {}", row.len());
}

#[test]
fn ten_thousand_hosts_that_follow_one_by_one_fit_into_the_row() {
    let mut story = Story::running(Minimum::FleetPercent(50), 10_000);
    let mut largest = 0;
    for ordinal in 0..10_000 {
        story.now = story.now.plus_ms(5);
        let seen = HostSeen { ordinal, sighting: Sighting::Succeeded };
        story.deployment.apply(Fact::HostsSeen(vec![seen]));
        decide(&mut story.deployment, story.now);
        if ordinal % 100 == 0 {
            largest = largest.max(serde_json::to_string(&story.deployment).unwrap().len());
        }
    }
    assert!(largest < 64 * 1024, "{largest}");
}

#[test]
fn hosts_that_are_sent_their_commands_one_by_one_fit_into_the_row() {
    let mut story = Story::running(Minimum::FleetPercent(50), 10_000);
    let fits = |deployment: &Deployment| {
        let row = serde_json::to_string(deployment).unwrap();
        assert!(row.len() < 64 * 1024, "{}", row.len());
    };
    for ordinal in 0..5_000 {
        // One after the other, scattered, and so slowly that the first ones are looked at meanwhile.
        let ordinal = ordinal * 2_347 % 5_000;
        story.now = story.now.plus_ms(200);
        let seen = HostSeen { ordinal, sighting: Sighting::Succeeded };
        story.deployment.apply(Fact::HostsSeen(vec![seen]));
        let plan = decide(&mut story.deployment, story.now);
        for request in plan.requests {
            let Request::CheckHosts { batch, .. } = request else { continue };
            let heard = |ordinal| Timestamp(story.now.0 - u64::from(ordinal % 10) * 1_000);
            let outstanding = story.deployment.outstanding(batch);
            let seen = outstanding.iter().map(|ordinal| HostSeen {
                ordinal,
                sighting: Sighting::Claimed { heard_at: heard(ordinal), waits_in: None },
            });
            let checked = Fact::BatchChecked { batch, seen: seen.collect() };
            story.deployment.apply(checked);
        }
        if ordinal % 100 == 0 {
            fits(&story.deployment);
        }
    }
    fits(&story.deployment);
    assert_eq!(story.deployment.hosts().fleet().in_flight, 5_000);
    assert_eq!(story.deployment.all_outstanding().count(), 5_000, "each is in one batch");
}

#[test]
fn a_trickle_of_new_hosts_does_not_put_off_the_look_at_a_silent_one() {
    let mut story = Story::running(Minimum::FleetPercent(50), 200);
    // One host ends every five seconds, and another is started in its place. The first of those is never heard of.
    let mut looked_at = None;
    let begin = story.now;
    for ordinal in 0..100 {
        story.now = begin.plus_ms(u64::from(ordinal) * 5_000);
        let seen = HostSeen { ordinal, sighting: Sighting::Succeeded };
        story.deployment.apply(Fact::HostsSeen(vec![seen]));
        let plan = decide(&mut story.deployment, story.now);
        for request in plan.requests {
            let Request::CheckHosts { batch, .. } = request else { continue };
            let outstanding = story.deployment.outstanding(batch);
            if outstanding.contains(100) {
                looked_at = looked_at.or_else(|| Some(story.now.since_ms(begin)));
            }
            let heard_at = story.now;
            let claimed = |ordinal| HostSeen {
                ordinal,
                sighting: Sighting::Claimed { heard_at, waits_in: None },
            };
            let seen = outstanding.iter().map(claimed).collect();
            story.deployment.apply(Fact::BatchChecked { batch, seen });
        }
    }
    let looked_at = looked_at.expect("it is looked at");
    assert!((27_000..=35_000).contains(&looked_at), "sent at 0, looked at after {looked_at} ms");
}
