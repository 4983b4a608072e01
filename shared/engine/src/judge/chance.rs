//! What the counts of a block would be by chance: the mean of `tilt^errors` over the canary's errors, if canary and
//! baseline stood in a given proportion. `tilt^errors` divided by that mean is what a bet of one returns.

use super::block::Block;
use super::terms::Baseline;

/// The mean of `tilt^x` over the canary's errors `x` of a block whose canary has `odds` times the odds of its baseline,
/// as a natural logarithm.
///
/// With a measured baseline all is conditional on the totals of the block, so that `x` is (Fisher's noncentral)
/// hypergeometric, whatever the rates of the two are.
pub(super) fn ln_mean(block: &Block, baseline: Baseline, odds: f64, tilt: f64) -> f64 {
    match baseline {
        Baseline::Measured => ln_sum(block, odds * tilt) - ln_sum(block, odds),
        Baseline::Known { rate } => {
            let odds = odds * rate / (1.0 - rate);
            ln_mean_own(block, odds / (1.0 + odds), tilt)
        }
    }
}

/// The same for canary requests that fail with probability `rate`, whatever the baseline does.
pub(super) fn ln_mean_own(block: &Block, rate: f64, tilt: f64) -> f64 {
    block.canary.requests as f64 * (rate * (tilt - 1.0)).ln_1p()
}

/// ln Σ C(n, x) C(m, k − x) odds^x over all x that are possible with n canary and m baseline requests and k errors, less
/// what does not depend on `odds`.
///
/// Terms are added from the greatest one outwards until they no longer count, so the work grows with the root of k.
fn ln_sum(block: &Block, odds: f64) -> f64 {
    let (n, m) = (block.canary.requests, block.baseline.requests);
    let k = block.canary.bad + block.baseline.bad;
    match k {
        0 => return 0.0,
        // Nearly every block at low traffic.
        1 => return (m as f64 + n as f64 * odds).ln(),
        _ => {}
    }
    let (least, most) = (k.saturating_sub(m), k.min(n));
    // How much greater the term after x is than that of x; falls with x.
    let step = |x: u64| {
        let over = (n - x) as f64 * (k - x) as f64 * odds;
        over / ((x + 1) as f64 * (m + x + 1 - k) as f64)
    };
    let greatest = greatest(least, most, step);
    let mut sum = 1.0;
    let mut term = 1.0;
    for x in greatest..most {
        term *= step(x);
        sum += term;
        if term < sum * NEGLIGIBLE {
            break;
        }
    }
    term = 1.0;
    for x in (least..greatest).rev() {
        term /= step(x);
        sum += term;
        if term < sum * NEGLIGIBLE {
            break;
        }
    }
    let x = greatest;
    let ways = ln_choose(n, x) + ln_choose(m, k - x);
    ways + x as f64 * odds.ln() + sum.ln()
}

/// Below the precision of the sum.
const NEGLIGIBLE: f64 = 1e-18;

/// The least x in `least..=most` from which terms grow no more.
fn greatest(least: u64, most: u64, step: impl Fn(u64) -> f64) -> u64 {
    let (mut low, mut high) = (least, most);
    while low < high {
        let middle = low + (high - low) / 2;
        if step(middle) > 1.0 {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// ln C(n, x), to about 1e-5 at the greatest counts that are folded, and to 1e-10 below a hundred thousand.
fn ln_choose(n: u64, x: u64) -> f64 {
    ln_factorial(n) - ln_factorial(x) - ln_factorial(n - x)
}

/// ln n!, by Stirling's series; its first term left out is below 1e-13 from n = 16 on.
fn ln_factorial(n: u64) -> f64 {
    if n < 16 {
        return (2..=n).map(|factor| factor as f64).product::<f64>().ln();
    }
    let n = n as f64;
    let inverse = 1.0 / n;
    let square = inverse * inverse;
    let series =
        inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0)));
    (n + 0.5) * n.ln() - n + 0.5 * (2.0 * std::f64::consts::PI).ln() + series
}
