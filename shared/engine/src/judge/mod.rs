//! Judges a canary by comparison with the version that it is to replace, from however few requests, and however often
//! it is asked. `docs/judge.md` says what it promises, how that was measured, and when it does not hold.
//!
//! Counts are cumulative. Those that came in between two looks are a block; a block is compared with itself only, so that
//! rates and shares of traffic may change from block to block. The judge holds numbers and decides nothing about a
//! deployment; it does not know what a request is, or when.

mod block;
mod chance;
mod comparison;
mod evidence;
mod terms;

use serde::{Deserialize, Serialize};

use block::{Block, Side};
use comparison::Comparison;
use evidence::{Nats, ln_add};
pub use terms::{Baseline, Margin, Terms, TermsError};

/// Requests since the comparison began that have ended. Errors and slow ones are counted with the request, never later.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Counts {
    /// All requests.
    pub requests: u64,
    /// Those that failed.
    pub errors: u64,
    /// Those that took longer than a limit that stays what it is, such as the baseline's 95th percentile when the
    /// comparison began.
    pub slow: u64,
}

/// Both sides at one moment. When to look must not depend on how requests ended: look by the clock or by the number of
/// requests, not at each error.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// The new version.
    pub canary: Counts,
    /// The version that it is to replace; without requests if all that is known of it is a rate.
    #[serde(default)]
    pub baseline: Counts,
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Measure {
    /// Requests that fail.
    Errors,
    /// Requests that take longer than the limit.
    Slow,
}

/// What can be said by now. `Worse` is final; `NoWorse` may still become `Worse`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Verdict {
    /// The canary is worse than its margins allow.
    Worse {
        /// In what, as far as one of them stands out.
        measure: Measure,
        /// The most that a bet of 1 on it was ever worth; if it were not worse, that reaches x with a chance of 1/x.
        evidence: f64,
    },
    /// The canary is not unacceptable in any measure.
    NoWorse,
    /// Neither is shown.
    Undecided {
        /// About how many more canary requests it takes, if both go on as they did; none if they show nothing yet.
        more_requests: Option<u64>,
    },
}

/// A comparison under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Judge {
    terms: Terms,
    seen: Look,
    errors: Comparison,
    #[serde(skip_serializing_if = "Option::is_none")]
    slow: Option<Comparison>,
    /// The most that the evidence for `Worse` ever was.
    worse: Nats,
}

/// Counts beyond this are not folded: sums of logarithms would become coarse, and traffic of this size needs no judge.
const REQUESTS_MAX: u64 = 1 << 32;

