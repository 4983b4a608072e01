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
    Fact::AlarmsRead { firing: Vec::new(), unreadable: None }
}

fn firing() -> Fact {
    Fact::AlarmsRead { firing: vec!["home:web error_rate>5%".into()], unreadable: None }
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
        Fact::Wished(Wishes { version, paused, promoted, baked_below, ..Wishes::default() })
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
    story.fact(Fact::Withdrawn);
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
    let unreadable =
        || Fact::AlarmsRead { firing: Vec::new(), unreadable: Some("no answer".into()) };
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
