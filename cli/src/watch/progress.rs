//! How far a deployment is on its ladder or among its zones, what watches it, and what a person can do about it: pure functions from the API's
//! answer to lines, for `status` and `watch` alike.

use engine::Timestamp;
use engine::ladder::{Rung, Share};
use wire::codedeploy::{DeploymentInfo, DeploymentStatus, ErrorName};
use wire::cutover::{GetProgressOutput, ShiftStage};

use super::mark::Mark;
use crate::client::CallError;
use crate::output::{clock, format_time, one_line, span};

/// A line about the progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// What it is about, in a word.
    pub(crate) name: &'static str,
    /// What it says at a glance.
    pub(crate) mark: Mark,
    /// What it says.
    pub(crate) text: String,
    /// When it happened, if that is known.
    pub(crate) at: Option<Timestamp>,
}

impl Line {
    fn new(name: &'static str, mark: Mark, text: impl Into<String>) -> Self {
        Self { name, mark, text: text.into(), at: None }
    }

    /// The line by itself, without a column for its name.
    pub(crate) fn whole(&self) -> String {
        match self.name {
            "next" => self.text.clone(),
            name @ ("paused" | "promoted") => format!("{name}: {}", self.text),
            name => format!("{name} {}", self.text),
        }
    }
}

/// Whose progress it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Of<'a> {
    /// The deployment.
    pub(crate) id: &'a str,
    /// Whether nothing more will happen to it.
    pub(crate) has_ended: bool,
    /// Whether it succeeded.
    pub(crate) succeeded: bool,
    /// Whether it is rolled back.
    pub(crate) is_rolled_back: bool,
    /// Whether it rolls another one back.
    pub(crate) goes_back: bool,
}

/// Whose progress goes with what is known of a deployment.
pub(crate) fn of(info: &DeploymentInfo) -> Of<'_> {
    let rollback = info.rollback_info.as_ref();
    Of {
        id: info.deployment_id.as_deref().unwrap_or("?"),
        has_ended: info.status.is_some_and(has_ended),
        succeeded: info.status == Some(DeploymentStatus::Succeeded),
        is_rolled_back: rollback.is_some_and(|info| info.rollback_deployment_id.is_some()),
        goes_back: rollback.is_some_and(|info| info.rollback_triggering_deployment_id.is_some()),
    }
}

/// Whether a deployment in this status has ended.
fn has_ended(status: DeploymentStatus) -> bool {
    match status {
        DeploymentStatus::Succeeded | DeploymentStatus::Failed | DeploymentStatus::Stopped => true,
        DeploymentStatus::Created
        | DeploymentStatus::Queued
        | DeploymentStatus::InProgress
        | DeploymentStatus::Baking
        | DeploymentStatus::Ready => false,
    }
}

