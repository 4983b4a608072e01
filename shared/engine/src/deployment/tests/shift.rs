//! Blue/green: the traffic moves all together, and back in one step.

use expect_test::expect;

use super::*;

/// A shift of something with these traits, which is all that a deployment knows of it.
pub(super) fn shift(traits: CarrierTraits) -> Shift {
    Shift::of(Carrier::new("anything", &()).unwrap(), traits)
}

/// Two sides of hosts, of which the one with less traffic is the new one.
fn pair() -> CarrierTraits {
    CarrierTraits { hosts: true, steps: true, ..CarrierTraits::default() }
}

/// Hosts that are exchanged for others, which are the second side.
fn exchange() -> CarrierTraits {
    CarrierTraits { hosts: true, second_is_new: true, ..CarrierTraits::default() }
}

pub(super) fn shifting(ladder: &str, shift: Shift, watch: Option<Watch>) -> Order {
    let mut order = order(Minimum::FleetPercent(0), true);
    order.ladder = if ladder.is_empty() { Ladder::default() } else { ladder.parse().unwrap() };
    order.shift = Some(shift);
    order.watch = watch;
    order.auto_rollback = AutoRollback { on_failure: true, on_stop: false, on_alarm: true };
    order
}

/// A shift whose two hosts are to be installed, the second target group being the new side.
fn begun(order: Order) -> Story {
    let mut story = Story::new(order);
    story.step();
    story.fact(Fact::SidesFound { percent_of_second: 0 });
    story.fact(Fact::RevisionPinned(pin()));
    story.fact(Fact::RosterSealed { total: 2, unhealthy: 0, out: 0 });
    story
}

fn waits(story: &mut Story, event: Event) {
    for ordinal in 0..2 {
        let heard_at = story.now;
        story.seen(ordinal, Sighting::Claimed { heard_at, waits_in: Some(event) });
    }
}

/// One whose hosts are installed and have done what is to be done before they get traffic.
fn poised(order: Order) -> Story {
    let mut story = begun(order);
    waits(&mut story, Event::BeforeAllowTraffic);
    waits(&mut story, Event::AllowTraffic);
    story
}

pub(super) fn moved(story: &mut Story, percent: u8) {
    story.fact(Fact::TrafficMoved { percent });
}

pub(super) fn alarm(firing: bool) -> Fact {
    let firing = if firing { vec!["a".into()] } else { Vec::new() };
    Fact::AlarmsRead { firing, unreadable: None, notes: BTreeMap::new() }
}

pub(super) fn watched() -> Option<Watch> {
    Some(Watch { alarms: vec!["a".into()], ignores_unreadable: false, every_ms: 3_600_000 })
}

