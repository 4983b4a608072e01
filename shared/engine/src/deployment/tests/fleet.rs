//! Hosts that come and go while they are deployed to, and how many are started within a second
//! (`docs/semantics.md#fleets`).

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::group::{Admission, Next, Slot, Upload};

fn ramped(start_ramp: u32, hosts: u32) -> Story {
    let order = Order { start_ramp: Some(start_ramp), ..order(Minimum::FleetPercent(0), true) };
    Story::begun(order, hosts, 0)
}

fn departing() -> Order {
    Order { creator: Creator::Departure, ..order(Minimum::FleetPercent(0), true) }
}

fn seen(ordinal: u32, sighting: Sighting) -> Fact {
    Fact::HostsSeen(vec![HostSeen { ordinal, sighting }])
}

impl Story {
    fn arrived(&mut self, total: u32) {
        self.fact(Fact::HostsArrived { total });
    }

    pub(super) fn states(&self) -> Vec<HostState> {
        let hosts = self.deployment.hosts();
        (0..hosts.len()).filter_map(|ordinal| hosts.get(ordinal)).map(|host| host.state).collect()
    }

    /// Folds a fact that nobody may notice.
    fn told_in_vain(&mut self, fact: Fact) {
        let before = self.deployment.clone();
        assert!(!self.deployment.apply(fact.clone()), "{fact:?} is news");
        assert_eq!(self.deployment, before, "{fact:?} changes something");
    }
}

