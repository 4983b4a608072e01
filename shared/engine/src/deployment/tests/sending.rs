//! Commands that are not accepted at once, or not at all.

use super::*;

const MINUTE_MS: u64 = 60_000;

fn throttled() -> Refusal {
    Refusal { denied: false, message: "Systems Manager did not answer SendCommand".into() }
}

fn denied() -> Refusal {
    Refusal { denied: true, message: "Systems Manager refuses SendCommand".into() }
}

/// A deployment to `hosts` hosts, whose first commands have been sent and not been accepted.
fn sending(rule: Minimum, hosts: u32) -> Story {
    sending_by(order(rule, true), hosts)
}

fn sending_by(order: Order, total: u32) -> Story {
    let mut story = Story::new(order);
    story.accepts = false;
    story.step();
    story.fact(Fact::RevisionPinned(pin()));
    story.fact(Fact::RosterSealed { total, unhealthy: 0, out: 0 });
    story
}

impl Story {
    /// Lets `ms` go by. What is sent is refused for the reason that `refuses` gives for its batch; what is looked at has not
    /// claimed its command. Returns when which batch was sent.
    fn refusing(&mut self, ms: u64, refuses: impl Fn(u32) -> Option<Refusal>) -> Vec<(u64, u32)> {
        let (begin, mut sent) = (self.now, Vec::new());
        while self.deployment.ended.is_none() {
            let plan = self.deployment.plan(self.now);
            let wake_at = plan.wake_at;
            self.step();
            let mut facts = Vec::new();
            for request in plan.requests {
                if let Request::Dispatch { batch, .. } = request {
                    sent.push((self.now.since_ms(begin), batch));
                    let at = self.now.plus_ms(5);
                    facts.push(match refuses(batch) {
                        Some(refusal) => Fact::BatchRefused { batch, at, refusal },
                        None => Fact::BatchAccepted { batch, at },
                    });
                } else if let Request::CheckHosts { batch, shut_out, .. } = request {
                    let sighting = if shut_out { Sighting::ShutOut } else { Sighting::Unclaimed };
                    let hosts = self.deployment.outstanding(batch);
                    let seen = hosts.iter().map(|ordinal| HostSeen { ordinal, sighting });
                    facts.push(Fact::BatchChecked { batch, seen: seen.collect() });
                }
            }
            if facts.is_empty() {
                let Some(next) = wake_at.filter(|at| at.since_ms(begin) <= ms) else { break };
                self.now = next.max(self.now);
            }
            for fact in facts {
                self.deployment.apply(fact);
            }
        }
        self.now = self.now.max(begin.plus_ms(ms));
        sent
    }
}

#[test]
fn two_minutes_of_throttling_fail_no_host_and_end_within_seconds() {
    let mut story = sending(Minimum::OneAtATime, 1);
    let first = Fact::BatchRefused { batch: 0, at: story.now, refusal: throttled() };
    story.fact(first);
    let sent = story.refusing(2 * MINUTE_MS, |_| Some(throttled()));
    let sent: Vec<u64> = sent.into_iter().map(|(at, _)| at).collect();
    assert_eq!(sent[..4], [2_000, 6_005, 14_010, 29_015], "{sent:?}");
    assert!(sent.windows(2).all(|pair| pair[1] - pair[0] <= 15_005), "{sent:?}");
    assert_eq!(story.states(), [HostState::Sent]);
    let accepted = story.refusing(20_000, |_| None);
    assert!(accepted.first().is_some_and(|(at, _)| *at <= 15_005), "{accepted:?}");
    assert_eq!(story.deployment.refusal(), None);
}

#[test]
fn the_time_to_claim_a_command_begins_when_it_is_accepted() {
    let mut story = sending(Minimum::OneAtATime, 1);
    story.refusing(10 * MINUTE_MS, |_| Some(throttled()));
    let accepted_at = story.now;
    story.fact(Fact::BatchAccepted { batch: 0, at: accepted_at });
    let told = story.told.len();
    story.wait(29_999);
    assert_eq!(story.told.len(), told, "nobody is looked for sooner");
    story.wait(1);
    let seen = vec![HostSeen { ordinal: 0, sighting: Sighting::Unclaimed }];
    story.fact(Fact::BatchChecked { batch: 0, seen });
    let second = "Dispatch { batch: 1, attempt: 2, hosts: Ordinals([(0, 1)]) }";
    assert!(story.told.trim_end().ends_with(second), "{}", story.told);
    // The same holds of the second command.
    story.refusing(2 * MINUTE_MS, |_| Some(throttled()));
    assert_eq!(story.states(), [HostState::Sent]);
    story.fact(Fact::BatchAccepted { batch: 1, at: story.now });
    story.refusing(MINUTE_MS, |_| None);
    assert_eq!(story.states(), [HostState::NotStarted]);
}

