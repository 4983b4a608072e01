//! Comparisons of a version with all others behind the same balancer, by the engine's judge (`docs/judge.md`). Each look
//! tells the judge what was counted since the comparison began; it looks by the clock, whenever an alarm is read, and not
//! when a person asks. Comparisons are kept in memory alone: after a restart of the home they begin anew.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::DeploymentId;
use engine::judge::{Counts, Judge, Look, Margin, Terms, Verdict};

use super::measure::{KEPT, Measures, Side};

/// The chance of calling a version no worse that fails twice as often.
const BETA: f64 = 0.05;
/// How many comparisons are kept; those that were not looked at for long make room.
const TRIALS_MAX: usize = 64;
/// Requests that the others need within a minute for their usual latency to be known.
const LATENCY_LEAST: u64 = 100;
/// How much slower than 95 of 100 of the others' answers, and at least how much, an answer is slow: what nobody would
/// notice must not stop a deployment, however certain it is.
const SLOWER: f64 = 1.25;
const SLOWER_LEAST: Duration = Duration::from_millis(1);

/// What is compared, and at which chance of rejecting a good version.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Compared {
    is_slow: bool,
    terms: Terms,
}

impl Compared {
    /// Errors, or answers that are slow; none if the chance is none to judge by.
    #[must_use]
    pub fn new(is_slow: bool, chance: f64) -> Option<Self> {
        let terms = Terms::new(chance, BETA, Margin::default(), None).ok()?;
        Some(Self { is_slow, terms })
    }

    /// Tells comparisons of a version apart.
    fn key(&self) -> (bool, u64) {
        (self.is_slow, self.terms.alpha().to_bits())
    }
}

/// The comparisons of one balancer.
#[derive(Debug, Default)]
pub(super) struct Trials(BTreeMap<(DeploymentId, (bool, u64)), Trial>);

#[derive(Debug)]
struct Trial {
    judge: Judge,
    /// From which latency on an answer is slow, once that is known.
    slower_than: Option<Duration>,
    /// What was counted when the comparison began.
    began: (Side, Side),
    last_ms: u64,
}

impl Trials {
    /// Looks once more; whether the version is worse. That is final.
    pub(super) fn look(
        &mut self,
        version: &DeploymentId,
        compared: Compared,
        measures: &Measures,
        now_ms: u64,
    ) -> bool {
        let key = (version.clone(), compared.key());
        if !self.0.contains_key(&key) && self.0.len() >= TRIALS_MAX {
            let oldest = self.0.iter().min_by_key(|(_, trial)| trial.last_ms);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.0.remove(&oldest);
            }
        }
        let trial = self.0.entry(key).or_insert_with(|| Trial::new(compared));
        trial.last_ms = now_ms;
        trial.look(version, compared, measures, now_ms);
        trial.judge.is_worse()
    }

    /// What can be said by now, for people.
    pub(super) fn note(&self, version: &DeploymentId, compared: Compared) -> String {
        match self.0.get(&(version.clone(), compared.key())) {
            Some(trial) => trial.note(compared.is_slow),
            None => "undecided, nothing was compared yet".to_owned(),
        }
    }
}

impl Trial {
    fn new(compared: Compared) -> Self {
        Self {
            judge: Judge::new(compared.terms),
            slower_than: None,
            began: Default::default(),
            last_ms: 0,
        }
    }

    fn look(
        &mut self,
        version: &DeploymentId,
        compared: Compared,
        measures: &Measures,
        now_ms: u64,
    ) {
        if compared.is_slow && self.slower_than.is_none() {
            self.slower_than = usual_latency(version, measures, now_ms);
            let Some(limit) = self.slower_than else { return };
            self.began = measures.sides(version, Some(limit));
        }
        let (canary, baseline) = measures.sides(version, self.slower_than);
        // Before the version has traffic there is nothing to compare that of the others with.
        if canary.requests == self.began.0.requests {
            self.began = (canary, baseline);
            return;
        }
        let (canary, baseline) = (since(canary, self.began.0), since(baseline, self.began.1));
        if let (Some(canary), Some(baseline)) = (canary, baseline) {
            self.judge.fold(&Look { canary, baseline });
        }
    }

    fn note(&self, is_slow: bool) -> String {
        let bad = if is_slow { "slow request" } else { "error" };
        match self.judge.verdict() {
            Verdict::Worse { .. } => "worse than the baseline".to_owned(),
            Verdict::NoWorse => "no worse than the baseline".to_owned(),
            Verdict::Undecided { more_requests: Some(more) } => {
                format!("undecided, about {} more requests", grouped(more))
            }
            Verdict::Undecided { more_requests: None } if is_slow && self.slower_than.is_none() => {
                format!("undecided, its baseline needs {LATENCY_LEAST} requests within a minute")
            }
            Verdict::Undecided { more_requests: None } => {
                let seen = self.judge.seen();
                match (seen.canary.requests, seen.baseline.requests) {
                    (0, _) => "undecided, no request to the new version yet".to_owned(),
                    (_, 0) => "undecided, no request to the baseline yet".to_owned(),
                    (canary, _) if seen.canary.errors + seen.baseline.errors == 0 => {
                        let requests = grouped(canary);
                        format!("undecided, no {bad} on either side in {requests} requests")
                    }
                    _ => format!("undecided, too few {bad}s yet"),
                }
            }
        }
    }
}