impl Judge {
    /// A comparison that has seen nothing.
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
            seen: Look::default(),
            errors: Comparison::new(terms.errors()),
            slow: terms.slow().map(Comparison::new),
            worse: Nats::ZERO,
        }
    }

    /// The terms that it judges by.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The latest counts that were folded.
    pub fn seen(&self) -> &Look {
        &self.seen
    }

    /// Folds what was counted until now, and tells whether it was anything new. A look that counts less of anything than
    /// one before it is late and changes nothing, and neither does one that cannot be.
    pub fn fold(&mut self, look: &Look) -> bool {
        if *look == self.seen || !look.is_later_than(&self.seen) || !look.is_possible() {
            return false;
        }
        self.seen = *look;
        let errors = self.errors.fold(self.terms.errors(), look.block(Measure::Errors));
        let slow = match (&mut self.slow, self.terms.slow()) {
            (Some(comparison), Some(margin)) => comparison.fold(margin, look.block(Measure::Slow)),
            _ => false,
        };
        if errors || slow {
            self.worse = self.worse.max(Nats::new(self.ln_worse()));
        }
        true
    }

    /// Whether the canary is worse than its margins allow.
    pub fn is_worse(&self) -> bool {
        self.worse.ln() >= goal(self.terms.alpha())
    }

    /// Whether the canary was shown to be acceptable in all measures.
    pub fn is_no_worse(&self) -> bool {
        let goal = goal(self.terms.beta());
        self.comparisons().all(|(_, comparison)| comparison.is_fine(goal))
    }

    /// What can be said by now.
    pub fn verdict(&self) -> Verdict {
        if self.is_worse() {
            let ln = |(_, comparison): &(Measure, &Comparison)| comparison.ln_worse();
            let most = self.comparisons().max_by(|a, b| ln(a).total_cmp(&ln(b)));
            let measure = most.map_or(Measure::Errors, |(measure, _)| measure);
            // Finite for whoever prints it.
            return Verdict::Worse { measure, evidence: self.worse.ln().min(600.0).exp() };
        }
        if self.is_no_worse() {
            return Verdict::NoWorse;
        }
        Verdict::Undecided { more_requests: self.more_requests() }
    }

    /// The mean of the evidence of all measures: what one has who bets on each with an equal part of 1. It needs no
    /// correction for there being two, and it is never less than half of the greater.
    fn ln_worse(&self) -> f64 {
        let sum = self.comparisons().map(|(_, comparison)| comparison.ln_worse());
        sum.fold(f64::NEG_INFINITY, ln_add) - self.measures().ln()
    }

    /// The nearer of the two other verdicts: `Worse` needs one measure, `NoWorse` all.
    fn more_requests(&self) -> Option<u64> {
        let (alpha, beta) =
            (goal(self.terms.alpha()) + self.measures().ln(), goal(self.terms.beta()));
        let of = |measure| match measure {
            Measure::Errors => Some(self.terms.errors()),
            Measure::Slow => self.terms.slow(),
        };
        let both = || self.comparisons().filter_map(|(m, comparison)| Some((of(m)?, comparison)));
        let worse = both().filter_map(|(margin, it)| it.requests_to_worse(margin, alpha));
        let fine: Option<Vec<f64>> =
            both().map(|(margin, it)| it.requests_to_fine(margin, beta)).collect();
        let fine = fine.and_then(|each| each.into_iter().max_by(f64::total_cmp));
        let nearer = worse.chain(fine).min_by(f64::total_cmp)?;
        whole(nearer)
    }

    fn comparisons(&self) -> impl Iterator<Item = (Measure, &Comparison)> {
        let slow = self.slow.iter().map(|comparison| (Measure::Slow, comparison));
        [(Measure::Errors, &self.errors)].into_iter().chain(slow)
    }

    fn measures(&self) -> f64 {
        if self.slow.is_some() { 2.0 } else { 1.0 }
    }
}

impl Look {
    fn is_later_than(&self, other: &Self) -> bool {
        self.canary.is_later_than(&other.canary) && self.baseline.is_later_than(&other.baseline)
    }

    fn is_possible(&self) -> bool {
        self.canary.is_possible() && self.baseline.is_possible()
    }

    fn block(&self, measure: Measure) -> Block {
        Block { canary: self.canary.side(measure), baseline: self.baseline.side(measure) }
    }
}

impl Counts {
    fn is_later_than(&self, other: &Self) -> bool {
        self.requests >= other.requests && self.errors >= other.errors && self.slow >= other.slow
    }

    fn is_possible(&self) -> bool {
        self.requests <= REQUESTS_MAX && self.errors.max(self.slow) <= self.requests
    }

    fn side(&self, measure: Measure) -> Side {
        let bad = match measure {
            Measure::Errors => self.errors,
            Measure::Slow => self.slow,
        };
        Side { requests: self.requests, bad }
    }
}

/// The evidence that a chance of `wrong` demands, as a natural logarithm.
fn goal(wrong: f64) -> f64 {
    -wrong.ln()
}

/// A number of requests, at least one; none if it is out of all reason.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was looked at")]
fn whole(requests: f64) -> Option<u64> {
    (requests >= 0.0 && requests <= REQUESTS_MAX as f64).then(|| (requests.ceil() as u64).max(1))
}

#[cfg(test)]
mod tests;
