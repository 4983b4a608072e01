//! What is often done instead: a test that is made to be done once, done at each look.

use engine::judge::Look;

/// Whether a one-sided z-test of two proportions has a p-value below 1 %, once both sides have 30 requests.
pub(crate) fn z_test_alarms(look: &Look) -> bool {
    let (n, x) = (look.canary.requests as f64, look.canary.errors as f64);
    let (m, y) = (look.baseline.requests as f64, look.baseline.errors as f64);
    let pooled = (x + y) / (n + m);
    let deviation = (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
    n >= 30.0 && m >= 30.0 && x / n - y / m > 2.326_348 * deviation
}

/// Whether Fisher's exact one-sided test has a p-value below 1 %.
pub(crate) fn fisher_alarms(look: &Look) -> bool {
    let (n, x) = (look.canary.requests, look.canary.errors);
    let (m, k) = (look.baseline.requests, x + look.baseline.errors);
    if k == 0 || x as f64 * (n + m) as f64 <= k as f64 * n as f64 {
        return false;
    }
    let step = |x: u64| {
        let over = (n - x) as f64 * (k - x) as f64;
        over / ((x + 1) as f64 * (m + x + 1 - k) as f64)
    };
    // Relative to the chance of x errors: of more, and of less.
    let (mut term, mut tail) = (1.0, 1.0);
    for x in x..k.min(n) {
        term *= step(x);
        tail += term;
        if term < tail * 1e-9 {
            break;
        }
    }
    let (mut term, mut all) = (1.0, tail);
    for x in (k.saturating_sub(m)..x).rev() {
        term /= step(x);
        all += term;
        // Terms first grow, up to the mode.
        if tail < 0.01 * all || term < all * 1e-9 {
            break;
        }
    }
    tail < 0.01 * all
}