#[test]
fn a_host_that_arrives_goes_after_unhealthy_hosts_and_before_healthy_ones() {
    let mut story = Story::begun(order(Minimum::OneAtATime, true), 4, 2);
    story.arrived(5);
    for ordinal in [0, 1, 4, 2, 3] {
        story.seen(ordinal, Sighting::Succeeded);
    }
    story.tells(expect![[r#"
        0 PinRevision
        0 EnrolHosts
        0 Dispatch { batch: 0, attempt: 1, hosts: Ordinals([(0, 1)]) }
        0 Dispatch { batch: 1, attempt: 1, hosts: Ordinals([(1, 1)]) }
        0 Dispatch { batch: 2, attempt: 1, hosts: Ordinals([(4, 1)]) }
        0 Dispatch { batch: 3, attempt: 1, hosts: Ordinals([(2, 1)]) }
        0 Dispatch { batch: 4, attempt: 1, hosts: Ordinals([(3, 1)]) }
        0 End(Ending { status: Succeeded, failure: None, roll_back: false, rollback_refused: None })
    "#]]);
}

#[test]
fn a_host_that_arrives_starts_at_once_where_healthy_ones_have_to_wait() {
    let mut story = Story::running(Minimum::HostCount(3), 4);
    assert_eq!(story.deployment.hosts().fleet().in_flight, 1);
    story.arrived(5);
    use HostState::{Sent, Untouched};
    assert_eq!(story.states(), [Sent, Untouched, Untouched, Untouched, Sent]);
}

#[test]
fn a_deployment_does_not_end_before_the_host_that_arrived_has() {
    let mut story = Story::running(Minimum::OneAtATime, 1);
    story.arrived(2);
    story.seen(0, Sighting::Succeeded);
    assert_eq!(story.deployment.status(), Status::InProgress);
    story.seen(1, Sighting::Succeeded);
    assert_eq!(story.deployment.status(), Status::Succeeded);
}

#[test]
fn an_arrival_that_is_told_twice_late_or_of_too_many_changes_nothing() {
    let mut story = Story::running(Minimum::OneAtATime, 3);
    story.arrived(5);
    for total in [5, 4, 3, 0, Hosts::MAX + 1] {
        story.told_in_vain(Fact::HostsArrived { total });
    }
}

#[test]
fn nobody_arrives_before_the_roster_is_sealed() {
    let mut story = Story::new(order(Minimum::OneAtATime, true));
    story.step();
    story.told_in_vain(Fact::HostsArrived { total: 2 });
    story.fact(Fact::RevisionPinned(pin()));
    story.fact(Fact::RosterSealed { total: 1, unhealthy: 0, out: 0 });
    story.seen(0, Sighting::Succeeded);
    assert_eq!(story.deployment.status(), Status::Succeeded);
}

#[test]
fn a_host_that_arrives_after_a_stop_is_left_as_it_is() {
    let mut story = Story::running(Minimum::OneAtATime, 2);
    story.seen(0, Sighting::Claimed { heard_at: story.now, waits_in: None });
    story.fact(Fact::StopRequested { at: story.now, roll_back: None });
    story.arrived(3);
    story.seen(0, Sighting::Succeeded);
    assert_eq!(story.deployment.status(), Status::Stopped);
    use HostState::{Skipped, Succeeded};
    assert_eq!(story.states(), [Succeeded, Skipped, Skipped]);
}

#[test]
fn nobody_arrives_after_the_end() {
    let mut story = Story::running(Minimum::OneAtATime, 1);
    story.seen(0, Sighting::Succeeded);
    story.told_in_vain(Fact::HostsArrived { total: 2 });
}

#[test]
fn a_ramp_spreads_first_commands_over_seconds() {
    let mut story = ramped(2, 5);
    assert_eq!(story.deployment.plan(story.now).wake_at, Some(story.now.plus_ms(1_000)));
    story.wait(999);
    story.wait(1);
    story.wait(1_000);
    story.tells(expect![[r#"
        0 PinRevision
        0 EnrolHosts
        0 Dispatch { batch: 0, attempt: 1, hosts: Ordinals([(0, 2)]) }
        1000 Dispatch { batch: 1, attempt: 1, hosts: Ordinals([(2, 2)]) }
        2000 Dispatch { batch: 2, attempt: 1, hosts: Ordinals([(4, 1)]) }
    "#]]);
}

#[test]
fn a_ramp_slides_and_counts_hosts_of_a_tenth_of_a_second_as_its_last() {
    let mut story = ramped(3, 1);
    story.wait(60);
    story.arrived(2);
    story.wait(60);
    story.arrived(3);
    story.arrived(6);
    let next = |story: &Story| story.deployment.plan(story.now).wake_at.unwrap();
    for _ in 0..2 {
        story.now = next(&story);
        story.step();
    }
    story.tells(expect![[r#"
        0 PinRevision
        0 EnrolHosts
        0 Dispatch { batch: 0, attempt: 1, hosts: Ordinals([(0, 1)]) }
        60 Dispatch { batch: 1, attempt: 1, hosts: Ordinals([(1, 1)]) }
        120 Dispatch { batch: 2, attempt: 1, hosts: Ordinals([(2, 1)]) }
        1060 Dispatch { batch: 3, attempt: 1, hosts: Ordinals([(3, 2)]) }
        1120 Dispatch { batch: 4, attempt: 1, hosts: Ordinals([(5, 1)]) }
    "#]]);
}

#[test]
fn a_ramp_does_not_count_commands_that_are_sent_again() {
    let mut story = ramped(2, 2);
    let unclaimed = |ordinal| HostSeen { ordinal, sighting: Sighting::Unclaimed };
    story.wait(30_000);
    story.fact(Fact::BatchChecked { batch: 0, seen: vec![unclaimed(0), unclaimed(1)] });
    story.wait(1);
    story.arrived(5);
    story.tells(expect![[r#"
        0 PinRevision
        0 EnrolHosts
        0 Dispatch { batch: 0, attempt: 1, hosts: Ordinals([(0, 2)]) }
        30000 CheckHosts { batch: 0, shut_out: false, give_up_before: Timestamp(964000) }
        30000 Dispatch { batch: 1, attempt: 2, hosts: Ordinals([(0, 2)]) }
        30001 Dispatch { batch: 2, attempt: 1, hosts: Ordinals([(2, 2)]) }
    "#]]);
}

#[test]
fn a_stop_acts_at_once_on_hosts_that_a_ramp_holds_back() {
    let mut story = ramped(1, 3);
    story.fact(Fact::StopRequested { at: story.now, roll_back: None });
    story.wait(5_000);
    story.seen(0, Sighting::ShutOut);
    assert_eq!(story.deployment.status(), Status::Stopped);
    assert_eq!(story.states(), [HostState::Skipped; 3]);
}

#[test]
fn a_ramp_takes_no_more_room_however_slowly_hosts_come() {
    let mut story = ramped(1_000, 1);
    for total in 2..500 {
        story.now = story.now.plus_ms(7);
        story.arrived(total);
        assert!(story.deployment.ramp.len() <= 11, "{:?}", story.deployment.ramp);
    }
    assert_eq!(story.deployment.hosts().fleet().in_flight, 499);
}

#[test]
fn a_host_that_leaves_is_spared_unless_it_has_claimed_its_command() {
    let mut story = Story::running(Minimum::FleetPercent(50), 5);
    story.seen(0, Sighting::Claimed { heard_at: story.now, waits_in: None });
    for ordinal in [0, 1, 2] {
        story.seen(ordinal, Sighting::Leaving);
        story.told_in_vain(seen(ordinal, Sighting::Leaving));
    }
    use HostState::{Gone, Running, Untouched};
    assert_eq!(story.states(), [Running, Gone, Gone, Untouched, Untouched]);
    assert!(story.deployment.may_proceed(0, story.now).is_ok(), "what runs may end");
    assert!(story.deployment.may_proceed(1, story.now).is_err());
    for ordinal in [0, 3, 4] {
        story.seen(ordinal, Sighting::Succeeded);
    }
    assert_eq!(story.deployment.status(), Status::Succeeded);
    assert_eq!(story.deployment.hosts().fleet().total(), 3, "those that were spared count no more");
}

#[test]
fn a_host_that_leaves_is_not_sent_its_command_again() {
    let mut story = Story::running(Minimum::FleetPercent(0), 3);
    story.seen(2, Sighting::Succeeded);
    story.wait(30_000);
    story.fact(Fact::BatchChecked {
        batch: 0,
        seen: vec![
            HostSeen { ordinal: 0, sighting: Sighting::Leaving },
            HostSeen { ordinal: 1, sighting: Sighting::Unclaimed },
        ],
    });
    story.seen(1, Sighting::Leaving);
    story.tells(expect![[r#"
        0 PinRevision
        0 EnrolHosts
        0 Dispatch { batch: 0, attempt: 1, hosts: Ordinals([(0, 3)]) }
        30000 CheckHosts { batch: 0, shut_out: false, give_up_before: Timestamp(964000) }
        30000 Dispatch { batch: 1, attempt: 2, hosts: Ordinals([(1, 1)]) }
        30000 End(Ending { status: Succeeded, failure: None, roll_back: false, rollback_refused: None })
    "#]]);
}

#[test]
fn a_host_that_leaves_after_its_end_stays_what_it_became() {
    let mut story = Story::running(Minimum::FleetPercent(0), 3);
    story.seen(0, Sighting::Failed);
    story.seen(1, Sighting::Succeeded);
    for ordinal in [0, 1] {
        story.told_in_vain(seen(ordinal, Sighting::Leaving));
    }
}

#[test]
fn a_departure_stops_the_application_and_nothing_else_and_is_not_rolled_back() {
    let mut story = Story::begun(departing(), 1, 0);
    assert_eq!(story.deployment.events(), [Event::ApplicationStop]);
    story.seen(0, Sighting::Failed);
    let ending = &story.deployment.ended().unwrap().ending;
    assert_eq!((ending.status, ending.roll_back), (Status::Failed, false));
    let refused = ending.rollback_refused.as_deref();
    assert_eq!(refused, Some("Only deployments of a whole group are rolled back."));
}

#[test]
fn a_deployment_of_hosts_that_come_or_go_alone_leaves_what_the_group_goes_back_to() {
    for creator in [Creator::User, Creator::Rollback, Creator::Arrival, Creator::Departure] {
        for sighting in [Sighting::Succeeded, Sighting::Failed] {
            let mut story = Story::begun(Order { creator, ..departing() }, 1, 0);
            let waiting = Upload {
                identity: "2".into(),
                order: 2,
                rank: String::new(),
                revision: story.deployment.order().revision.clone(),
                pin: pin(),
                at: story.now,
            };
            let last_successful = story.deployment.order().fallback.clone();
            let mut slot = Slot { last_successful, ..Slot::default() };
            slot.start(story.deployment.id(), creator).unwrap();
            assert_eq!(slot.newest_of_group.is_some(), creator.is_of_group());
            slot.admit(&waiting);
            story.seen(0, sighting);
            let ending = story.deployment.ended().unwrap().ending.clone();
            let next = slot.end(&story.deployment, &ending, None);
            assert_eq!(next, Next::Queued(waiting), "the group goes on");
            let last = slot.last_successful.unwrap().deployment;
            let is_newest = last == *story.deployment.id();
            let counts = creator.is_of_group() && sighting == Sighting::Succeeded;
            assert_eq!(is_newest, counts, "{creator:?} {sighting:?}");
        }
    }
}

#[test]
fn of_two_uploads_of_the_same_millisecond_the_later_one_is_deployed() {
    let deployment = Story::new(order(Minimum::OneAtATime, true)).deployment;
    let upload = |rank: &str| Upload {
        identity: rank.into(),
        order: 1_764_000_000_000,
        rank: rank.into(),
        revision: deployment.order().revision.clone(),
        pin: pin(),
        at: Timestamp(1),
    };
    for ranks in [["0055a1", "0055b0"], ["", ""]] {
        let mut slot = Slot::default();
        slot.start(deployment.id(), Creator::User).unwrap();
        let [first, second] = ranks.map(upload);
        assert_eq!(slot.admit(&first), Admission::Wait);
        assert_eq!(slot.admit(&second), Admission::Wait, "{ranks:?}");
        assert_eq!(slot.queued, Some(second));
    }
    // However they come.
    let mut slot = Slot::default();
    slot.start(deployment.id(), Creator::User).unwrap();
    assert_eq!(slot.admit(&upload("0055b0")), Admission::Wait);
    assert_eq!(slot.admit(&upload("0055a1")), Admission::Superseded);
    assert_eq!(slot.queued, Some(upload("0055b0")));
}

/// The requests that were decided, once more, as an outbox may bring them.
fn decided(story: &mut Story) -> Vec<Request> {
    let plan = story.deployment.plan(story.now);
    story.deployment.apply(Fact::Decided { at: story.now, plan: plan.clone() });
    plan.requests
}

#[test]
fn an_outcome_is_wanted_until_it_is_known() {
    let mut story = Story::new(order(Minimum::OneAtATime, true));
    assert!(!story.deployment.wants(&Request::PinRevision), "nobody has asked");
    story.step();
    assert!(story.deployment.wants(&Request::PinRevision));
    story.fact(Fact::RevisionPinned(pin()));
    assert!(!story.deployment.wants(&Request::PinRevision));
    assert!(story.deployment.wants(&Request::EnrolHosts));
    story.fact(Fact::RosterSealed { total: 1, unhealthy: 0, out: 0 });
    assert!(!story.deployment.wants(&Request::EnrolHosts));
}

#[test]
fn a_command_is_wanted_until_its_last_host_has_claimed_it_or_was_sent_another_one() {
    let mut story = Story::running(Minimum::FleetPercent(0), 3);
    let dispatch = |attempt, hosts: &[u32]| Request::Dispatch {
        batch: 0,
        attempt,
        hosts: hosts.iter().copied().collect(),
    };
    let first = dispatch(1, &[0, 1, 2]);
    story.seen(0, Sighting::Claimed { heard_at: story.now, waits_in: None });
    assert!(story.deployment.wants(&first), "two hosts wait for it");
    story.seen(1, Sighting::Leaving);
    story.wait(30_000);
    assert!(story.deployment.wants(&first), "one host waits for it");
    let unclaimed = HostSeen { ordinal: 2, sighting: Sighting::Unclaimed };
    story.fact(Fact::BatchChecked { batch: 0, seen: vec![unclaimed] });
    assert!(!story.deployment.wants(&first));
    assert!(story.deployment.wants(&dispatch(2, &[2])));
    story.fact(Fact::StopRequested { at: story.now, roll_back: None });
    assert!(!story.deployment.wants(&dispatch(2, &[2])), "nothing is sent after a stop");
}

#[test]
fn a_look_at_hosts_is_wanted_while_one_of_them_is_in_flight_and_nothing_after_the_end() {
    let mut story = Story::running(Minimum::FleetPercent(0), 2);
    story.now = story.now.plus_ms(30_000);
    let [look] = <[Request; 1]>::try_from(decided(&mut story)).unwrap();
    story.seen(0, Sighting::Succeeded);
    assert!(story.deployment.wants(&look));
    story.deployment.apply(seen(1, Sighting::Succeeded));
    assert!(!story.deployment.wants(&look));
    let [end] = <[Request; 1]>::try_from(decided(&mut story)).unwrap();
    assert!(story.deployment.wants(&end));
    story.deployment.apply(Fact::Ended { at: story.now, rolled_back_by: None });
    assert!(!story.deployment.wants(&end));
}

/// What may be told of a fleet, in any order.
#[derive(Debug, Clone)]
enum Told {
    Arrived(u32),
    Seen(u32, Sighting),
    Gone(u32),
    Unclaimed(u32),
    Stop,
}

fn told() -> impl Strategy<Value = Told> {
    let sighting = prop_oneof![
        Just(Sighting::Claimed { heard_at: Timestamp(1_000_000), waits_in: None }),
        Just(Sighting::Succeeded),
        Just(Sighting::Failed),
        Just(Sighting::ShutOut),
        Just(Sighting::Leaving),
        Just(Sighting::Gone),
    ];
    prop_oneof![
        4 => (0_u32..24).prop_map(Told::Arrived),
        8 => (0_u32..24, sighting).prop_map(|(ordinal, sighting)| Told::Seen(ordinal, sighting)),
        1 => (0_u32..24).prop_map(Told::Gone),
        2 => (0_u32..24).prop_map(Told::Unclaimed),
        1 => Just(Told::Stop),
    ]
}

/// A deployment, and when it sent how many hosts their first command within the last second.
struct Watched {
    story: Story,
    started: VecDeque<(Timestamp, u32)>,
    ramp: u32,
}

impl Watched {
    /// One step, after which no second has seen more first commands than the ramp allows.
    fn step(&mut self) {
        let now = self.story.now;
        for request in self.story.deployment.plan(now).requests {
            if let Request::Dispatch { attempt: 1, hosts, .. } = request {
                self.started.push_back((now, hosts.len()));
            }
        }
        while self.started.front().is_some_and(|(at, _)| now.since_ms(*at) >= 1_000) {
            self.started.pop_front();
        }
        let within: u32 = self.started.iter().map(|(_, hosts)| hosts).sum();
        assert!(within <= self.ramp.max(1), "{within} within a second at {now}");
        self.story.step();
    }

    /// Folds what is told, twice, of which the second time changes nothing.
    fn hear(&mut self, told: Told) {
        let deployment = &mut self.story.deployment;
        let unclaimed = |ordinal| HostSeen { ordinal, sighting: Sighting::Unclaimed };
        let fact = match told {
            Told::Arrived(total) => Fact::HostsArrived { total },
            Told::Seen(ordinal, sighting) => seen(ordinal, sighting),
            Told::Gone(ordinal) => Fact::HostsGone(vec![ordinal]),
            Told::Stop => Fact::StopRequested { at: self.story.now, roll_back: None },
            Told::Unclaimed(ordinal) => {
                Fact::BatchChecked { batch: ordinal, seen: vec![unclaimed(ordinal)] }
            }
        };
        deployment.apply(fact.clone());
        let once = deployment.clone();
        deployment.apply(fact);
        assert_eq!(*deployment, once);
    }

    /// Lets all hosts end, and does nothing but wake when the deployment asks for it.
    fn run_out(&mut self) {
        for _ in 0..100 {
            let outstanding: Vec<u32> = self.story.deployment.all_outstanding().collect();
            for ordinal in outstanding {
                self.hear(Told::Seen(ordinal, Sighting::Succeeded));
            }
            self.step();
            match self.story.deployment.plan(self.story.now).wake_at {
                Some(at) => self.story.now = at,
                None if self.story.deployment.ended().is_some() => return,
                None => {}
            }
        }
        panic!("it does not end: {:?}", self.story.deployment);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_and_goes_the_ramp_holds_and_the_deployment_ends(
        ramp in 0_u32..5,
        (hosts, percent) in (1_u32..12, 0_u8..90),
        steps in proptest::collection::vec((0_u64..400, told()), 0..60),
    ) {
        let start_ramp = Some(ramp);
        let order = Order { start_ramp, ..order(Minimum::FleetPercent(percent), false) };
        let mut story = Story::new(order);
        story.step();
        story.fact(Fact::RevisionPinned(pin()));
        story.deployment.apply(Fact::RosterSealed { total: hosts, unhealthy: hosts / 3, out: 0 });
        let mut watched = Watched { story, started: VecDeque::new(), ramp };
        watched.step();
        for (ms, told) in steps {
            watched.story.now = watched.story.now.plus_ms(ms);
            watched.hear(told);
            watched.step();
        }
        watched.run_out();
    }
}

#[test]
fn a_host_that_is_down_fails_at_its_own_moment_and_the_others_of_its_batch_are_waited_for() {
    let mut story = Story::running(Minimum::FleetPercent(0), 3);
    let until = story.now.plus_ms(5_000);
    for hosts in [vec![1], vec![1, 7]] {
        story.fact(Fact::HostsDown { hosts, until });
    }
    assert_eq!(story.deployment.plan(story.now).wake_at, Some(until));
    story.wait(5_000);
    let shut_out = HostSeen { ordinal: 1, sighting: Sighting::ShutOut };
    story.fact(Fact::BatchChecked { batch: 1, seen: vec![shut_out] });
    assert_eq!(story.deployment.hosts().get(1).unwrap().state, HostState::NotStarted);
    story.wait(25_000);
    story.tells(expect![[r#"
        0 PinRevision
        0 EnrolHosts
        0 Dispatch { batch: 0, attempt: 1, hosts: Ordinals([(0, 3)]) }
        5000 CheckHosts { batch: 1, shut_out: true, give_up_before: Timestamp(939000) }
        30000 CheckHosts { batch: 0, shut_out: false, give_up_before: Timestamp(964000) }
    "#]]);
}

#[test]
fn a_host_that_was_down_and_claims_its_command_in_time_is_waited_for_as_any_other() {
    let mut story = Story::running(Minimum::OneAtATime, 1);
    let until = story.now.plus_ms(5_000);
    story.fact(Fact::HostsDown { hosts: vec![0], until });
    story.wait(4_000);
    let claimed = Sighting::Claimed { heard_at: story.now, waits_in: None };
    story.seen(0, claimed);
    // Told again, and late.
    story.fact(Fact::HostsDown { hosts: vec![0], until: until.plus_ms(1) });
    story.wait(1_000);
    story.fact(Fact::BatchChecked {
        batch: 1,
        seen: vec![HostSeen { ordinal: 0, sighting: claimed }],
    });
    assert_eq!(story.deployment.hosts().get(0).unwrap().state, HostState::Running);
    let silent_at = story.now.plus_ms(65_000);
    assert_eq!(story.deployment.plan(story.now).wake_at, Some(silent_at));
}
