//! One measure, compared: the evidence that the canary is worse than its margin, and that it is not unacceptable.

use serde::{Deserialize, Serialize};

use super::block::{Block, Side};
use super::chance::{ln_mean, ln_mean_own};
use super::evidence::{Evidence, Nats, ln_add};
use super::terms::{Baseline, Margin};

/// What is known of one measure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Comparison {
    /// The counts that the evidence is of. What came later waits until both sides have requests.
    closed: Block,
    /// Against "no worse than the margin".
    worse: Evidence,
    /// Against "unacceptable, in proportion to the baseline".
    better: Evidence,
    /// Against "unacceptable by itself", where the margin allows for a rate of its own.
    low: Option<Evidence>,
    /// The most that the evidence for being acceptable ever was.
    fine: Nats,
}

/// How many times worse than the margin the canary is taken to be. Steps are about twofold: a bet on a tilt that is off
/// by the root of two still grows at nearly nine tenths of the best speed.
const WORSE_MILLI: [u32; 6] = [1_300, 1_800, 2_700, 5_000, 10_000, 30_000];

/// How many times better than unacceptable.
const BETTER_MILLI: [u32; 4] = [750, 500, 300, 100];

impl Comparison {
    /// Nothing is known.
    pub(super) fn new(margin: &Margin) -> Self {
        let better = Evidence::new(&BETTER_MILLI);
        Self {
            closed: Block::default(),
            worse: Evidence::new(&WORSE_MILLI),
            low: (margin.plus > 0.0).then(|| better.clone()),
            better,
            fine: Nats::ZERO,
        }
    }

    /// Folds the counts of all requests until now, and tells whether evidence changed.
    pub(super) fn fold(&mut self, margin: &Margin, all: Block) -> bool {
        let Some(block) = all.since(&self.closed).filter(|block| block.is_whole(margin)) else {
            return false;
        };
        let before = self.closed.canary.requests;
        self.closed = all;
        if block.tells_nothing(margin) {
            return false;
        }
        self.worse.pay(before, |tilt| ln_worse(&block, margin, tilt));
        self.better.pay(before, |tilt| ln_better(&block, margin, tilt));
        if let Some(low) = &mut self.low {
            low.pay(before, |tilt| ln_low(&block, margin, tilt));
        }
        self.fine = self.fine.max(Nats::new(self.ln_fine()));
        true
    }

    /// The evidence that the canary is worse than its margin, as a natural logarithm.
    pub(super) fn ln_worse(&self) -> f64 {
        self.worse.ln()
    }

    /// Whether the evidence that the canary is acceptable was ever `e^goal`.
    pub(super) fn is_fine(&self, goal: f64) -> bool {
        self.fine.ln() >= goal
    }

    /// A canary that is unacceptable is so in both ways, so a bet may be divided between them.
    pub(super) fn ln_fine(&self) -> f64 {
        match &self.low {
            None => self.better.ln(),
            Some(low) => ln_add(self.better.ln(), low.ln()) - 2f64.ln(),
        }
    }

    /// About how many more canary requests like those until now show the canary to be worse.
    pub(super) fn requests_to_worse(&self, margin: &Margin, goal: f64) -> Option<f64> {
        let block = &self.closed;
        let requests = self.requests()?;
        self.worse.requests_to(goal, |tilt| ln_worse(block, margin, tilt) / requests)
    }

    /// About how many more canary requests like those until now show the canary to be acceptable; 0 if they did.
    pub(super) fn requests_to_fine(&self, margin: &Margin, goal: f64) -> Option<f64> {
        if self.is_fine(goal) {
            return Some(0.0);
        }
        let block = &self.closed;
        let requests = self.requests()?;
        let goal = if self.low.is_some() { goal + 2f64.ln() } else { goal };
        let better = |tilt| ln_better(block, margin, tilt) / requests;
        let low = |tilt| ln_low(block, margin, tilt) / requests;
        let better = self.better.requests_to(goal, better);
        let low = self.low.as_ref().and_then(|evidence| evidence.requests_to(goal, low));
        better.into_iter().chain(low).min_by(f64::total_cmp)
    }

    /// Canary requests that the evidence is of, if any.
    fn requests(&self) -> Option<f64> {
        let requests = self.closed.canary.requests;
        (requests > 0).then_some(requests as f64)
    }
}

/// What a bet on the canary being worse returns. The canary's own causes are paid for as if they came on top: its errors
/// are at most those of the margin's factor and those of its own causes together, and an error more in the block raises
/// the mean that is divided by.
pub(super) fn ln_worse(block: &Block, margin: &Margin, tilt: f64) -> f64 {
    let mean = ln_mean(block, margin.baseline, margin.factor, tilt);
    block.tilted(tilt) - mean - ln_mean_own(block, margin.plus, tilt)
}

/// What a bet on the canary being better than unacceptable returns.
pub(super) fn ln_better(block: &Block, margin: &Margin, tilt: f64) -> f64 {
    block.tilted(tilt) - ln_mean(block, margin.baseline, margin.unacceptable, tilt)
}

/// What a bet on the canary failing less often than its own causes may returns.
pub(super) fn ln_low(block: &Block, margin: &Margin, tilt: f64) -> f64 {
    block.tilted(tilt) - ln_mean_own(block, margin.plus, tilt)
}

impl Block {
    /// What was counted since `earlier`; none if it cannot be, as when errors are counted after their requests.
    fn since(&self, earlier: &Self) -> Option<Self> {
        let canary = self.canary.since(&earlier.canary)?;
        Some(Self { canary, baseline: self.baseline.since(&earlier.baseline)? })
    }

    /// Whether the block can be compared. That depends on no error: a block that was closed by one would be biased.
    fn is_whole(&self, margin: &Margin) -> bool {
        self.canary.requests > 0
            && (self.baseline.requests > 0 || margin.baseline != Baseline::Measured)
    }

    /// Whether all bets return what was placed, as they do without errors if all is conditional on their number.
    fn tells_nothing(&self, margin: &Margin) -> bool {
        let bad = self.canary.bad + self.baseline.bad;
        bad == 0 && margin.baseline == Baseline::Measured && margin.plus == 0.0
    }

    /// `tilt` to the power of the canary's errors, as a natural logarithm.
    fn tilted(&self, tilt: f64) -> f64 {
        self.canary.bad as f64 * tilt.ln()
    }
}

impl Side {
    fn since(&self, earlier: &Self) -> Option<Self> {
        let requests = self.requests.checked_sub(earlier.requests)?;
        let bad = self.bad.checked_sub(earlier.bad)?;
        (bad <= requests).then_some(Self { requests, bad })
    }
}