#[test]
fn a_shift_installs_waits_for_a_person_moves_by_steps_and_keeps_the_old_side() {
    let mut set = shift(pair());
    (set.ready_wait_ms, set.keep_ms) = (Some(600_000), 300_000);
    let mut story = begun(shifting("10%@1m,100%", set, None));
    waits(&mut story, Event::BeforeAllowTraffic);
    assert_eq!(story.deployment.status(), Status::Ready);
    story.wait(10_000);
    story.fact(Fact::Steered(Steering { version: 1, continued: true, ..Steering::default() }));
    assert_eq!(story.deployment.stage(), Some(Stage::Before));
    waits(&mut story, Event::AllowTraffic);
    moved(&mut story, 10);
    story.wait(60_000);
    moved(&mut story, 100);
    assert_eq!(story.deployment.stage(), Some(Stage::After));
    story.seen(0, Sighting::Succeeded);
    story.seen(1, Sighting::Succeeded);
    assert_eq!(story.deployment.stage(), Some(Stage::Keep));
    story.wait(299_999);
    assert!(story.deployment.ended().is_none());
    story.wait(1);
    story.tells(expect![[r#"
        0 FindSides
        0 PinRevision
        0 EnrolHosts
        0 Dispatch { batch: 0, attempt: 1, hosts: Ordinals([(0, 2)]) }
        10000 MoveTraffic { percent: 10 }
        70000 MoveTraffic { percent: 100 }
        70000 CheckHosts { batch: 0, shut_out: false, give_up_before: Timestamp(1004000) }
        370000 End(Ending { status: Succeeded, failure: None, roll_back: false, rollback_refused: None })
    "#]]);
}

#[test]
fn a_pause_stops_the_waits_for_a_person_and_before_the_old_side_goes() {
    let wish = |version, paused, continued| {
        Fact::Steered(Steering { version, paused, continued, ..Steering::default() })
    };
    let mut set = shift(pair());
    (set.ready_wait_ms, set.keep_ms) = (Some(600_000), 300_000);
    let mut story = begun(shifting("", set, None));
    waits(&mut story, Event::BeforeAllowTraffic);
    story.wait(400_000);
    story.fact(wish(1, true, false));
    assert_eq!(story.deployment.stage_until(), None);
    for _ in 0..30 {
        story.wait(60_000);
    }
    assert_eq!(story.deployment.status(), Status::Ready);
    story.fact(wish(2, false, false));
    assert_eq!(story.deployment.stage_until(), Some(story.now.plus_ms(200_000)));
    story.wait(199_999);
    assert_eq!(story.deployment.status(), Status::Ready);
    story.fact(wish(3, false, true));
    waits(&mut story, Event::AllowTraffic);
    moved(&mut story, 100);
    story.seen(0, Sighting::Succeeded);
    story.seen(1, Sighting::Succeeded);
    story.wait(200_000);
    story.fact(wish(4, true, true));
    story.wait(1_000_000);
    story.fact(wish(5, false, true));
    story.wait(99_999);
    assert_eq!((story.deployment.stage(), story.deployment.ended()), (Some(Stage::Keep), None));
    story.wait(1);
    assert_eq!(story.deployment.status(), Status::Succeeded);
}

#[test]
fn an_alarm_takes_all_traffic_back_before_the_deployment_ends() {
    let mut order = shifting("25%@1m,100%", shift(pair()), watched());
    order.silence_ms = 3_600_000;
    let mut story = begun(order);
    story.fact(alarm(false));
    waits(&mut story, Event::BeforeAllowTraffic);
    waits(&mut story, Event::AllowTraffic);
    // What was asked for and not confirmed may have happened.
    story.fact(alarm(true));
    story.seen(0, Sighting::Failed);
    story.seen(1, Sighting::Failed);
    assert!(
        story.deployment.ended().is_none(),
        "the balancer has not said that the traffic is back"
    );
    moved(&mut story, 25);
    assert_eq!(story.deployment.percent(), Some(0), "nobody waits for that any more");
    moved(&mut story, 0);
    assert!(story.deployment.ended().is_none(), "the request that was not answered may be late");
    story.wait(14_999);
    moved(&mut story, 0);
    assert!(story.deployment.ended().is_none(), "nobody has looked again");
    story.wait(1);
    moved(&mut story, 0);
    let ended = story.deployment.ended().unwrap();
    assert_eq!(ended.ending.status, Status::Stopped);
    assert!(!ended.ending.roll_back, "there is nothing to deploy");
    assert!(ended.ending.rollback_refused.as_ref().unwrap().contains("where it was before"));
    story.tells(expect![[r#"
        0 ReadAlarms
        0 FindSides
        0 PinRevision
        0 EnrolHosts
        0 Dispatch { batch: 0, attempt: 1, hosts: Ordinals([(0, 2)]) }
        0 MoveTraffic { percent: 25 }
        0 MoveTraffic { percent: 0 }
        15000 MoveTraffic { percent: 0 }
        15000 End(Ending { status: Stopped, failure: Some(Failure { code: AlarmActive, message: "One or more alarms have been activated according to the metrics you selected, and the affected deployments have been stopped. Activated alarms: a" }), roll_back: false, rollback_refused: Some("The traffic is where it was before the deployment, and what has it was not changed: there is nothing to roll back.") })
    "#]]);
}

#[test]
fn a_request_that_was_answered_at_the_second_time_may_be_late_the_first_time() {
    let steps = |tries: u32| {
        let mut story = begun(shifting("25%@1m,100%", shift(pair()), watched()));
        story.fact(alarm(false));
        waits(&mut story, Event::BeforeAllowTraffic);
        waits(&mut story, Event::AllowTraffic);
        for _ in 1..tries {
            story.wait(1_000);
        }
        moved(&mut story, 25);
        story.fact(alarm(true));
        story.seen(0, Sighting::Failed);
        story.seen(1, Sighting::Failed);
        moved(&mut story, 0);
        story
    };
    assert!(steps(1).deployment.ended().is_some(), "all was answered");
    let mut story = steps(2);
    assert!(story.deployment.ended().is_none());
    story.wait(15_000);
    moved(&mut story, 0);
    assert_eq!(story.deployment.status(), Status::Stopped);
}

#[test]
fn a_raise_that_nobody_answered_during_a_pause_wakes_the_way_back_when_it_can_come_no_more() {
    let mut story = poised(shifting("25%@1m,100%", shift(pair()), None));
    let paused = Steering { version: 1, paused: true, ..Steering::default() };
    story.fact(Fact::Steered(paused));
    story.wait(14_500);
    story.fact(Fact::StopRequested { at: story.now, roll_back: Some(true) });
    assert!(story.told.ends_with("14500 MoveTraffic { percent: 0 }\n"), "{}", story.told);
    let wake_at = story.deployment.plan(story.now).wake_at;
    assert_eq!(wake_at, Some(Timestamp(1_000_000 + 15_000)));
}

#[test]
fn without_a_rollback_on_alarm_the_weights_stay_and_the_end_says_how_to_take_them_back() {
    let mut order = shifting("25%@1m,100%", shift(pair()), watched());
    order.auto_rollback.on_alarm = false;
    let mut story = begun(order);
    story.fact(alarm(false));
    waits(&mut story, Event::BeforeAllowTraffic);
    waits(&mut story, Event::AllowTraffic);
    moved(&mut story, 25);
    story.fact(alarm(true));
    story.seen(0, Sighting::Failed);
    story.seen(1, Sighting::Failed);
    let ended = story.deployment.ended().unwrap();
    let said = ended.ending.rollback_refused.as_ref().unwrap();
    assert!(said.contains("25%") && said.contains("cutover rollback d-AAAAAAAAA"), "{said}");
    assert!(!story.told.contains("percent: 0"), "{}", story.told);
}

#[test]
fn a_balancer_that_never_answers_does_not_hold_the_end_for_ever() {
    let mut story = poised(shifting("", shift(pair()), None));
    story.fact(Fact::StopRequested { at: story.now, roll_back: Some(true) });
    story.seen(0, Sighting::Failed);
    story.seen(1, Sighting::Failed);
    for _ in 0..29 {
        story.wait(1_000);
        assert!(story.deployment.ended().is_none());
        let left = story.deployment.plan(story.now).requests;
        assert!(left.is_empty(), "the last time is waited for as every time before: {left:?}");
    }
    story.wait(1_000);
    story.wait(1_000);
    let said = story.deployment.ended().unwrap().ending.rollback_refused.clone().unwrap();
    assert!(said.contains("could not be taken back"), "{said}");
}

#[test]
fn nobody_who_continues_stops_it_in_time_and_no_traffic_has_moved() {
    let mut set = shift(pair());
    set.ready_wait_ms = Some(60_000);
    let mut story = begun(shifting("", set, None));
    waits(&mut story, Event::BeforeAllowTraffic);
    story.wait(59_999);
    assert_eq!(story.deployment.status(), Status::Ready);
    story.wait(1);
    assert_eq!(story.deployment.may_proceed(0, story.now), Err("the deployment has failed"));
    story.seen(0, Sighting::Failed);
    story.seen(1, Sighting::Failed);
    let ended = story.deployment.ended().unwrap();
    assert_eq!(ended.ending.status, Status::Stopped);
    assert!(!story.told.contains("MoveTraffic"), "{}", story.told);
}

#[test]
fn a_host_that_cannot_be_installed_keeps_the_traffic_where_it_is() {
    let mut order = shifting("", shift(pair()), None);
    order.rule.minimum = Minimum::FleetPercent(100);
    let mut story = begun(order);
    let heard_at = story.now;
    story.seen(0, Sighting::Claimed { heard_at, waits_in: Some(Event::BeforeAllowTraffic) });
    story.seen(1, Sighting::Failed);
    assert!(story.deployment.ended().is_none(), "a host still waits");
    story.seen(0, Sighting::Failed);
    let failure = story.deployment.ended().unwrap().ending.failure.clone().unwrap();
    assert_eq!(failure.code, FailureCode::HealthConstraints);
    assert!(!story.told.contains("MoveTraffic"), "{}", story.told);
}

#[test]
fn a_share_that_was_asked_for_is_not_given_any_more_after_a_stop_an_alarm_or_a_pause() {
    let rise = Request::MoveTraffic { percent: 100 };
    let ends: [fn(&mut Story); 3] = [
        |story| story.fact(Fact::StopRequested { at: story.now, roll_back: Some(false) }),
        |story| story.fact(alarm(true)),
        |story| {
            story.fact(Fact::Steered(Steering { version: 1, paused: true, ..Steering::default() }));
        },
    ];
    for end in ends {
        let mut order = shifting("", shift(pair()), watched());
        order.auto_rollback.on_alarm = false;
        let mut story = begun(order);
        story.fact(alarm(false));
        waits(&mut story, Event::BeforeAllowTraffic);
        waits(&mut story, Event::AllowTraffic);
        assert!(story.deployment.wants(&rise));
        end(&mut story);
        assert!(!story.deployment.wants(&rise));
    }
}

#[test]
fn a_pause_freezes_the_weights_and_promoting_gives_the_new_side_all() {
    let mut story = poised(shifting("10%@1m,50%@1h,100%", shift(pair()), None));
    moved(&mut story, 10);
    story.fact(Fact::Steered(Steering { version: 1, paused: true, ..Steering::default() }));
    story.wait(120_000);
    assert!(!story.told.contains("percent: 50"), "{}", story.told);
    story.fact(Fact::Steered(Steering { version: 2, promoted: true, ..Steering::default() }));
    assert!(story.told.contains("percent: 100"), "{}", story.told);
}

#[test]
fn the_side_that_has_less_is_the_new_one_and_weights_begin_where_they_are() {
    let found = |back_to, percent_of_second| {
        let set = Shift { back_to, ..shift(pair()) };
        let mut story = Story::new(shifting("", set, None));
        story.fact(Fact::SidesFound { percent_of_second });
        (story.deployment.new_side().unwrap(), story.deployment.percent().unwrap())
    };
    assert_eq!(found(None, 0), (1, 0));
    assert_eq!(found(None, 100), (0, 0));
    assert_eq!(found(None, 30), (1, 30));
    assert_eq!(found(Some(0), 30), (0, 70));
}

#[test]
fn one_target_group_is_both_sides_and_its_new_hosts_start_without_traffic() {
    let mut story = poised(shifting("", shift(exchange()), None));
    assert_eq!(story.deployment.new_side(), Some(1));
    assert!(story.told.ends_with("MoveTraffic { percent: 100 }\n"), "{}", story.told);
    moved(&mut story, 100);
    story.seen(0, Sighting::Succeeded);
    story.seen(1, Sighting::Succeeded);
    assert_eq!(story.deployment.status(), Status::Succeeded);
}

/// A shift to the hosts of a group that is copied, before the copy is there.
fn copying() -> Story {
    let copy = ScalingCopy { from: "blue".into(), to: "green".into() };
    let set = Shift { copies: Some(copy), ..shift(exchange()) };
    let mut story = Story::new(shifting("", set, None));
    story.deployment.pin = Some(pin());
    story.step();
    story.fact(Fact::SidesFound { percent_of_second: 0 });
    story
}

#[test]
fn hosts_of_a_copy_are_enrolled_when_it_is_there_and_it_is_ended_when_it_is_not_needed() {
    let mut story = copying();
    story.wait(60_000);
    assert!(
        story.told.contains("CopyGroup") && !story.told.contains("EnrolHosts"),
        "{}",
        story.told
    );
    story.fact(Fact::GroupCopied);
    assert!(story.told.ends_with("EnrolHosts\n"), "{}", story.told);
    story.fact(Fact::RosterSealed { total: 2, unhealthy: 0, out: 0 });
    let at = story.now;
    story.fact(Fact::StopRequested { at, roll_back: None });
    assert!(!story.told.contains("Retire"), "its hosts are at work: {}", story.told);
    story.seen(0, Sighting::ShutOut);
    story.seen(1, Sighting::ShutOut);
    assert!(story.told.ends_with("Retire { side: New }\n"), "{}", story.told);
    story.fact(Fact::Retired { side: Side::New });
    assert_eq!(story.deployment.status(), Status::Stopped);
}

#[test]
fn a_copy_that_does_not_come_up_fails_after_an_hour_and_starts_nothing() {
    let mut story = copying();
    story.wait(3_600_000);
    assert!(story.told.ends_with("Retire { side: New }\n"), "{}", story.told);
    story.fact(Fact::Retired { side: Side::New });
    let failure = story.deployment.ended().unwrap().ending.failure.clone().unwrap();
    assert_eq!(failure.code, FailureCode::AutoScalingConfiguration);
    assert!(failure.message.contains("`green`"), "{}", failure.message);
    assert!(!story.told.contains("EnrolHosts"), "{}", story.told);
}

#[test]
fn a_new_side_that_has_traffic_loses_it_before_its_hosts_are_touched() {
    let mut story = Story::new(shifting("10%,100%", shift(pair()), None));
    story.deployment.pin = Some(pin());
    story.step();
    story.fact(Fact::SidesFound { percent_of_second: 25 });
    story.wait(500);
    assert!(!story.told.contains("EnrolHosts"), "{}", story.told);
    moved(&mut story, 0);
    story.tells(expect![[r#"
        0 FindSides
        0 MoveTraffic { percent: 0 }
        500 EnrolHosts
    "#]]);
}

#[test]
fn a_way_back_is_one_change_of_weights_without_hosts() {
    let mut order = shifting("", Shift { back_to: Some(0), ..shift(pair()) }, None);
    order.auto_rollback = AutoRollback::default();
    let mut story = Story::new(order);
    story.deployment.pin = Some(pin());
    story.step();
    story.fact(Fact::SidesFound { percent_of_second: 100 });
    moved(&mut story, 100);
    story.tells(expect![[r#"
        0 FindSides
        0 MoveTraffic { percent: 100 }
        0 End(Ending { status: Succeeded, failure: None, roll_back: false, rollback_refused: None })
    "#]]);
}

#[test]
fn a_way_back_asks_for_the_traffic_although_it_is_there_because_a_raise_may_be_on_its_way() {
    let traits = CarrierTraits { hooks: Some(Vec::new()), ..alias() };
    let set = Shift { back_to: Some(1), ..shift(traits) };
    let mut story = Story::new(shifting("", set, None));
    story.step();
    story.fact(Fact::SidesFound { percent_of_second: 100 });
    assert_eq!(story.deployment.percent(), Some(100));
    story.wait(1_000);
    moved(&mut story, 100);
    story.tells(expect![[r#"
        0 FindSides
        0 MoveTraffic { percent: 100 }
        1000 MoveTraffic { percent: 100 }
        1000 End(Ending { status: Succeeded, failure: None, roll_back: false, rollback_refused: None })
    "#]]);
}

/// Two versions behind one name, the second of which is the new one, with functions that are called on the way.
fn alias() -> CarrierTraits {
    CarrierTraits {
        hooks: Some(vec![Event::BeforeAllowTraffic, Event::AfterAllowTraffic]),
        steps: true,
        second_is_new: true,
        fenced: true,
        ..CarrierTraits::default()
    }
}

#[test]
fn a_pause_does_not_stop_the_time_out_of_a_hook() {
    let mut story = Story::new(shifting("", shift(alias()), None));
    story.step();
    story.fact(Fact::SidesFound { percent_of_second: 0 });
    story.fact(Fact::Steered(Steering { version: 1, paused: true, ..Steering::default() }));
    story.wait(HOOK_MS - 1);
    assert_eq!(story.deployment.status(), Status::InProgress);
    story.wait(1);
    let failure = story.deployment.ended().unwrap().ending.failure.clone().unwrap();
    assert_eq!(failure.code, FailureCode::HookFailed);
}

#[test]
fn an_alias_moves_between_its_two_hooks() {
    let mut story = Story::new(shifting("10%@5m,100%", shift(alias()), None));
    story.step();
    story.fact(Fact::SidesFound { percent_of_second: 0 });
    story.fact(Fact::HookEnded { event: Event::BeforeAllowTraffic, failed: None });
    moved(&mut story, 10);
    story.wait(300_000);
    moved(&mut story, 100);
    story.fact(Fact::HookEnded { event: Event::AfterAllowTraffic, failed: None });
    story.tells(expect![[r#"
        0 FindSides
        0 RunHook { event: BeforeAllowTraffic }
        0 MoveTraffic { percent: 10 }
        300000 MoveTraffic { percent: 100 }
        300000 RunHook { event: AfterAllowTraffic }
        300000 End(Ending { status: Succeeded, failure: None, roll_back: false, rollback_refused: None })
    "#]]);
}

#[test]
fn a_hook_that_fails_or_keeps_silent_for_an_hour_takes_the_traffic_back() {
    for failed in [Some("it said Failed".to_owned()), None] {
        let mut story = Story::new(shifting("", shift(alias()), None));
        story.step();
        story.fact(Fact::SidesFound { percent_of_second: 0 });
        story.fact(Fact::HookEnded { event: Event::BeforeAllowTraffic, failed: None });
        moved(&mut story, 100);
        match failed {
            Some(failed) => story
                .fact(Fact::HookEnded { event: Event::AfterAllowTraffic, failed: Some(failed) }),
            None => story.wait(HOOK_MS),
        }
        assert!(story.deployment.ended().is_none());
        moved(&mut story, 0);
        let ended = story.deployment.ended().unwrap();
        assert_eq!(ended.ending.status, Status::Failed);
        assert_eq!(ended.ending.failure.as_ref().unwrap().code, FailureCode::HookFailed);
    }
}

/// One whose new hosts have all of the traffic, and whose old ones are to be terminated.
fn terminating(watch: Option<Watch>) -> Story {
    let order = shifting("", Shift { retires: true, keep_ms: 60_000, ..shift(pair()) }, watch);
    let is_watched = order.watch.is_some();
    let mut story = begun(order);
    if is_watched {
        story.fact(alarm(false));
    }
    waits(&mut story, Event::BeforeAllowTraffic);
    waits(&mut story, Event::AllowTraffic);
    moved(&mut story, 100);
    for ordinal in 0..2 {
        story.seen(ordinal, Sighting::Succeeded);
    }
    story
}

#[test]
fn old_hosts_are_ended_when_the_wait_is_over_and_not_before() {
    let mut story = terminating(None);
    let retire = Request::Retire { side: Side::Old };
    assert_eq!(story.deployment.stage(), Some(Stage::Keep));
    assert!(!story.deployment.wants(&retire), "{}", story.told);
    story.wait(60_000);
    assert_eq!(story.deployment.stage(), Some(Stage::Retire));
    assert!(story.deployment.wants(&retire), "{}", story.told);
    story.fact(Fact::Retired { side: Side::Old });
    let ended = story.deployment.ended().unwrap();
    assert_eq!(
        (ended.ending.status, story.deployment.retired()),
        (Status::Succeeded, Some(Side::Old))
    );
}

#[test]
fn no_more_old_hosts_are_ended_after_an_alarm_or_a_stop_and_none_of_the_new_ones() {
    for is_alarm in [true, false] {
        for wait_ms in [0, 60_000] {
            let mut story = terminating(watched());
            story.wait(wait_ms);
            let stop = Fact::StopRequested { at: story.now, roll_back: Some(true) };
            story.fact(if is_alarm { alarm(true) } else { stop });
            let is_wanted = |side| story.deployment.wants(&Request::Retire { side });
            assert!(!is_wanted(Side::Old) && !is_wanted(Side::New), "{}", story.told);
            if wait_ms == 0 {
                moved(&mut story, 0);
                assert!(!story.told.contains("Retire"), "{}", story.told);
            }
            let ending = &story.deployment.ended().unwrap().ending;
            assert_eq!(ending.status, Status::Stopped);
            let is_back =
                ending.rollback_refused.as_ref().unwrap().contains("stays with the new version");
            assert_eq!(is_back, wait_ms > 0, "{ending:?}");
        }
    }
}

#[test]
fn old_hosts_are_not_ended_while_it_is_paused() {
    let mut story = terminating(None);
    let wish = |version, paused| Fact::Steered(Steering { version, paused, ..Steering::default() });
    story.fact(wish(1, true));
    story.wait(60_000);
    assert!(!story.told.contains("Retire"), "{}", story.told);
    story.fact(wish(2, false));
    story.wait(60_000);
    assert!(story.deployment.wants(&Request::Retire { side: Side::Old }), "{}", story.told);
    story.fact(wish(3, true));
    assert!(!story.deployment.wants(&Request::Retire { side: Side::Old }));
}

#[test]
fn old_hosts_may_take_an_hour_to_lose_their_connections_and_not_for_ever() {
    let mut story = terminating(None);
    story.wait(60_000);
    for _ in 0..360 {
        story.wait(10_000);
    }
    assert!(story.deployment.ended().is_none(), "{}", story.told);
    for _ in 0..60 {
        story.wait(10_000);
    }
    let failure = story.deployment.ended().unwrap().ending.failure.clone().unwrap();
    assert_eq!(failure.code, FailureCode::Timeout);
    assert!(failure.message.contains("has all of the traffic"), "{}", failure.message);
}
