//! Services of ECS: tasks are brought up beside those that have the traffic, and one of the two sides is ended.

use expect_test::expect;

use super::shift::{alarm, moved, shift, shifting, watched};
use super::*;

fn service(hooks: &[Event], has_test: bool) -> Shift {
    let traits = CarrierTraits {
        tasks: true,
        test_traffic: has_test,
        hooks: Some(hooks.to_vec()),
        steps: true,
        ..CarrierTraits::default()
    };
    Shift { retires: true, ..shift(traits) }
}

fn set(side: u8, running: u32) -> TaskSet {
    let id = format!("ecs-svc/{side}");
    TaskSet { id, side, desired: 4, pending: 4 - running, running, is_steady: running == 4 }
}

fn ended_well(event: Event) -> Fact {
    Fact::HookEnded { event, failed: None }
}

/// One whose new tasks run, where the second target group is the new side.
fn up(order: Order) -> Story {
    let mut story = Story::new(order);
    story.step();
    story.fact(Fact::SidesFound { percent_of_second: 0 });
    if story.deployment.order().watch.is_some() {
        story.fact(alarm(false));
    }
    story.fact(Fact::TasksSeen(vec![set(0, 4), set(1, 4)]));
    story
}

fn ending(story: &Story) -> Ending {
    story.deployment.ended().unwrap().ending.clone()
}

