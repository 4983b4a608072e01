//! What hosts must know of their deployment, in a few bytes.

use super::*;

const HOUR_MS: u64 = 3_600_000;

fn wish(version: u64, paused: bool) -> Fact {
    Fact::Steered(Steering { version, paused, ..Steering::default() })
}

/// What hosts are told so many hours after the deployment was created.
fn told(gate: &Gate, hours: u64) -> Result<(), &'static str> {
    gate.may_proceed(order(Minimum::OneAtATime, true).created_at.plus_ms(hours * HOUR_MS))
}

const LATE: Result<(), &str> = Err("the deployment ran out of time");

#[test]
fn time_runs_out_later_by_as_long_as_the_deployment_is_paused() {
    let mut story = Story::running(Minimum::OneAtATime, 2);
    let gate = story.deployment.gate();
    assert_eq!((told(&gate, 7), told(&gate, 8)), (Ok(()), LATE));
    story.wait(HOUR_MS);
    story.fact(wish(1, true));
    let paused = story.deployment.gate();
    assert_eq!((told(&paused, 9), told(&paused, 1_000)), (Ok(()), Ok(())), "it stands still");
    story.wait(2 * HOUR_MS);
    story.fact(wish(2, false));
    let resumed = story.deployment.gate();
    assert_eq!((told(&resumed, 9), told(&resumed, 10)), (Ok(()), LATE));
}

#[test]
fn a_stop_is_believed_before_and_after_the_deployment_has_taken_note_of_it() {
    let mut story = Story::running(Minimum::OneAtATime, 2);
    let stopped = Err("the deployment was stopped");
    assert_eq!(told(&story.deployment.gate().with_stop(), 1), stopped);
    story.fact(Fact::StopRequested { at: story.now, roll_back: None });
    assert_eq!(told(&story.deployment.gate(), 1), stopped);
    assert_eq!(story.deployment.gate().with_stop(), story.deployment.gate());
    story.seen(0, Sighting::ShutOut);
    assert!(story.deployment.gate().has_ended());
    let ended = Err("the deployment has ended");
    assert_eq!(told(&story.deployment.gate().with_stop(), 1), ended);
}

#[test]
fn a_gate_is_small_however_many_hosts_there_are_and_whatever_happened() {
    let mut story = Story::running(Minimum::FleetPercent(0), 10_000);
    story.fact(wish(1, true));
    story.fact(Fact::StopRequested { at: story.now, roll_back: Some(true) });
    let stored = serde_json::to_string(&story.deployment.gate()).unwrap();
    assert!(stored.len() <= 200, "{stored}");
    assert_eq!(serde_json::from_str::<Gate>(&stored).unwrap(), story.deployment.gate());
}

#[test]
fn hosts_begin_nothing_and_get_no_traffic_after_an_alarm() {
    let mut story = Story::running(Minimum::OneAtATime, 2);
    story.deployment.order.watch =
        Some(Watch { alarms: vec!["errors".into()], ignores_unreadable: false, every_ms: 200 });
    story.step();
    let firing = vec!["errors".into()];
    story.fact(Fact::AlarmsRead { firing, unreadable: None, notes: BTreeMap::new() });
    let gate = story.deployment.gate();
    assert_eq!(gate.alarm(), Some(Fired::Alarm));
    assert_eq!(told(&gate, 1), Err("the deployment was stopped by an alarm"));
    assert_eq!(gate.with_stop().alarm(), Some(Fired::Alarm), "a stop hides no alarm");
}