/// From which latency on an answer is slow, if the others had enough requests to tell.
fn usual_latency(version: &DeploymentId, measures: &Measures, now_ms: u64) -> Option<Duration> {
    let others = measures.compare(version, KEPT, now_ms).others;
    let p95 = others.p95.filter(|_| others.requests >= LATENCY_LEAST)?;
    Some(p95.mul_f64(SLOWER).max(p95 + SLOWER_LEAST))
}

fn since(now: Side, began: Side) -> Option<Counts> {
    let requests = now.requests.checked_sub(began.requests)?;
    Some(Counts { requests, errors: now.bad.checked_sub(began.bad)?, slow: 0 })
}

/// A number with its thousands set apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    struct World {
        measures: Measures,
        trials: Trials,
        now_ms: u64,
    }

    fn id(name: &str) -> DeploymentId {
        name.parse().unwrap()
    }

    impl World {
        fn new() -> Self {
            Self { measures: Measures::default(), trials: Trials::default(), now_ms: 1_000_000 }
        }

        /// Requests to the old and the new version, of which each so many are bad (0 for none), with a look each 200 ms.
        fn pass(&mut self, requests: u64, old_bad: u64, new_bad: u64, compared: Compared) {
            let (old, new) = (id("d-OLDAAAAAA"), id("d-NEWAAAAAA"));
            for n in 1..=requests {
                self.now_ms += 10;
                for (version, each) in [(&old, old_bad), (&new, new_bad)] {
                    let is_bad = each > 0 && n.is_multiple_of(each);
                    let slow = if is_bad && compared.is_slow { 200 * MS } else { MS };
                    let is_error = is_bad && !compared.is_slow;
                    self.measures.answered(version, slow, is_error, self.now_ms);
                }
                if n.is_multiple_of(20) {
                    self.look(compared);
                }
            }
        }

        fn look(&mut self, compared: Compared) -> bool {
            let Self { measures, trials, now_ms } = self;
            trials.look(&id("d-NEWAAAAAA"), compared, measures, *now_ms)
        }

        fn note(&self, compared: Compared) -> String {
            self.trials.note(&id("d-NEWAAAAAA"), compared)
        }
    }

    #[test]
    fn a_version_that_is_as_good_is_not_called_worse_and_a_worse_one_is() {
        for is_slow in [false, true] {
            let compared = Compared::new(is_slow, 0.01).unwrap();
            let mut world = World::new();
            assert_eq!(world.note(compared), "undecided, nothing was compared yet");
            world.pass(2_000, 20, 20, compared);
            assert!(!world.look(compared));
            assert_eq!(world.note(compared), "no worse than the baseline");
            let mut world = World::new();
            world.pass(2_000, 100, 5, compared);
            assert!(world.look(compared), "{}", world.note(compared));
            assert_eq!(world.note(compared), "worse than the baseline");
        }
    }

    #[test]
    fn what_is_undecided_says_what_it_waits_for() {
        let compared = Compared::new(false, 0.01).unwrap();
        let mut world = World::new();
        world.look(compared);
        assert_eq!(world.note(compared), "undecided, no request to the new version yet");
        world.pass(1_500, 0, 0, compared);
        let said = "undecided, no error on either side in 1,500 requests";
        assert_eq!(world.note(compared), said);
        world.pass(200, 50, 50, compared);
        let said = world.note(compared);
        let more = said.strip_prefix("undecided, about ").unwrap();
        assert!(more.ends_with(" more requests"), "{said}");
        let slow = Compared::new(true, 0.01).unwrap();
        let mut world = World::new();
        world.look(slow);
        let said = world.note(slow);
        assert_eq!(said, "undecided, its baseline needs 100 requests within a minute");
    }

    #[test]
    fn what_the_others_did_before_the_version_had_traffic_is_not_held_against_it() {
        let compared = Compared::new(false, 0.01).unwrap();
        let mut world = World::new();
        let old = id("d-OLDAAAAAA");
        for n in 0..5_000 {
            world.measures.answered(&old, MS, false, world.now_ms + n);
            if n % 100 == 0 {
                world.look(compared);
            }
        }
        world.look(compared);
        // An outage of both: what was before would make the new version look worse.
        world.pass(100, 2, 2, compared);
        assert!(!world.look(compared), "{}", world.note(compared));
        let seen = world.trials.0.values().next().unwrap().judge.seen().baseline;
        assert_eq!((seen.requests, seen.errors), (100, 50));
    }

    #[test]
    fn comparisons_that_nobody_looks_at_make_room() {
        let compared = Compared::new(false, 0.01).unwrap();
        let mut trials = Trials::default();
        for n in 0..200 {
            trials.look(&id(&format!("d-{n:09}")), compared, &Measures::default(), n);
        }
        assert_eq!(trials.0.len(), TRIALS_MAX);
        assert_eq!(
            trials.note(&id("d-000000000"), compared),
            "undecided, nothing was compared yet"
        );
    }
}