#[test]
fn a_look_from_before_a_command_was_accepted_makes_nobody_late() {
    let mut story = sending(Minimum::OneAtATime, 1);
    story.wait(30_000);
    story.fact(Fact::BatchAccepted { batch: 0, at: story.now });
    let seen = vec![HostSeen { ordinal: 0, sighting: Sighting::Unclaimed }];
    story.fact(Fact::BatchChecked { batch: 0, seen });
    assert_eq!(story.states(), [HostState::Sent]);
}

#[test]
fn what_is_denied_is_said_and_ends_the_deployment_after_a_quarter_of_an_hour_with_its_hosts_untouched()
 {
    let mut story = sending(Minimum::FleetPercent(0), 3);
    let begin = story.now;
    story.fact(Fact::BatchRefused { batch: 0, at: begin, refusal: denied() });
    let (refusal, since) = story.deployment.refusal().unwrap();
    assert_eq!((refusal, since), (&denied(), Some(begin)));
    // What passes by itself does not hide it.
    let sent = story.refusing(DENIED_MS - 1, |_| Some(throttled()));
    assert!(sent.len() > 50, "it is tried again: {sent:?}");
    assert_eq!(story.deployment.refusal().unwrap().0, &denied());
    assert_eq!(story.deployment.status(), Status::InProgress);
    story.refusing(1_000, |_| Some(throttled()));
    let ended = story.deployment.ended().unwrap();
    let failure = ended.ending.failure.as_ref().unwrap();
    assert_eq!(
        (ended.at, failure.code),
        (begin.plus_ms(DENIED_MS), FailureCode::IamRolePermissions)
    );
    let said =
        "Commands to 3 hosts were denied for 15 minutes: Systems Manager refuses SendCommand.";
    assert!(failure.message.starts_with(said), "{}", failure.message);
    assert_eq!(story.states(), [HostState::Skipped; 3]);
    let reached = |ordinal| story.deployment.hosts().get(ordinal).unwrap();
    assert!((0..3).all(|ordinal| !story.deployment.has_reached_host(reached(ordinal))));
    assert!(!ended.ending.roll_back, "nothing is to be taken back");
}

#[test]
fn what_is_allowed_in_time_goes_on() {
    let mut story = sending(Minimum::FleetPercent(0), 3);
    story.refusing(DENIED_MS - MINUTE_MS, |_| Some(denied()));
    story.refusing(20_000, |_| None);
    assert_eq!(story.deployment.refusal(), None);
    for ordinal in 0..3 {
        story.seen(ordinal, Sighting::Succeeded);
    }
    assert_eq!(story.deployment.status(), Status::Succeeded);
}

#[test]
fn a_batch_that_is_refused_hides_no_other() {
    let mut story = sending(Minimum::FleetPercent(0), 120);
    let at = story.now;
    story.fact(Fact::BatchRefused { batch: 1, at, refusal: denied() });
    for batch in [0, 2] {
        story.fact(Fact::BatchAccepted { batch, at });
    }
    let sent = story.refusing(20_000, |batch| (batch == 1).then(denied));
    let others = sent.iter().filter(|(_, batch)| *batch != 1).count();
    assert_eq!((others, sent.len()), (0, 3), "what was accepted is sent once: {sent:?}");
    // They are found late as ever, and succeed, while the other one is tried again.
    for ordinal in (0..50).chain(100..119) {
        story.seen(ordinal, Sighting::Succeeded);
    }
    story.refusing(MINUTE_MS, |batch| (batch == 1).then(denied));
    let states = story.states();
    assert_eq!((states[49], states[50], states[119]), {
        (HostState::Succeeded, HostState::Sent, HostState::NotStarted)
    });
    story.refusing(DENIED_MS, |batch| (batch == 1).then(denied));
    let ending = &story.deployment.ended().unwrap().ending;
    assert_eq!(ending.failure.as_ref().unwrap().code, FailureCode::IamRolePermissions);
    assert!(ending.roll_back, "there are hosts that were touched");
    assert_eq!(story.states()[50..100], [HostState::Skipped; 50]);
}

#[test]
fn hosts_that_wait_are_told_when_the_deployment_fails_because_a_command_was_denied() {
    let mut story = sending(Minimum::FleetPercent(0), 51);
    let at = story.now;
    story.fact(Fact::BatchAccepted { batch: 0, at });
    story.fact(Fact::BatchRefused { batch: 1, at, refusal: denied() });
    for ordinal in 1..50 {
        story.seen(ordinal, Sighting::Succeeded);
    }
    let claimed = |heard_at| Sighting::Claimed { heard_at, waits_in: None };
    story.seen(0, claimed(at));
    assert!(story.deployment.gate().may_proceed(at).is_ok(), "it may be allowed in time");
    story.now = at.plus_ms(DENIED_MS);
    story.seen(0, claimed(story.now));
    assert!(story.deployment.ended().is_none(), "a host is at work");
    assert_eq!(story.deployment.gate().may_proceed(story.now), Err("the deployment has failed"));
}

