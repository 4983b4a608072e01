//! Ladders, people in charge and alarms: how far a deployment goes, and what stops it.

use expect_test::expect;

use super::*;

/// A deployment that climbs `ladder`, all hosts at once as far as the rule goes.
fn climbing(ladder: &str, hosts: u32, watch: Option<Watch>) -> Story {
    let mut order = order(Minimum::FleetPercent(0), true);
    order.ladder = ladder.parse().unwrap();
    order.watch = watch;
    order.traffic = Some(Traffic { groups: vec!["home:web".into()] });
    order.auto_rollback.on_alarm = true;
    Story::begun(order, hosts, 0)
}

fn watched() -> Option<Watch> {
    let alarms = vec!["home:web error_rate>5%".into()];
    Some(Watch { alarms, ignores_unreadable: false, every_ms: 200 })
}

fn quiet() -> Fact {
    Fact::AlarmsRead { firing: Vec::new(), unreadable: None, notes: BTreeMap::new() }
}

fn firing() -> Fact {
    Fact::AlarmsRead {
        firing: vec!["home:web error_rate>5%".into()],
        unreadable: None,
        notes: BTreeMap::new(),
    }
}

#[test]
fn a_ladder_lets_no_more_hosts_start_than_its_rung_and_waits_until_that_has_baked() {
    let mut story = climbing("1 host@1m,50%@2m,100%", 4, None);
    story.seen(0, Sighting::Succeeded);
    story.wait(59_999);
    story.wait(1);
    story.seen(1, Sighting::Succeeded);
    story.wait(119_999);
    story.wait(1);
    story.seen(2, Sighting::Succeeded);
    story.seen(3, Sighting::Succeeded);
    story.tells(expect![[r#"
        0 PinRevision
        0 EnrolHosts
        0 Dispatch { batch: 0, attempt: 1, hosts: Ordinals([(0, 1)]) }
        60000 Dispatch { batch: 1, attempt: 1, hosts: Ordinals([(1, 1)]) }
        180000 Dispatch { batch: 2, attempt: 1, hosts: Ordinals([(2, 2)]) }
        180000 End(Ending { status: Succeeded, failure: None, roll_back: false, rollback_refused: None })
    "#]]);
}

#[test]
fn the_last_rung_bakes_before_the_deployment_has_succeeded() {
    let mut story = climbing("100%@1m", 1, None);
    story.seen(0, Sighting::Succeeded);
    assert_eq!(story.deployment.status(), Status::InProgress);
    story.wait(60_000);
    assert_eq!(story.deployment.status(), Status::Succeeded);
}

#[test]
fn people_pause_resume_skip_a_bake_and_promote() {
    let wish = |version, paused, promoted, baked_below| {
        Fact::Steered(Steering { version, paused, promoted, baked_below, ..Steering::default() })
    };
    let started = |story: &Story| 8 - story.deployment.hosts().fleet().untouched();
    let mut story = climbing("1 host@1h,2 hosts@1h,4 hosts@1h,100%", 8, None);
    story.fact(wish(1, true, false, 0));
    story.seen(0, Sighting::Succeeded);
    story.fact(wish(2, true, false, 1));
    assert_eq!(started(&story), 1, "a skipped bake does not end a pause");
    story.fact(wish(3, false, false, 1));
    assert_eq!(started(&story), 2);
    story.fact(wish(2, true, false, 1));
    story.seen(1, Sighting::Succeeded);
    assert_eq!(started(&story), 2, "a wish that comes late changes nothing");
    story.fact(wish(4, false, true, 1));
    assert_eq!(started(&story), 8);
}

#[test]
fn a_pause_stops_a_bake_and_the_time_of_the_whole() {
    let wish = |version, paused| Fact::Steered(Steering { version, paused, ..Steering::default() });
    let started = |story: &Story| 3 - story.deployment.hosts().fleet().untouched();
    let mut order = order(Minimum::FleetPercent(0), false);
    order.ladder = "1 host@10m,100%".parse().unwrap();
    let mut story = Story::begun(order, 3, 0);
    story.seen(0, Sighting::Succeeded);
    story.wait(4 * 60_000);
    story.fact(wish(1, true));
    assert_eq!(story.deployment.bakes_until(), None, "nobody knows");
    // For longer than a deployment may take.
    for _ in 0..10 {
        story.wait(3_600_000);
        assert_eq!(started(&story), 1);
    }
    story.fact(wish(2, false));
    assert_eq!((started(&story), story.deployment.status()), (1, Status::InProgress));
    assert_eq!(story.deployment.bakes_until(), Some(story.now.plus_ms(6 * 60_000)));
    assert_eq!(story.deployment.paused_ms(story.now), 10 * 3_600_000);
    story.wait(6 * 60_000 - 1);
    assert_eq!(started(&story), 1);
    // Once more, for a moment, and then to the end.
    story.fact(wish(3, true));
    story.wait(1_000);
    story.fact(wish(4, false));
    assert_eq!(started(&story), 1);
    story.wait(1);
    assert_eq!(started(&story), 3);
    for ordinal in [1, 2] {
        story.seen(ordinal, Sighting::Claimed { heard_at: story.now, waits_in: None });
    }
    // The ten minutes of the bake count, and the pauses do not.
    story.wait(8 * 3_600_000 - 10 * 60_000 - 1);
    assert!(story.deployment.may_proceed(1, story.now).is_ok());
    story.wait(1);
    assert!(story.deployment.may_proceed(1, story.now).is_err());
}

#[test]
fn nothing_is_started_before_the_alarms_were_read_and_a_firing_one_stops_it_at_once() {
    let mut story = climbing("1 host@1m,100%", 2, watched());
    assert_eq!(story.deployment.hosts().fleet().untouched(), 2);
    story.fact(firing());
    let ended = story.deployment.ended().unwrap();
    assert_eq!(ended.ending.status, Status::Stopped);
    assert_eq!(ended.ending.failure.as_ref().unwrap().code, FailureCode::AlarmActive);
    assert!(!ended.ending.roll_back, "no host was touched");
}

#[test]
fn an_alarm_takes_the_traffic_back_before_anything_else_and_rolls_back() {
    let mut story = climbing("1 host@1m,100%", 2, watched());
    story.fact(quiet());
    story.seen(0, Sighting::Succeeded);
    story.wait(200);
    story.fact(firing());
    story.wait(999);
    story.wait(1);
    assert!(story.deployment.ended().is_none(), "the balancer has not said that it is done");
    story.fact(Fact::Withdrawn { kept: 0 });
    let ended = story.deployment.ended().unwrap();
    assert!(ended.ending.roll_back);
    assert!(story.deployment.withdrawn_at().is_some());
    story.tells(expect![[r#"
        0 ReadAlarms
        0 PinRevision
        0 EnrolHosts
        0 Dispatch { batch: 0, attempt: 1, hosts: Ordinals([(0, 1)]) }
        200 ReadAlarms
        200 Withdraw
        1200 End(Ending { status: Stopped, failure: Some(Failure { code: AlarmActive, message: "One or more alarms have been activated according to the metrics you selected, and the affected deployments have been stopped. Activated alarms: home:web error_rate>5%" }), roll_back: true, rollback_refused: None })
    "#]]);
}

/// A deployment of ten hosts that keeps half of them healthy and has seven of them done; the others have the old version.
fn seven_of_ten() -> Story {
    let mut order = order(Minimum::FleetPercent(50), true);
    order.ladder = "7 hosts@1h,100%".parse().unwrap();
    order.watch = watched();
    order.traffic = Some(Traffic { groups: vec!["home:web".into()] });
    order.auto_rollback.on_alarm = true;
    let mut story = Story::begun(order, 10, 0);
    story.fact(quiet());
    for ordinal in 0..7 {
        story.seen(ordinal, Sighting::Succeeded);
    }
    story
}

fn ordinals(ordinals: impl IntoIterator<Item = u32>) -> Ordinals {
    ordinals.into_iter().collect()
}

#[test]
fn a_withdrawal_leaves_as_many_hosts_in_service_as_the_rule_demands() {
    let mut story = seven_of_ten();
    story.fact(firing());
    let none = Ordinals::default();
    let to_withdraw = |serving: Ordinals| story.deployment.to_withdraw(&serving, &none);
    assert_eq!(to_withdraw(ordinals(0..10)), ordinals(0..5), "five of ten stay");
    assert_eq!(to_withdraw(ordinals(2..10)), ordinals(2..5), "the same ones, whoever has left");
    assert_eq!(to_withdraw(ordinals(5..10)), none, "and then no more");
    assert_eq!(to_withdraw(ordinals(6..10)), none, "nor where too few are left already");
    assert_eq!(to_withdraw(ordinals(0..7)), none, "nobody with the old version could take it");
    let starting = story.deployment.to_withdraw(&ordinals(5..10), &ordinals([0, 8]));
    assert_eq!(starting, ordinals([0]), "one that has no traffic yet gets none");
    story.fact(Fact::Withdrawn { kept: 2 });
    assert_eq!(story.deployment.kept_traffic(), Some(2));
    let ended = story.deployment.ended().unwrap();
    let message = &ended.ending.failure.as_ref().unwrap().message;
    assert!(ended.ending.roll_back && message.contains("2 of the hosts"), "{message}");
}

#[test]
fn nobody_relies_on_hosts_that_are_worked_on_when_others_are_withdrawn() {
    let mut order = order(Minimum::FleetPercent(50), true);
    order.watch = watched();
    order.traffic = Some(Traffic { groups: vec!["home:web".into()] });
    order.auto_rollback.on_alarm = true;
    let mut story = Story::begun(order, 10, 0);
    story.fact(quiet());
    story.seen(0, Sighting::Succeeded);
    story.fact(firing());
    // One is done, five are worked on, and four have the old version.
    let none = Ordinals::default();
    let withdrawn = story.deployment.to_withdraw(&ordinals(0..10), &none);
    assert_eq!(withdrawn, ordinals(1..6), "0 and 6 to 9 are the five that are relied on");
    let withdrawn = story.deployment.to_withdraw(&ordinals(0..9), &none);
    assert_eq!(withdrawn, none, "there are too few of them");
}

#[test]
fn alarms_that_cannot_be_read_roll_back_and_take_no_host_out_of_service() {
    let mut story = seven_of_ten();
    for _ in 0..3 {
        story.wait(200);
        story.fact(Fact::AlarmsRead {
            firing: Vec::new(),
            unreadable: Some("no answer".into()),
            notes: BTreeMap::new(),
        });
    }
    let ended = story.deployment.ended().unwrap();
    assert_eq!(ended.ending.status, Status::Stopped);
    assert!(ended.ending.roll_back);
    assert!(!story.told.contains("Withdraw"), "{}", story.told);
    assert_eq!(story.deployment.withdrawn_at(), None);
}

#[test]
fn a_rollback_starts_all_hosts_that_are_out_of_traffic_together() {
    let story = seven_of_ten();
    let id = "d-CCCCCCCCC".parse().unwrap();
    let rollback = story.deployment.rollback(id, 6, story.now).unwrap();
    let order =
        Order { rule: Rule { minimum: Minimum::OneAtATime, predefined: true }, ..rollback.order };
    let mut story = Story::new(order);
    story.fact(Fact::RevisionPinned(pin()));
    story.fact(Fact::RosterSealed { total: 10, unhealthy: 6, out: 5 });
    let in_flight = |story: &Story| story.deployment.hosts().fleet().in_flight;
    assert_eq!(in_flight(&story), 5, "{}", story.told);
    for ordinal in 0..4 {
        story.seen(ordinal, Sighting::Succeeded);
    }
    assert_eq!(in_flight(&story), 1, "the others go one at a time");
    story.seen(4, Sighting::Succeeded);
    assert_eq!(in_flight(&story), 1);
    for ordinal in 5..10 {
        story.seen(ordinal, Sighting::Succeeded);
    }
    assert_eq!(story.deployment.status(), Status::Succeeded);
}

#[test]
fn a_balancer_that_never_answers_does_not_keep_a_deployment_from_its_end() {
    let mut story = climbing("1 host@1m,100%", 2, watched());
    story.fact(quiet());
    story.seen(0, Sighting::Succeeded);
    story.fact(firing());
    for _ in 0..30 {
        assert!(story.deployment.ended().is_none());
        story.wait(1_001);
    }
    assert_eq!(story.deployment.status(), Status::Stopped);
}

#[test]
fn alarms_that_cannot_be_read_stop_a_deployment_at_the_third_time_unless_that_is_passed_over() {
    let unreadable = || Fact::AlarmsRead {
        firing: Vec::new(),
        unreadable: Some("no answer".into()),
        notes: BTreeMap::new(),
    };
    for ignores_unreadable in [false, true] {
        let watch = Watch { ignores_unreadable, ..watched().unwrap() };
        let mut story = climbing("1 host@1m,100%", 2, Some(watch));
        for _ in 0..2 {
            story.fact(unreadable());
            story.wait(200);
        }
        assert_eq!(story.deployment.alarm(), None);
        story.fact(unreadable());
        assert_eq!(story.deployment.alarm().is_none(), ignores_unreadable);
    }
}

#[test]
fn a_rollback_climbs_no_ladder_and_is_stopped_by_no_alarm() {
    let story = climbing("1 host@1m,100%", 2, watched());
    let id = "d-CCCCCCCCC".parse().unwrap();
    let rollback = story.deployment.rollback(id, 6, story.now).unwrap();
    assert!(rollback.order().ladder.is_empty());
    assert_eq!(rollback.order().watch, None);
    assert_eq!(rollback.order().traffic, story.deployment.order().traffic);
    assert_eq!(rollback.events(), Event::ALL);
}
