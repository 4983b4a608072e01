//! What happened to a deployment, as lines for a log: each thing once, with its own time, in the order in which it happened.

use std::collections::BTreeSet;

use engine::Timestamp;
use wire::codedeploy::{InstanceTarget, TargetStatus};

use super::progress::{self, Line};
use super::snapshot::{Counts, Snapshot};
use super::text;
use crate::output::{clock, revision_url};

/// How long a line waits for one that happened before it: hosts report at most once a second.
const HELD_MS: u64 = 1_500;

/// What was told of one deployment, and what is about to be.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Events that began, and what became of hosts, by host.
    told: BTreeSet<(String, String)>,
    progress: Vec<Line>,
    /// The last step or zone of which it was told that it has begun, and that it bakes.
    step: [Option<u32>; 2],
    /// What the service said of it, without its numbers, which change with time.
    messages: BTreeSet<String>,
    /// The twentieth of the way that a large fleet is on.
    twentieth: Option<u64>,
    /// When it was looked at last.
    looked_at: Timestamp,
    has_begun: bool,
    held: Vec<Held>,
    /// The line of the end, which nothing follows.
    end: Option<String>,
}

#[derive(Debug)]
struct Held {
    /// When it happened.
    at: Timestamp,
    /// When it was heard of, by the clock here.
    heard_at: Timestamp,
    text: String,
    /// Whether it stands before what happened at the same time.
    leads: bool,
    /// Of a step of which no host was heard of yet: it has begun with the first that is, but not before this.
    not_before: Option<Timestamp>,
}

impl Held {
    fn new(at: Timestamp, heard_at: Timestamp, text: String) -> Self {
        Self { at, heard_at, text, leads: false, not_before: None }
    }
}

impl History {
    /// Takes what is new in a snapshot that was made at `now`.
    pub(crate) fn take(&mut self, snapshot: &Snapshot, now: Timestamp) {
        if !self.has_begun {
            self.has_begun = true;
            let begun = snapshot.info.create_time.map_or(now, Timestamp::from);
            // Nothing comes before it.
            let first = Held::new(begun, Timestamp(0), begin(snapshot));
            self.held.push(Held { leads: true, ..first });
            self.looked_at = begun;
        }
        for target in &snapshot.targets {
            self.take_host(target, snapshot.partial, now);
        }
        if snapshot.partial {
            self.take_counts(snapshot.counts(), now);
        }
        self.take_progress(snapshot, now);
        self.take_messages(snapshot, now);
        self.looked_at = now;
        if snapshot.has_ended() && self.end.is_none() {
            self.end_looks(snapshot.info.complete_time.map_or(now, Timestamp::from));
            self.end = Some(end(snapshot, now));
        }
    }

    /// The lines that wait no longer, in order.
    pub(crate) fn due(&mut self, now: Timestamp) -> Vec<String> {
        let waits =
            |held: &Held| now.since_ms(held.heard_at) < HELD_MS && now.since_ms(held.at) < HELD_MS;
        let last = self.held.iter().filter(|held| !waits(held)).map(|held| held.at).max();
        let mut lines = last.map(|last| self.until(last)).unwrap_or_default();
        if self.end.is_some() {
            lines.extend(self.rest());
        }
        lines
    }