#[test]
fn hosts_whose_command_was_never_accepted_are_untouched_when_the_time_is_over() {
    let mut story = sending(Minimum::FleetPercent(0), 2);
    story.refusing(8 * 3_600_000 + MINUTE_MS, |_| Some(throttled()));
    let ending = &story.deployment.ended().unwrap().ending;
    assert_eq!(ending.failure.as_ref().unwrap().code, FailureCode::Timeout);
    assert_eq!(story.states(), [HostState::Skipped; 2]);
}

#[test]
fn a_stop_ends_what_is_being_sent_at_once() {
    let mut story = sending(Minimum::FleetPercent(0), 2);
    story.refusing(20_000, |_| Some(denied()));
    story.fact(Fact::StopRequested { at: story.now, roll_back: None });
    let seen = [0, 1].map(|ordinal| HostSeen { ordinal, sighting: Sighting::ShutOut });
    story.fact(Fact::BatchChecked { batch: 0, seen: seen.into() });
    assert_eq!(story.deployment.status(), Status::Stopped);
    assert_eq!(story.states(), [HostState::Skipped; 2]);
}

#[test]
fn a_refusal_that_is_told_twice_or_late_counts_once() {
    let mut story = sending(Minimum::FleetPercent(0), 1);
    let refused = Fact::BatchRefused { batch: 0, at: story.now, refusal: throttled() };
    story.fact(refused.clone());
    assert!(!story.deployment.apply(refused.clone()));
    story.fact(Fact::BatchAccepted { batch: 0, at: story.now });
    assert!(!story.deployment.apply(refused), "it was accepted meanwhile");
    assert!(!story.deployment.apply(Fact::BatchAccepted { batch: 0, at: story.now.plus_ms(9) }));
}

#[test]
fn a_command_of_which_nothing_is_heard_is_sent_again() {
    let mut story = sending(Minimum::FleetPercent(0), 2);
    story.wait(30_000);
    let (again, look) = ("30000 Dispatch { batch: 0, attempt: 1,", "30000 CheckHosts { batch: 0,");
    assert!(story.told.contains(again) && story.told.contains(look), "{}", story.told);
    // All hosts have claimed it: it was accepted, whatever became of the word that it was.
    let claimed = Sighting::Claimed { heard_at: story.now, waits_in: None };
    let seen = [0, 1].map(|ordinal| HostSeen { ordinal, sighting: claimed });
    story.fact(Fact::BatchChecked { batch: 0, seen: seen.into() });
    assert_eq!(story.deployment.sending().count(), 0);
}

#[test]
fn what_cannot_be_sent_for_long_fits_into_the_row() {
    let mut story = sending(Minimum::FleetPercent(50), 10_000);
    for batch in 0..100 {
        story.deployment.apply(Fact::BatchAccepted { batch, at: story.now });
    }
    // One host after the other ends, and the command of the one that follows is refused.
    for ordinal in 0..5_000 {
        story.now = story.now.plus_ms(5);
        let seen = HostSeen { ordinal, sighting: Sighting::Succeeded };
        story.deployment.apply(Fact::HostsSeen(vec![seen]));
        let plan = story.deployment.plan(story.now);
        story.deployment.apply(Fact::Decided { at: story.now, plan: plan.clone() });
        for batch in sent_by(&plan) {
            let at = story.now.plus_ms(1);
            let refusal = Refusal { message: "x".repeat(1_000), ..denied() };
            story.deployment.apply(Fact::BatchRefused { batch, at, refusal });
        }
        if ordinal % 100 == 0 {
            let row = serde_json::to_string(&story.deployment).unwrap();
            assert!(row.len() < 64 * 1024, "{}", row.len());
        }
    }
    // Once they are accepted, all others follow.
    let sending: Vec<u32> = story.deployment.sending().collect();
    for batch in sending {
        story.deployment.apply(Fact::BatchAccepted { batch, at: story.now });
    }
    decide(&mut story.deployment, story.now);
    assert_eq!(story.deployment.hosts().fleet().in_flight, 5_000);
}

#[test]
fn what_is_sent_again_takes_no_place_on_the_ramp() {
    let mut story =
        sending_by(Order { start_ramp: Some(2), ..order(Minimum::FleetPercent(0), true) }, 5);
    let begin = story.now;
    story.fact(Fact::BatchRefused { batch: 0, at: begin, refusal: throttled() });
    story.wait(1_001);
    assert_eq!(story.deployment.hosts().fleet().in_flight, 4);
    // The first two are sent again while the ramp holds the last one back.
    let plan = story.deployment.plan(begin.plus_ms(2_000));
    assert_eq!((sent_by(&plan), plan.wake_at), (vec![0], Some(begin.plus_ms(2_001))));
}