#[test]
fn a_service_goes_through_all_its_events_and_its_old_tasks_are_ended_last() {
    let hooks = [
        Event::BeforeInstall,
        Event::AfterInstall,
        Event::AfterAllowTestTraffic,
        Event::BeforeAllowTraffic,
        Event::AfterAllowTraffic,
    ];
    let mut set_up = service(&hooks, true);
    set_up.keep_ms = 60_000;
    let mut story = Story::new(shifting("10%@1m,100%", set_up, None));
    story.step();
    story.fact(Fact::SidesFound { percent_of_second: 0 });
    story.fact(ended_well(Event::BeforeInstall));
    story.fact(Fact::TasksSeen(vec![set(0, 4), set(1, 1)]));
    story.wait(5_000);
    story.fact(Fact::TasksSeen(vec![set(0, 4), set(1, 4)]));
    story.fact(ended_well(Event::AfterInstall));
    story.fact(Fact::TestTrafficMoved);
    story.fact(ended_well(Event::AfterAllowTestTraffic));
    story.fact(ended_well(Event::BeforeAllowTraffic));
    moved(&mut story, 10);
    story.wait(60_000);
    moved(&mut story, 100);
    story.fact(ended_well(Event::AfterAllowTraffic));
    assert_eq!(story.deployment.stage(), Some(Stage::Keep));
    story.wait(60_000);
    story.fact(Fact::Retired { side: Side::Old });
    story.tells(expect![[r#"
        0 FindSides
        0 RunHook { event: BeforeInstall }
        0 BringUp
        5000 BringUp
        5000 RunHook { event: AfterInstall }
        5000 MoveTestTraffic
        5000 RunHook { event: AfterAllowTestTraffic }
        5000 RunHook { event: BeforeAllowTraffic }
        5000 MoveTraffic { percent: 10 }
        65000 MoveTraffic { percent: 100 }
        65000 RunHook { event: AfterAllowTraffic }
        125000 Retire { side: Old }
        125000 End(Ending { status: Succeeded, failure: None, roll_back: false, rollback_refused: None })
    "#]]);
    let left: Vec<u8> = story.deployment.task_sets().iter().map(|set| set.side).collect();
    assert_eq!(left, [1]);
}

#[test]
fn without_hooks_and_test_listener_only_tasks_and_traffic_are_moved() {
    let mut story = up(shifting("", service(&[Event::AfterAllowTestTraffic], false), None));
    moved(&mut story, 100);
    story.fact(Fact::Retired { side: Side::Old });
    story.tells(expect![[r#"
        0 FindSides
        0 BringUp
        0 MoveTraffic { percent: 100 }
        0 Retire { side: Old }
        0 End(Ending { status: Succeeded, failure: None, roll_back: false, rollback_refused: None })
    "#]]);
}

#[test]
fn an_alarm_takes_the_traffic_back_and_then_the_new_tasks_away() {
    let mut story = up(shifting("10%@5m,100%", service(&[], false), watched()));
    moved(&mut story, 10);
    story.fact(alarm(true));
    assert!(!story.deployment.wants(&Request::Retire { side: Side::New }), "it has traffic");
    moved(&mut story, 0);
    assert!(story.deployment.wants(&Request::Retire { side: Side::New }));
    assert!(story.deployment.ended().is_none());
    story.fact(Fact::Retired { side: Side::New });
    assert_eq!(ending(&story).status, Status::Stopped);
    assert_eq!(story.deployment.task_sets(), [set(0, 4)]);
}

#[test]
fn tasks_that_do_not_run_are_taken_away_and_no_traffic_has_moved() {
    for why in [Some("stopped three times"), None] {
        let mut story = Story::new(shifting("", service(&[], true), None));
        story.step();
        story.fact(Fact::SidesFound { percent_of_second: 100 });
        story.fact(Fact::TasksSeen(vec![set(1, 4), set(0, 2)]));
        match why {
            Some(why) => {
                let why = Failure { code: FailureCode::TasksFailed, message: why.to_owned() };
                story.fact(Fact::ShiftRefused { request: Request::BringUp, why });
            }
            None => story.wait(TASKS_MS),
        }
        assert!(!story.deployment.wants(&Request::BringUp), "nothing new is made");
        story.fact(Fact::Retired { side: Side::New });
        let ending = ending(&story);
        assert_eq!(ending.failure.unwrap().code, FailureCode::TasksFailed);
        assert!(!story.told.contains("MoveTraffic"), "{}", story.told);
        assert_eq!(story.deployment.task_sets(), [set(1, 4)]);
    }
}

#[test]
fn without_a_rollback_new_tasks_that_have_traffic_stay() {
    let mut order = shifting("10%@5m,100%", service(&[], false), watched());
    order.auto_rollback.on_alarm = false;
    let mut story = up(order);
    moved(&mut story, 10);
    story.fact(alarm(true));
    assert!(ending(&story).rollback_refused.unwrap().contains("10%"));
    assert!(!story.told.contains("Retire"), "{}", story.told);
}

#[test]
fn nothing_takes_the_traffic_back_to_what_is_being_ended() {
    let mut story = up(shifting("", service(&[], false), watched()));
    moved(&mut story, 100);
    assert_eq!(story.deployment.stage(), Some(Stage::Retire));
    story.fact(alarm(true));
    assert!(story.deployment.ended().is_none(), "half of it may be gone");
    assert!(story.deployment.wants(&Request::Retire { side: Side::Old }));
    story.fact(Fact::Retired { side: Side::Old });
    let ending = ending(&story);
    assert_eq!(ending.status, Status::Stopped);
    assert!(ending.rollback_refused.unwrap().contains("stays with the new version"));
    assert!(!story.told.contains("percent: 0"), "{}", story.told);
}

#[test]
fn a_side_that_cannot_be_ended_does_not_hold_the_end_for_ever() {
    let mut story = up(shifting("", service(&[], false), None));
    moved(&mut story, 100);
    for _ in 0..40 {
        story.wait(10_000);
    }
    let failure = ending(&story).failure.unwrap();
    assert_eq!(failure.code, FailureCode::TasksFailed);
    assert!(failure.message.contains("has all of the traffic"), "{}", failure.message);
}

#[test]
fn a_way_back_moves_the_traffic_and_ends_what_had_it_without_new_tasks() {
    let set_up = Shift { back_to: Some(0), ..service(&[], true) };
    let mut story = Story::new(shifting("", set_up, None));
    story.step();
    story.fact(Fact::SidesFound { percent_of_second: 10 });
    moved(&mut story, 100);
    story.fact(Fact::Retired { side: Side::Old });
    story.tells(expect![[r#"
        0 FindSides
        0 MoveTraffic { percent: 100 }
        0 Retire { side: Old }
        0 End(Ending { status: Succeeded, failure: None, roll_back: false, rollback_refused: None })
    "#]]);
}

#[test]
fn nothing_is_made_while_what_was_made_is_ended_because_the_time_is_up() {
    let mut order = shifting("", service(&[], false), None);
    order.total_ms = 60_000;
    let mut story = Story::new(order);
    story.step();
    story.fact(Fact::SidesFound { percent_of_second: 0 });
    story.fact(Fact::TasksSeen(vec![set(0, 4), set(1, 1)]));
    assert!(story.deployment.wants(&Request::BringUp));
    story.wait(60_000);
    assert!(story.deployment.wants(&Request::Retire { side: Side::New }));
    assert!(!story.deployment.wants(&Request::BringUp), "a late one would make them again");
    story.fact(Fact::Retired { side: Side::New });
    assert_eq!(ending(&story).failure.unwrap().code, FailureCode::Timeout);
}

#[test]
fn what_is_done_is_not_asked_for_again_while_it_is_paused() {
    let mut story = Story::new(shifting("", service(&[], true), None));
    story.step();
    story.fact(Fact::SidesFound { percent_of_second: 0 });
    let wish = |version, paused| Fact::Steered(Steering { version, paused, ..Steering::default() });
    story.fact(wish(1, true));
    story.fact(Fact::TasksSeen(vec![set(0, 4), set(1, 4)]));
    story.wait(60_000);
    story.fact(wish(2, false));
    story.fact(wish(3, true));
    story.fact(Fact::TestTrafficMoved);
    story.wait(60_000);
    story.tells(expect![[r#"
        0 FindSides
        0 BringUp
        60000 MoveTestTraffic
    "#]]);
}