    /// All lines that wait, in order.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        let mut lines = self.until(Timestamp(u64::MAX));
        lines.extend(self.end.take());
        lines
    }

    fn until(&mut self, last: Timestamp) -> Vec<String> {
        self.held.sort_by_key(|held| (held.at, !held.leads));
        let number = self.held.partition_point(|held| held.at <= last);
        let line = |held: Held| format!("{}  {}", clock(held.at), held.text);
        self.held.drain(..number).map(line).collect()
    }

    fn hold(&mut self, at: Timestamp, now: Timestamp, text: String) {
        self.held.push(Held::new(at, now, text));
    }

    fn take_host(&mut self, target: &InstanceTarget, is_of_large_fleet: bool, now: Timestamp) {
        let host = text::name(target);
        if let Some(begun) = text::begun(target) {
            self.began_with(begun);
        }
        for event in text::events(target).iter().filter(|_| !is_of_large_fleet) {
            let name = text::event_name(event);
            if let Some(start) = event.start_time
                && self.told.insert((host.clone(), name.clone()))
            {
                self.hold(start.into(), now, format!("{host}  {name}"));
            }
        }
        let time = match target.status {
            Some(TargetStatus::Succeeded) if is_of_large_fleet => return,
            Some(TargetStatus::Succeeded | TargetStatus::Failed) => text::took(target),
            Some(TargetStatus::Skipped | TargetStatus::Unknown | TargetStatus::Ready) => None,
            Some(TargetStatus::Pending | TargetStatus::InProgress) | None => return,
        };
        let what = text::what(target);
        if self.told.insert((host.clone(), what.clone())) {
            let time = time.map(|time| format!(" in {time}")).unwrap_or_default();
            let at = text::last_end(target).map_or(now, Timestamp::from);
            self.hold(at, now, format!("{host}  {what}{time}"));
        }
    }

    /// Sets the time of a step that waits for its first host.
    fn began_with(&mut self, host: Timestamp) {
        for held in &mut self.held {
            if held.not_before.is_some_and(|from| from <= host) && host < held.at {
                held.at = host;
            }
        }
    }

    /// What only a look has found was so by the end, although the look came after it.
    fn end_looks(&mut self, end: Timestamp) {
        for held in self.held.iter_mut().filter(|held| held.at == held.heard_at) {
            held.at = held.at.min(end);
        }
    }

    /// Of a large fleet, counts are told with each twentieth of the way.
    fn take_counts(&mut self, counts: Counts, now: Timestamp) {
        let step = counts.done().saturating_mul(20).checked_div(counts.total());
        if self.twentieth != step {
            self.twentieth = step;
            self.hold(now, now, text::counts(counts));
        }
    }

    /// What is new about how far it is.
    fn take_progress(&mut self, snapshot: &Snapshot, now: Timestamp) {
        let known = snapshot.progress.iter();
        let lines: Vec<Line> =
            known.flat_map(|known| progress::news(known, snapshot.of())).collect();
        let is_paused = |lines: &[Line]| lines.iter().any(|line| line.name == "paused");
        let is_resumed = is_paused(&self.progress) && !is_paused(&lines) && !snapshot.has_ended();
        // What has no time of its own was so by the end.
        let by = snapshot.info.complete_time.map_or(now, Timestamp::from);
        let told = std::mem::take(&mut self.progress);
        for line in lines.iter().filter(|line| !told.contains(line)) {
            let held = Held::new(line.at.unwrap_or(by), now, line.whole());
            let is_step = matches!(line.name, "step" | "zone") && !snapshot.has_ended();
            let held = if is_step { self.step(snapshot, held) } else { held };
            self.held.push(held);
        }
        if is_resumed {
            self.hold(now, now, "resumed".to_owned());
        }
        self.progress = if snapshot.progress.is_some() { lines } else { told };
    }

    /// The line of a step or a zone, at its time. The service does not say when one began: it began with the first host
    /// that the steps before it left, and bakes for as long as it says. What cannot be known has the time of the look.
    fn step(&mut self, snapshot: &Snapshot, held: Held) -> Held {
        let hosts = snapshot.counts().total();
        let known = snapshot.progress.as_ref().and_then(|known| progress::place(known, hosts));
        let Some(place) = known else { return held };
        let [begun, baking] = &mut self.step;
        let was_begun = begun.replace(place.number) == Some(place.number);
        if place.bakes {
            let is_new = baking.replace(place.number) != Some(place.number);
            let at = place.baking_since.filter(|at| is_new && *at < held.at).unwrap_or(held.at);
            return Held { at, ..held };
        }
        if was_begun || snapshot.partial {
            return Held { leads: true, ..held };
        }
        let mut starts: Vec<Timestamp> = snapshot.targets.iter().filter_map(text::begun).collect();
        starts.sort_unstable();
        let first = place.hosts_before.and_then(|before| starts.get(before)).copied();
        Held {
            at: first.map_or(held.at, |first| first.min(held.at)),
            leads: true,
            not_before: first.is_none().then_some(self.looked_at),
            ..held
        }
    }

    /// Tells once what the service says of it.
    fn take_messages(&mut self, snapshot: &Snapshot, now: Timestamp) {
        let is_number = |word: &str| word.chars().all(|c| c.is_ascii_digit());
        for message in text::messages(&snapshot.info) {
            let words = message.split(' ').filter(|word| !is_number(word));
            if self.messages.insert(words.collect()) {
                let by = snapshot.info.complete_time.map_or(now, Timestamp::from);
                self.hold(by, now, message);
            }
        }
    }
}

fn begin(snapshot: &Snapshot) -> String {
    let info = &snapshot.info;
    let parts = [
        Some(text::headline(snapshot)),
        revision_url(info.revision.as_ref()),
        info.deployment_config_name.clone(),
        // Right after its creation the hosts are not counted yet.
        Some(snapshot.counts().total()).filter(|total| *total > 0).map(text::hosts),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn end(snapshot: &Snapshot, now: Timestamp) -> String {
    let at = snapshot.info.complete_time.map_or(now, Timestamp::from);
    let reason = text::reason(&snapshot.info).map(|why| format!(": {why}")).unwrap_or_default();
    format!("{}  {}  {}{reason}", clock(at), snapshot.id(), text::outcome(snapshot))
}
