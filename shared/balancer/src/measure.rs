//! What passes through a balancer, counted for each version by itself over the last minute. Reads no clock: time is an
//! argument, in milliseconds since the Unix epoch.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use engine::DeploymentId;

/// The length of a slot.
const SLOT_MS: u64 = 100;
/// How long slots are kept, which is as far back as one can ask.
pub(crate) const KEPT: Duration = Duration::from_secs(60);
/// How many versions are told apart. A group has two at a time; the others are those of rollbacks in a row.
const VERSIONS_MAX: usize = 32;

/// What was measured over some time. Latencies are from a request's arrival to the first byte of its answer, in steps of
/// about 3 %, never too low; none without requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// Requests that a host answered, or should have.
    pub requests: u64,
    /// Those of them that it answered with a status of 500 or above, not at all, or not to the end.
    pub errors: u64,
    /// The latency that half of the answers did not exceed.
    pub p50: Option<Duration>,
    /// The latency that 95 % of the answers did not exceed.
    pub p95: Option<Duration>,
    /// The latency that 99 % of the answers did not exceed.
    pub p99: Option<Duration>,
}

/// A version beside all the others, over the same time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Comparison {
    /// The version asked for.
    pub version: Window,
    /// All other versions together.
    pub others: Window,
    /// Errors that the balancer made itself, having no host to ask.
    pub own_errors: u64,
}

/// What passed since the balancer was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// All requests.
    pub requests: u64,
    /// Those that a host answered with a status of 500 or above, not at all, or not to the end.
    pub app_errors: u64,
    /// Those that the balancer had no host for.
    pub own_errors: u64,
}

/// The measurements of one balancer.
#[derive(Debug, Default)]
pub(crate) struct Measures {
    versions: BTreeMap<DeploymentId, Version>,
    own_errors: Series,
    totals: Totals,
    all: Tally,
}

#[derive(Debug, Default)]
struct Version {
    series: Series,
    tally: Tally,
    first_bad_ms: Option<u64>,
    last_ms: u64,
}

/// All requests since the start. It never falls, other than a window.
#[derive(Debug, Default)]
struct Tally {
    requests: u64,
    errors: u64,
    latencies: BTreeMap<u32, u64>,
}

impl Tally {
    fn answered(&mut self, step: u32) {
        self.requests += 1;
        *self.latencies.entry(step).or_default() += 1;
    }

    /// Errors of all requests, or those that took longer than a limit of all that were answered.
    fn side(&self, slower_than: Option<Duration>) -> Side {
        let Some(limit) = slower_than else {
            return Side { requests: self.requests, bad: self.errors };
        };
        let slow = self.latencies.range(step_of(limit).saturating_add(1)..);
        Side { requests: self.latencies.values().sum(), bad: slow.map(|(_, count)| count).sum() }
    }
}

/// Requests since the start, and those of them that were bad in some way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Side {
    /// All of them.
    pub(crate) requests: u64,
    /// The bad ones.
    pub(crate) bad: u64,
}

/// Slots in order of time; those without requests are left out.
#[derive(Debug, Default)]
struct Series(VecDeque<Slot>);

#[derive(Debug, Default)]
struct Slot {
    at: u64,
    requests: u64,
    errors: u64,
    /// How many answers fell into each step of latency; few steps occur within a tenth of a second.
    latencies: BTreeMap<u32, u64>,
}

impl Measures {
    /// A host answered; `is_bad` says that the answer was an error of the application.
    pub(crate) fn answered(
        &mut self,
        version: &DeploymentId,
        latency: Duration,
        is_bad: bool,
        now_ms: u64,
    ) {
        self.totals.requests += 1;
        let step = step_of(latency);
        self.all.answered(step);
        let version_of = self.version(version, now_ms);
        version_of.tally.answered(step);
        let slot = version_of.series.slot(now_ms);
        slot.requests += 1;
        *slot.latencies.entry(step).or_default() += 1;
        if is_bad {
            self.bad(version, now_ms);
        }
    }

    /// A host did not answer a request that it was sent.
    pub(crate) fn unanswered(&mut self, version: &DeploymentId, now_ms: u64) {
        self.totals.requests += 1;
        self.all.requests += 1;
        let version_of = self.version(version, now_ms);
        version_of.tally.requests += 1;
        version_of.series.slot(now_ms).requests += 1;
        self.bad(version, now_ms);
    }

    /// An answer that had begun, and was counted, was an error after all: it broke off.
    pub(crate) fn bad(&mut self, version: &DeploymentId, now_ms: u64) {
        self.totals.app_errors += 1;
        self.all.errors += 1;
        let version = self.version(version, now_ms);
        version.tally.errors += 1;
        version.series.slot(now_ms).errors += 1;
        version.first_bad_ms.get_or_insert(now_ms);
    }

