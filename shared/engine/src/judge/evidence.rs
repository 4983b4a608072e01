//! Evidence against a hypothesis, as the wealth of one who bets against it at fair odds. Under the hypothesis it is a
//! nonnegative supermartingale that starts at 1, so it ever reaches 1/α with a chance of α at most (Ville).

use serde::{Deserialize, Serialize};

/// Bets with several tilts and at several moments to start, each with a fixed share of the wealth. Shares add up to 1,
/// which is what makes the whole a fair bet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Evidence {
    bets: Vec<Bet>,
    /// Canary requests before which all bets that start there are placed.
    placed: u64,
}

/// What has become of the shares of one tilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bet {
    /// By how much the odds of an error are taken to differ from the hypothesis, in thousandths.
    tilt_milli: u32,
    /// The wealth, relative to the share of the tilt.
    wealth: Nats,
}

/// A natural logarithm in billionths. A whole number comes back from JSON as it went there, and rounding down never
/// exaggerates evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Nats(i64);

impl Nats {
    /// The logarithm of 1.
    pub(super) const ZERO: Self = Self(0);

    /// Rounds down.
    #[expect(clippy::cast_possible_truncation, reason = "a float that is too large saturates")]
    pub(super) fn new(ln: f64) -> Self {
        Self((ln * 1e9).floor() as i64)
    }

    /// The logarithm.
    pub(super) fn ln(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

/// The share of the wealth that bets from the first request on. A version that is bad is mostly so at once.
const AT_ONCE: f64 = 0.5;

/// Half of what does not bet at once has started after this many canary requests. Without later starts, a version that
/// turns bad after a day would first have to use up the evidence of its good day.
const HALF_STARTED: f64 = 1000.0;

impl Evidence {
    /// No evidence yet, with bets on these tilts in thousandths.
    pub(super) fn new(tilts_milli: &[u32]) -> Self {
        let wealth = Nats::new(AT_ONCE.ln());
        let bets = tilts_milli.iter().map(|&tilt_milli| Bet { tilt_milli, wealth }).collect();
        Self { bets, placed: 0 }
    }

    /// Pays the bets that started no later than `before` canary requests what a block returns, of which `ln_return`
    /// tells the logarithm for a tilt.
    pub(super) fn pay(&mut self, before: u64, ln_return: impl Fn(f64) -> f64) {
        let started = (waiting(self.placed) - waiting(before)).max(0.0);
        self.placed = self.placed.max(before);
        for bet in &mut self.bets {
            let wealth = ln_add(bet.wealth.ln(), started.ln());
            bet.wealth = Nats::new(wealth + ln_return(bet.tilt()));
        }
    }

    /// The whole wealth, as a natural logarithm.
    pub(super) fn ln(&self) -> f64 {
        let share = -(self.bets.len().max(1) as f64).ln();
        let waiting = waiting(self.placed).ln();
        self.bets.iter().fold(waiting, |sum, bet| ln_add(sum, share + bet.wealth.ln()))
    }

    /// About how many more canary requests it takes to a wealth of `e^goal`, if each of them returns what `ln_return`
    /// tells for a tilt; none if it is not to be expected.
    pub(super) fn requests_to(&self, goal: f64, ln_return: impl Fn(f64) -> f64) -> Option<f64> {
        let share = -(self.bets.len().max(1) as f64).ln();
        let of_bet = |bet: &Bet| {
            let rise = ln_return(bet.tilt());
            let missing = (goal - share - bet.wealth.ln()).max(0.0);
            (rise > 0.0).then(|| missing / rise)
        };
        self.bets.iter().filter_map(of_bet).min_by(f64::total_cmp)
    }
}

impl Bet {
    fn tilt(&self) -> f64 {
        f64::from(self.tilt_milli) / 1000.0
    }
}

/// The share of the wealth that starts to bet after `requests` of the canary. It depends on no error, as it must.
fn waiting(requests: u64) -> f64 {
    (1.0 - AT_ONCE) / (1.0 + requests as f64 / HALF_STARTED)
}

/// ln(e^a + e^b), also where one of them is the logarithm of nothing.
pub(super) fn ln_add(a: f64, b: f64) -> f64 {
    let (less, more) = if a < b { (a, b) } else { (b, a) };
    if less == f64::NEG_INFINITY { more } else { more + (less - more).exp().ln_1p() }
}