/// An answer about progress; none of a service that does not tell it, or not to this user, as CodeDeploy itself.
pub(crate) fn known(
    answer: Result<GetProgressOutput, CallError>,
) -> Result<Option<GetProgressOutput>, CallError> {
    match answer {
        Ok(progress) => Ok(Some(progress)),
        Err(error)
            if error.is(ErrorName::UnknownOperation) || error.is(ErrorName::AccessDenied) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// How it stands at `now`.
pub(crate) fn lines(progress: &GetProgressOutput, of: Of<'_>, now: Timestamp) -> Vec<Line> {
    let mut lines = Vec::new();
    lines.extend(traffic(progress, of));
    lines.extend(step(progress, of, Some(now)));
    lines.extend(zone(progress, of, Some(now)));
    if !of.has_ended {
        lines.extend(person(progress));
        lines.extend(watching(progress));
    }
    lines.extend(fired(progress));
    lines.extend(next(progress, of));
    lines
}

/// What does not change with time alone, so that a line of it is news.
pub(crate) fn news(progress: &GetProgressOutput, of: Of<'_>) -> Vec<Line> {
    let mut lines: Vec<Line> = traffic(progress, of).into_iter().collect();
    lines.extend(step(progress, of, None));
    lines.extend(zone(progress, of, None));
    if !of.has_ended {
        lines.extend(person(progress));
    }
    lines.extend(fired(progress));
    lines
}

/// Whether there is anything that could change: a ladder, zones or an alarm.
pub(crate) fn is_worth_asking(progress: &GetProgressOutput) -> bool {
    let has = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let has_way = has(&progress.steps) || progress.zones.is_some() || progress.stage.is_some();
    has_way || has(&progress.alarms)
}

/// The step or the zone that a deployment is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// How many were done before it.
    pub(crate) number: u32,
    /// How many hosts were done before it, where that is known.
    pub(crate) hosts_before: Option<usize>,
    /// Whether it bakes.
    pub(crate) bakes: bool,
    /// Since when, where that is known.
    pub(crate) baking_since: Option<Timestamp>,
}

/// The step or the zone that a deployment of so many hosts is at. When it began is not told, and follows from what is.
pub(crate) fn place(progress: &GetProgressOutput, hosts: u64) -> Option<Place> {
    let until = progress.baking_until.map(Timestamp::from);
    if progress.zones.is_some() {
        let number = progress.zones_done.unwrap_or_default();
        let bakes = until.is_some();
        return Some(Place { number, hosts_before: None, bakes, baking_since: None });
    }
    let steps = progress.steps.as_deref().filter(|steps| !steps.is_empty())?;
    let number = progress.steps_done.unwrap_or_default();
    let at = usize::try_from(number).ok()?;
    let rung = |at: usize| steps.get(at)?.parse::<Rung>().ok();
    let total = u32::try_from(hosts).unwrap_or(u32::MAX);
    let before = match at.checked_sub(1) {
        None => Some(0),
        Some(below) => rung(below).map(|rung| rung.share.of_hosts(total)),
    };
    // Where the traffic moves all together, steps are no steps of hosts.
    let before = before.filter(|_| progress.stage.is_none());
    Some(Place {
        number,
        hosts_before: before.and_then(|before| usize::try_from(before).ok()),
        bakes: until.is_some(),
        baking_since: until
            .zip(rung(at))
            .map(|(until, rung)| Timestamp(until.0.saturating_sub(rung.bake_ms))),
    })
}

/// Where the traffic is, and what is waited for before it moves on.
fn traffic(progress: &GetProgressOutput, of: Of<'_>) -> Option<Line> {
    let percent = progress.traffic_percent.unwrap_or_default();
    let share = share_of_sides(progress, of, percent);
    let until = progress.waits_until.map(Timestamp::from);
    let until = until.map(|at| format!(" until {}", clock(at))).unwrap_or_default();
    let text = match progress.stage? {
        _ if of.has_ended => share,
        ShiftStage::Install => format!("{share}; the new version is installed{}", tasks(progress)),
        ShiftStage::Ready => format!("{share}; the new version is ready and waits for you{until}"),
        ShiftStage::BeforeInstall
        | ShiftStage::AfterInstall
        | ShiftStage::AfterAllowTestTraffic
        | ShiftStage::BeforeAllowTraffic
        | ShiftStage::AfterAllowTraffic => format!("{share}; hooks run"),
        ShiftStage::AllowTestTraffic => format!("{share}; the test traffic moves"),
        ShiftStage::AllowTraffic | ShiftStage::Done => share,
        ShiftStage::TerminationWait => format!("{share}; the old version is kept{until}"),
        ShiftStage::Termination => format!("{share}; the old version is being removed"),
    };
    let mark = if of.has_ended && !of.succeeded && percent > 0 { Mark::Bad } else { Mark::Working };
    Some(Line::new("traffic", mark, text))
}

/// Which side has how much of the traffic. Where it only goes back, the new side is the one that had it before.
fn share_of_sides(progress: &GetProgressOutput, of: Of<'_>, percent: u32) -> String {
    let side = |name: &Option<String>, version: &str| match (name, of.goes_back) {
        (Some(name), true) => one_line(name),
        (Some(name), false) => format!("{} (the {version} version)", one_line(name)),
        (None, true) if version == "new" => "what had it before".to_owned(),
        (None, true) => "what is taken back".to_owned(),
        (None, false) => format!("the {version} version"),
    };
    let (new, old) = (side(&progress.new_side, "new"), side(&progress.old_side, "old"));
    match percent {
        0 => format!("is all on {old}"),
        100 => format!("is all on {new}"),
        _ => format!("{percent}% is on {new}, the rest on {old}"),
    }
}

/// How many of its tasks run, where it is of an ECS service.
fn tasks(progress: &GetProgressOutput) -> String {
    match (progress.running_tasks, progress.desired_tasks) {
        (Some(running), Some(desired)) => format!(": {running} of {desired} tasks run"),
        (_, _) => String::new(),
    }
}

fn step(progress: &GetProgressOutput, of: Of<'_>, now: Option<Timestamp>) -> Option<Line> {
    let steps = progress.steps.as_deref().filter(|steps| !steps.is_empty())?;
    let done = usize::try_from(progress.steps_done.unwrap_or_default()).unwrap_or(usize::MAX);
    let total = steps.len();
    let Some(rung) = steps.get(done) else {
        return Some(Line::new("step", Mark::Good, format!("{total} of {total} is done")));
    };
    let what = if progress.stage.is_some() { "of the traffic" } else { "of hosts" };
    let place = format!("{} of {total}: {}", done + 1, share(rung, what));
    at_place("step", place, progress, of, now)
}

/// The zone that is deployed to, or that bakes.
fn zone(progress: &GetProgressOutput, of: Of<'_>, now: Option<Timestamp>) -> Option<Line> {
    let zones = progress.zones.as_deref().filter(|zones| !zones.is_empty())?;
    let done = usize::try_from(progress.zones_done.unwrap_or_default()).unwrap_or(usize::MAX);
    let total = zones.len();
    let Some(name) = zones.get(done) else {
        return Some(Line::new("zone", Mark::Good, format!("{total} of {total} is done")));
    };
    let name = if name.is_empty() { "hosts without a zone".to_owned() } else { one_line(name) };
    at_place("zone", format!("{} of {total}: {name}", done + 1), progress, of, now)
}

/// A step or a zone that is not done yet.
fn at_place(
    what: &'static str,
    place: String,
    progress: &GetProgressOutput,
    of: Of<'_>,
    now: Option<Timestamp>,
) -> Option<Line> {
    if of.has_ended {
        // One that succeeded without having climbed was promoted.
        return (!of.succeeded)
            .then(|| Line::new(what, Mark::Bad, format!("{place}; ended there")));
    }
    if progress.promoted == Some(true) {
        return Some(Line::new(what, Mark::Working, place));
    }
    let bakes = progress.baking_until.map(|until| bakes(until.into(), now)).unwrap_or_default();
    Some(Line::new(what, Mark::Working, format!("{place}{bakes}")))
}

/// `10% of hosts` of a step that is written `10%@5m`.
fn share(rung: &str, what: &str) -> String {
    match rung.parse::<Rung>() {
        Ok(Rung { share: share @ Share::Percent(_), .. }) => format!("{share} {what}"),
        Ok(Rung { share: share @ Share::Hosts(_), .. }) => share.to_string(),
        Err(_) => one_line(rung),
    }
}

fn bakes(until: Timestamp, now: Option<Timestamp>) -> String {
    let clock = format_time(until, "%H:%M:%SZ");
    match now.map(|now| until.since_ms(now)) {
        None => format!(", bakes until {clock}"),
        Some(0) => format!(", baked until {clock}"),
        // Tenths of a second would only flicker.
        Some(left) => {
            let left =
                if left < 60_000 { format!("{} s", left.div_ceil(1_000)) } else { span(left) };
            format!(", bakes until {clock} ({left} left)")
        }
    }
}

fn person(progress: &GetProgressOutput) -> Vec<Line> {
    let mut lines = Vec::new();
    if progress.promoted == Some(true) {
        let text = match progress.zones {
            Some(_) => "zones no longer bake",
            None => "the remaining steps do not hold it back",
        };
        lines.push(Line::new("promoted", Mark::Working, text));
    }
    if progress.paused == Some(true) {
        lines.push(Line::new("paused", Mark::Waiting, "nothing new starts"));
    }
    lines
}

/// The alarms that watch it, as long as none fired.
fn watching(progress: &GetProgressOutput) -> Vec<Line> {
    if progress.alarm_time.is_some() {
        return Vec::new();
    }
    let line = |alarm: &String| Line::new("watched by", Mark::Waiting, noted(progress, alarm));
    progress.alarms.iter().flatten().map(line).collect()
}

/// An alarm with what it was read as, if it says so.
fn noted(progress: &GetProgressOutput, alarm: &str) -> String {
    let mut notes = progress.alarm_notes.iter().flatten();
    let note = notes.find(|note| note.alarm.as_deref() == Some(alarm));
    let note = note.and_then(|note| note.note.as_deref());
    let note = note.map(|note| format!(" ({})", one_line(note))).unwrap_or_default();
    format!("{}{note}", one_line(alarm))
}

/// The alarm that stopped it, and since when its hosts have no traffic.
pub(crate) fn fired(progress: &GetProgressOutput) -> Vec<Line> {
    let Some(at) = progress.alarm_time.map(Timestamp::from) else { return Vec::new() };
    let names: Vec<String> =
        progress.activated_alarms.iter().flatten().map(|name| noted(progress, name)).collect();
    let what = match (&progress.alarms_unreadable, names.as_slice()) {
        (Some(why), _) => format!("cannot be read: {}", one_line(why)),
        (None, names) => names.join(", "),
    };
    let text = format!("{what}, since {}", clock(at));
    let mut lines = vec![Line { at: Some(at), ..Line::new("alarm", Mark::Bad, text) }];
    if let Some(back) = progress.traffic_back_time.map(Timestamp::from) {
        let kept = match progress.traffic_kept_hosts {
            None | Some(0) => String::new(),
            Some(kept) => {
                format!("; {kept} hosts kept it, because too few others would have had any")
            }
        };
        let text = format!(
            "was taken off the new version at {}, {} after the alarm{kept}",
            clock(back),
            span(back.since_ms(at))
        );
        lines.push(Line { at: Some(back), ..Line::new("traffic", Mark::Bad, text) });
    }
    lines
}

/// What a person can do.
fn next(progress: &GetProgressOutput, of: Of<'_>) -> Option<Line> {
    let id = of.id;
    let has_alarm = progress.alarm_time.is_some();
    let text = if of.has_ended {
        let is_back = progress.stage.is_some() && progress.traffic_percent == Some(0);
        (has_alarm && !of.is_rolled_back && !is_back).then(|| {
            format!("`cutover rollback {id}` rolls back the hosts that run the new version")
        })?
    } else if has_alarm {
        return None;
    } else if progress.stage == Some(ShiftStage::Ready) {
        format!(
            "`cutover continue {id}` moves the traffic, `cutover abort {id}` leaves it where it is"
        )
    } else if progress.paused == Some(true) {
        format!("`cutover resume {id}` resumes it, `cutover abort {id}` rolls back")
    } else if progress.promoted != Some(true) && progress.baking_until.is_some() {
        format!(
            "`cutover skip-bake {id}` ends the bake; `pause`, `promote` and `abort` steer it too"
        )
    } else {
        return None;
    };
    Some(Line::new("next", Mark::Waiting, text))
}

#[cfg(test)]
mod tests {
    use wire::cutover::AlarmNote;

    use super::*;

    const ID: Of<'static> = Of {
        id: "d-A1B2C3D4E",
        has_ended: false,
        succeeded: false,
        is_rolled_back: false,
        goes_back: false,
    };
    /// 12:00:00 on some day.
    const NOON: Timestamp = Timestamp(1_795_435_200_000);

    fn texts(text: &str) -> Option<Vec<String>> {
        Some(vec![text.to_owned()])
    }

    fn ladder(done: u32) -> GetProgressOutput {
        let steps = ["1 host@1m", "10%@5m", "100%"].map(str::to_owned);
        GetProgressOutput {
            steps: Some(steps.into()),
            steps_done: Some(done),
            ..GetProgressOutput::default()
        }
    }

    fn check(progress: &GetProgressOutput, of: Of<'_>, expected: &[&str]) {
        let found: Vec<String> = lines(progress, of, NOON).iter().map(Line::whole).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_step_is_told_with_how_long_it_bakes_and_what_can_be_done() {
        check(&ladder(0), ID, &["step 1 of 3: 1 host"]);
        let until = |ms| Some(NOON.plus_ms(ms).into());
        let baking = GetProgressOutput { baking_until: until(190_000), ..ladder(1) };
        let skip = "`cutover skip-bake d-A1B2C3D4E` ends the bake; `pause`, `promote` and `abort` steer it too";
        let step = "step 2 of 3: 10% of hosts, bakes until 12:03:10Z (3 min 10 s left)";
        check(&baking, ID, &[step, skip]);
        let news: Vec<String> = news(&baking, ID).iter().map(Line::whole).collect();
        assert_eq!(news, ["step 2 of 3: 10% of hosts, bakes until 12:03:10Z"]);
        let paused = GetProgressOutput { paused: Some(true), baking_until: until(1), ..ladder(2) };
        let resume =
            "`cutover resume d-A1B2C3D4E` resumes it, `cutover abort d-A1B2C3D4E` rolls back";
        let step = "step 3 of 3: 100% of hosts, bakes until 12:00:00Z (1 s left)";
        check(&paused, ID, &[step, "paused: nothing new starts", resume]);
        let promoted = GetProgressOutput { promoted: Some(true), ..baking };
        check(
            &promoted,
            ID,
            &["step 2 of 3: 10% of hosts", "promoted: the remaining steps do not hold it back"],
        );
        check(&ladder(3), ID, &["step 3 of 3 is done"]);
        check(&GetProgressOutput::default(), ID, &[]);
    }

    #[test]
    fn a_zone_is_told_with_how_long_it_bakes_and_where_it_ended() {
        let zones = |done| GetProgressOutput {
            zones: Some(["eu-1a", "eu-1b", ""].map(str::to_owned).into()),
            zones_done: Some(done),
            steps: Some(Vec::new()),
            ..GetProgressOutput::default()
        };
        check(&zones(0), ID, &["zone 1 of 3: eu-1a"]);
        let until = Some(NOON.plus_ms(60_000).into());
        let baking = GetProgressOutput { baking_until: until, ..zones(1) };
        let skip = "`cutover skip-bake d-A1B2C3D4E` ends the bake; `pause`, `promote` and `abort` steer it too";
        check(&baking, ID, &["zone 2 of 3: eu-1b, bakes until 12:01:00Z (1 min 00 s left)", skip]);
        let promoted = GetProgressOutput { promoted: Some(true), ..baking };
        let text = "promoted: zones no longer bake";
        check(&promoted, ID, &["zone 2 of 3: eu-1b", text]);
        let ended = Of { has_ended: true, ..ID };
        check(&zones(2), ended, &["zone 3 of 3: hosts without a zone; ended there"]);
        check(&zones(3), Of { succeeded: true, ..ended }, &["zone 3 of 3 is done"]);
        let unknown = GetProgressOutput { zones: Some(Vec::new()), ..zones(0) };
        check(&unknown, ID, &[]);
        assert!(is_worth_asking(&unknown), "its zones are not known yet");
    }

    #[test]
    fn the_side_that_has_the_traffic_is_named_while_it_moves_and_after_it_went_back() {
        let shift = |percent| GetProgressOutput {
            stage: Some(ShiftStage::AllowTraffic),
            traffic_percent: Some(percent),
            new_side: Some("home:two".into()),
            old_side: Some("home:one".into()),
            ..GetProgressOutput::default()
        };
        let ended = Of { has_ended: true, ..ID };
        check(
            &shift(5),
            ID,
            &[
                "traffic 5% is on home:two (the new version), the rest on home:one (the old version)",
            ],
        );
        check(&shift(100), ended, &["traffic is all on home:two (the new version)"]);
        check(&shift(0), ended, &["traffic is all on home:one (the old version)"]);
        // A rollback by hand: its new side is the one that had the traffic before.
        let back = Of { goes_back: true, ..ended };
        check(&shift(100), back, &["traffic is all on home:two"]);
        let unnamed = GetProgressOutput { new_side: None, old_side: None, ..shift(0) };
        check(&unnamed, ended, &["traffic is all on the old version"]);
    }

    #[test]
    fn an_alarm_is_told_while_it_watches_and_when_it_fired() {
        let alarm = "home:web error_rate>5%";
        let note = AlarmNote { alarm: Some(alarm.into()), note: Some("about 90 more".into()) };
        let mut progress = GetProgressOutput {
            alarms: texts(alarm),
            alarm_notes: Some(vec![note]),
            ..GetProgressOutput::default()
        };
        check(&progress, ID, &["watched by home:web error_rate>5% (about 90 more)"]);
        progress.alarm_time = Some(NOON.into());
        progress.activated_alarms = texts(alarm);
        let reading = AlarmNote {
            alarm: Some(alarm.into()),
            note: Some("30 % of 10 requests, limit 5 %".into()),
        };
        progress.alarm_notes = Some(vec![reading]);
        let fired =
            "alarm home:web error_rate>5% (30 % of 10 requests, limit 5 %), since 12:00:00.000Z";
        check(&progress, ID, &[fired]);
        let back = "`cutover rollback d-A1B2C3D4E` rolls back the hosts that run the new version";
        let ended = Of { has_ended: true, ..ID };
        check(&progress, ended, &[fired, back]);
        progress.traffic_back_time = Some(NOON.plus_ms(240).into());
        let traffic =
            "traffic was taken off the new version at 12:00:00.240Z, 240 ms after the alarm";
        check(&progress, Of { is_rolled_back: true, ..ended }, &[fired, traffic]);
        let unreadable = GetProgressOutput {
            alarm_time: Some(NOON.into()),
            alarms_unreadable: Some("nobody answers".into()),
            ..ladder(1)
        };
        let found = lines(&unreadable, ended, NOON).iter().map(Line::whole).collect::<Vec<_>>();
        assert_eq!(
            found[..2],
            [
                "step 2 of 3: 10% of hosts; ended there",
                "alarm cannot be read: nobody answers, since 12:00:00.000Z"
            ]
        );
    }
}