    /// There was no host to ask.
    pub(crate) fn own_error(&mut self, now_ms: u64) {
        self.totals.requests += 1;
        self.totals.own_errors += 1;
        self.own_errors.slot(now_ms).errors += 1;
    }

    /// What passed within the `last` milliseconds.
    pub(crate) fn compare(
        &self,
        version: &DeploymentId,
        last: Duration,
        now_ms: u64,
    ) -> Comparison {
        let last = u64::try_from(last.min(KEPT).as_millis()).unwrap_or(u64::MAX);
        let since = now_ms.saturating_sub(last);
        let (mut own, mut others) = (Sum::default(), Sum::default());
        for (id, found) in &self.versions {
            let sum = if id == version { &mut own } else { &mut others };
            sum.add(&found.series, since);
        }
        let mut errors = Sum::default();
        errors.add(&self.own_errors, since);
        Comparison { version: own.window(), others: others.window(), own_errors: errors.errors }
    }

    /// A version and all others together, since the start: errors, or answers that took longer than a limit.
    pub(crate) fn sides(
        &self,
        version: &DeploymentId,
        slower_than: Option<Duration>,
    ) -> (Side, Side) {
        let own = self.versions.get(version);
        let own = own.map(|own| own.tally.side(slower_than)).unwrap_or_default();
        let all = self.all.side(slower_than);
        let others = Side {
            requests: all.requests.saturating_sub(own.requests),
            bad: all.bad.saturating_sub(own.bad),
        };
        (own, others)
    }

    /// Everything since the start.
    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// When the version first gave a bad answer.
    pub(crate) fn first_bad_ms(&self, version: &DeploymentId) -> Option<u64> {
        self.versions.get(version)?.first_bad_ms
    }

    fn version(&mut self, id: &DeploymentId, now_ms: u64) -> &mut Version {
        if !self.versions.contains_key(id) && self.versions.len() >= VERSIONS_MAX {
            let oldest = self.versions.iter().min_by_key(|(_, version)| version.last_ms);
            if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
                self.versions.remove(&oldest);
            }
        }
        let version = self.versions.entry(id.clone()).or_default();
        version.last_ms = version.last_ms.max(now_ms);
        version
    }
}

impl Series {
    /// The slot of that moment, or of the latest one that was measured: two requests may come here in another order than
    /// they looked at the clock.
    fn slot(&mut self, now_ms: u64) -> &mut Slot {
        let kept = u64::try_from(KEPT.as_millis()).unwrap_or(u64::MAX);
        while self.0.front().is_some_and(|slot| slot.at + kept + SLOT_MS < now_ms) {
            self.0.pop_front();
        }
        let at = now_ms - now_ms % SLOT_MS;
        let is_new = self.0.back().is_none_or(|slot| slot.at < at);
        let place = if is_new { self.0.len() } else { self.0.len().saturating_sub(1) };
        if is_new {
            self.0.push_back(Slot { at, ..Slot::default() });
        }
        // The place is that of the last slot, which is there.
        #[expect(clippy::indexing_slicing, reason = "the line above sees to it that it is there")]
        &mut self.0[place]
    }
}

#[derive(Default)]
struct Sum {
    requests: u64,
    errors: u64,
    latencies: BTreeMap<u32, u64>,
}

impl Sum {
    fn add(&mut self, series: &Series, since_ms: u64) {
        for slot in series.0.iter().rev().take_while(|slot| slot.at + SLOT_MS > since_ms) {
            self.requests += slot.requests;
            self.errors += slot.errors;
            for (step, count) in &slot.latencies {
                *self.latencies.entry(*step).or_default() += count;
            }
        }
    }

    fn window(&self) -> Window {
        Window {
            requests: self.requests,
            // A broken answer may have been counted in an earlier slot than it broke off in.
            errors: self.errors,
            p50: self.quantile(50),
            p95: self.quantile(95),
            p99: self.quantile(99),
        }
    }

    fn quantile(&self, percent: u64) -> Option<Duration> {
        let count: u64 = self.latencies.values().sum();
        // The rank is rounded up, so that the median of two is the lower one, and the p99 of few is the highest.
        let rank = (count * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let step = self.latencies.iter().find(|(_, count)| {
            seen += **count;
            seen >= rank
        });
        step.map(|(step, _)| end_of(*step))
    }
}

/// Steps within a doubling of latency: 32 make them 3 % wide.
const STEPS: u32 = 32;

/// The step that a latency falls in: exact microseconds up to 63, then `STEPS` to each doubling.
fn step_of(latency: Duration) -> u32 {
    let micros = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX);
    let shift = micros.checked_ilog2().unwrap_or(0).saturating_sub(STEPS.ilog2());
    shift * STEPS + (micros >> shift)
}

/// The highest latency of a step.
fn end_of(step: u32) -> Duration {
    let shift = (step / STEPS).saturating_sub(1);
    let mantissa = u64::from(step - shift * STEPS);
    Duration::from_micros(((mantissa + 1) << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(name: &str) -> DeploymentId {
        name.parse().unwrap()
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_latency_is_told_within_three_percent_and_never_too_low() {
        for micros in (0..200).chain((1..40).map(|n| n * n * n * 977)).chain([u64::from(u32::MAX)])
        {
            let told = end_of(step_of(Duration::from_micros(micros))).as_micros();
            let told = u64::try_from(told).unwrap();
            assert!(told >= micros && told <= micros + micros / 31, "{micros} is told as {told}");
        }
        let hours = Duration::from_secs(1_000_000);
        assert!(end_of(step_of(hours)) >= Duration::from_secs(4_000));
    }

    #[test]
    fn a_version_is_measured_apart_from_the_others() {
        let (old, new) = (version("d-AAAAAAAAA"), version("d-BBBBBBBBB"));
        let mut measures = Measures::default();
        for n in 0..100 {
            measures.answered(&old, n * MS, false, 1_000_000 + u64::from(n));
        }
        for n in 0..10 {
            measures.answered(&new, 300 * MS, n < 3, 1_000_050);
        }
        measures.unanswered(&new, 1_000_060);
        measures.own_error(1_000_060);
        let found = measures.compare(&new, 10_000 * MS, 1_000_100);
        assert_eq!((found.version.requests, found.version.errors), (11, 4));
        assert_eq!((found.others.requests, found.others.errors), (100, 0));
        assert_eq!(found.own_errors, 1);
        let near = |found: Option<Duration>, expected: u32| {
            let found = found.unwrap();
            assert!(found >= expected * MS && found < (expected + 10) * MS, "{found:?}");
        };
        near(found.version.p50, 300);
        near(found.others.p50, 49);
        near(found.others.p95, 94);
        near(found.others.p99, 98);
        assert_eq!(measures.first_bad_ms(&new), Some(1_000_050));
        assert_eq!(measures.first_bad_ms(&old), None);
        assert_eq!(measures.totals(), Totals { requests: 112, app_errors: 4, own_errors: 1 });
    }

    #[test]
    fn what_is_compared_never_falls_and_tells_the_slow_from_the_bad() {
        let (old, new) = (version("d-AAAAAAAAA"), version("d-BBBBBBBBB"));
        let mut measures = Measures::default();
        for n in 0..100_u32 {
            measures.answered(&old, n * MS, n < 2, 1_000_000 + u64::from(n) * 1_000);
        }
        measures.answered(&new, 60 * MS, false, 1_100_000);
        measures.unanswered(&new, 1_100_000);
        let side = |requests, bad| Side { requests, bad };
        assert_eq!(measures.sides(&new, None), (side(2, 1), side(100, 2)));
        let slow = measures.sides(&new, Some(50 * MS));
        assert_eq!(slow.0, side(1, 1), "who got no answer was neither fast nor slow");
        assert!(slow.1.requests == 100 && (47..=49).contains(&slow.1.bad), "{slow:?}");
        assert_eq!(measures.sides(&version("d-CCCCCCCCC"), None), (side(0, 0), side(102, 3)));
    }

    #[test]
    fn what_is_longer_ago_than_was_asked_is_not_counted() {
        let id = version("d-AAAAAAAAA");
        let mut measures = Measures::default();
        for second in 0..300 {
            measures.answered(&id, MS, false, 1_000_000 + second * 1_000);
        }
        let now = 1_000_000 + 299_000;
        let requests =
            |last_s| measures.compare(&id, Duration::from_secs(last_s), now).version.requests;
        assert_eq!((requests(1), requests(10), requests(600)), (2, 11, 61));
        assert!(measures.versions[&id].series.0.len() <= 62, "old slots are not kept");
        assert_eq!(measures.compare(&id, MS, now + 60_000).version, Window::default());
    }

    #[test]
    fn versions_that_were_not_seen_for_long_make_room() {
        let mut measures = Measures::default();
        for n in 0..100_u64 {
            measures.answered(&version(&format!("d-{n:09}")), MS, false, 1_000_000 + n);
        }
        assert_eq!(measures.versions.len(), VERSIONS_MAX);
        assert!(measures.versions.contains_key(&version("d-000000099")));
        assert_eq!(measures.totals().requests, 100);
    }
}
