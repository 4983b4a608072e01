//! The arithmetic, exactly, on cases small enough to add up all that can happen. What the whole does with traffic is in
//! `tests/judge.rs`.

use proptest::prelude::*;

use super::*;

fn counts(requests: u64, errors: u64) -> Counts {
    Counts { requests, errors, slow: 0 }
}

fn look(canary: (u64, u64), baseline: (u64, u64)) -> Look {
    Look { canary: counts(canary.0, canary.1), baseline: counts(baseline.0, baseline.1) }
}

fn judged_by(errors: Margin, looks: &[Look]) -> Judge {
    let mut judge = Judge::new(Terms::new(0.01, 0.05, errors, None).unwrap());
    for look in looks {
        judge.fold(look);
    }
    judge
}

fn judged(looks: &[Look]) -> Judge {
    judged_by(Margin::default(), looks)
}

/// `count` looks, each with as many more requests and errors.
fn steady(count: u64, canary: (u64, u64), baseline: (u64, u64)) -> Vec<Look> {
    let times = |(requests, errors), by| (requests * by, errors * by);
    (1..=count).map(|by| look(times(canary, by), times(baseline, by))).collect()
}

fn with_odds(rate: f64, factor: f64) -> f64 {
    let odds = factor * rate / (1.0 - rate);
    odds / (1.0 + odds)
}

#[test]
fn a_version_that_fails_more_often_is_worse_and_says_in_what() {
    let Verdict::Worse { measure, evidence } = judged(&steady(10, (10, 2), (90, 1))).verdict()
    else {
        panic!("not worse");
    };
    assert_eq!(measure, Measure::Errors);
    assert!(evidence >= 100.0);
}

#[test]
fn slow_requests_alone_make_a_version_worse() {
    let terms = Terms::new(0.01, 0.05, Margin::default(), Some(Margin::default())).unwrap();
    let mut judge = Judge::new(terms);
    for by in 1..=40 {
        let canary = Counts { requests: 10 * by, errors: 0, slow: 3 * by };
        judge.fold(&Look {
            canary,
            baseline: Counts { requests: 90 * by, errors: 0, slow: 3 * by },
        });
    }
    assert!(matches!(judge.verdict(), Verdict::Worse { measure: Measure::Slow, .. }));
}

#[test]
fn two_measures_divide_a_wealth_of_one() {
    let both = Terms::new(0.01, 0.05, Margin::default(), Some(Margin::default())).unwrap();
    let mut judge = Judge::new(both);
    assert!(judge.ln_worse().abs() < 1e-6, "{}", judge.ln_worse());
    let look = look((100, 4), (100, 0));
    judge.fold(&look);
    let of_errors = judged(&[look]).ln_worse().exp();
    assert!((judge.ln_worse().exp() - f64::midpoint(of_errors, 1.0)).abs() < 1e-6);
}

#[test]
fn two_ways_to_be_acceptable_divide_a_wealth_of_one() {
    let either = Margin { plus: 0.01, ..Margin::default() };
    let ln = Comparison::new(&either).ln_fine();
    assert!(ln.abs() < 1e-6, "{ln}");
}

#[test]
fn a_version_must_be_acceptable_in_both_measures() {
    let terms = Terms::new(0.01, 0.05, Margin::default(), Some(Margin::default())).unwrap();
    let mut judge = Judge::new(terms);
    for by in 1..=500 {
        judge.fold(&look((100 * by, by), (100 * by, by)));
    }
    assert!(judge.errors.is_fine(goal(0.05)));
    assert_eq!(judge.verdict(), Verdict::Undecided { more_requests: None });
}

#[test]
fn a_version_that_was_worse_stays_so() {
    let mut looks = steady(10, (10, 2), (90, 1));
    looks.push(look((10_000, 20), (90_000, 10_000)));
    assert!(matches!(judged(&looks).verdict(), Verdict::Worse { .. }));
}

#[test]
fn a_version_like_the_baseline_is_no_worse_in_the_end() {
    assert_eq!(judged(&steady(400, (100, 1), (100, 1))).verdict(), Verdict::NoWorse);
}

#[test]
fn without_errors_there_is_nothing_to_compare() {
    let undecided = Verdict::Undecided { more_requests: None };
    assert_eq!(judged(&[]).verdict(), undecided);
    assert_eq!(judged(&steady(1000, (100, 0), (100, 0))).verdict(), undecided);
}

#[test]
fn without_errors_a_version_is_no_worse_if_some_would_be_allowed() {
    let margin = Margin { plus: 0.01, ..Margin::default() };
    let clean = |count| judged_by(margin, &steady(count, (10, 0), (10, 0))).verdict();
    assert_eq!(clean(100), Verdict::NoWorse);
    let Verdict::Undecided { more_requests: Some(more) } = clean(20) else { panic!("decided") };
    assert!((250..=800).contains(&more), "{more} more");
}

#[test]
fn a_side_without_requests_waits_for_the_other() {
    let one_sided = judged(&[look((100, 50), (0, 0))]);
    assert_eq!(one_sided.verdict(), Verdict::Undecided { more_requests: None });
    let mut both = one_sided;
    both.fold(&look((100, 50), (100, 0)));
    assert_eq!(both.errors, judged(&[look((100, 50), (100, 0))]).errors);
    assert!(both.is_worse());
}

#[test]
fn a_known_rate_needs_no_baseline() {
    let margin = Margin { baseline: Baseline::Known { rate: 0.01 }, ..Margin::default() };
    assert!(judged_by(margin, &steady(10, (10, 1), (0, 0))).is_worse());
    assert!(judged_by(margin, &steady(100, (100, 1), (0, 0))).is_no_worse());
}

#[test]
fn a_factor_and_a_rate_of_its_own_are_tolerated() {
    let looks = steady(200, (100, 3), (100, 1));
    assert!(judged(&looks).is_worse());
    let threefold = Margin { factor: 3.1, unacceptable: 6.0, ..Margin::default() };
    assert!(!judged_by(threefold, &looks).is_worse());
    assert!(!judged_by(Margin { plus: 0.02, ..Margin::default() }, &looks).is_worse());
    let looks = steady(200, (100, 12), (100, 1));
    assert!(judged_by(threefold, &looks).is_worse());
    assert!(judged_by(Margin { plus: 0.02, ..Margin::default() }, &looks).is_worse());
}

/// The mean over all outcomes of a block of what a bet returns, where requests fail with these probabilities.
fn mean(n: u64, m: u64, canary: f64, baseline: f64, margin: &Margin, bet: Bet<'_>) -> f64 {
    let mut mean = 0.0;
    for x in 0..=n {
        for y in 0..=m {
            let chance = binomial(n, x, canary) * binomial(m, y, baseline);
            let (canary, baseline) = (Side { requests: n, bad: x }, Side { requests: m, bad: y });
            mean += chance * bet(&Block { canary, baseline }, margin).exp();
        }
    }
    mean
}

type Bet<'a> = &'a dyn Fn(&Block, &Margin) -> f64;

fn binomial(n: u64, x: u64, rate: f64) -> f64 {
    let ways: f64 = (0..x).map(|i| (n - i) as f64 / (i + 1) as f64).product();
    ways * rate.powf(x as f64) * (1.0 - rate).powf((n - x) as f64)
}

#[test]
fn no_bet_gains_on_average_while_its_hypothesis_is_true() {
    for (n, m) in [(1, 1), (1, 9), (7, 2), (5, 5), (20, 3)] {
        for rate in [0.001, 0.05, 0.3, 0.8] {
            for (factor, plus) in [(1.0, 0.0), (1.5, 0.0), (1.0, 0.02), (2.0, 0.3)] {
                for baseline in [Baseline::Measured, Baseline::Known { rate }] {
                    let margin = Margin { baseline, factor, plus, unacceptable: 3.0 };
                    hold_bets_to_their_hypothesis(n, m, rate, &margin);
                }
            }
        }
    }
}

fn hold_bets_to_their_hypothesis(n: u64, m: u64, rate: f64, margin: &Margin) {
    let by_factor = with_odds(rate, margin.factor);
    let edge = by_factor + margin.plus * (1.0 - by_factor);
    for tilt in [1.3, 5.0, 30.0] {
        let bet: Bet<'_> = &|block, margin| comparison::ln_worse(block, margin, tilt);
        let at_edge = mean(n, m, edge, rate, margin, bet);
        assert!(at_edge < 1.0 + 1e-9, "{n}:{m} {rate} {margin:?} {tilt}: {at_edge}");
        assert!(margin.plus > 0.0 || at_edge > 1.0 - 1e-9, "a fair bet loses: {at_edge}");
        assert!(mean(n, m, edge / 2.0, rate, margin, bet) < 1.0 + 1e-9);
        let worse = mean(n, m, (edge * 1.5).min(0.99), rate, margin, bet);
        assert!(worse > at_edge, "a bet on worse gains nothing by worse");
    }
    for tilt in [0.75, 0.1] {
        let bet: Bet<'_> = &|block, margin| comparison::ln_better(block, margin, tilt);
        let edge = with_odds(rate, margin.unacceptable);
        let at_edge = mean(n, m, edge, rate, margin, bet);
        assert!((at_edge - 1.0).abs() < 1e-9, "{n}:{m} {rate} {margin:?} {tilt}: {at_edge}");
        assert!(mean(n, m, edge + 0.5 * (1.0 - edge), rate, margin, bet) < 1.0 + 1e-9);
        assert!(mean(n, m, edge / 2.0, rate, margin, bet) > 1.0);
        let low: Bet<'_> = &|block, margin| comparison::ln_low(block, margin, tilt);
        assert!(mean(n, m, margin.plus, rate, margin, low) < 1.0 + 1e-9);
    }
}

#[test]
fn wealth_divided_among_bets_is_one_on_average_after_every_block() {
    // A fair coin: a bet returns its tilt, or what makes that 1 on average.
    for rounds in 1..=10u64 {
        let paths = 1u32 << rounds;
        let of_path = |path: u32| {
            let mut evidence = evidence::Evidence::new(&[500, 1_300, 1_800]);
            for round in 0..rounds {
                let heads = (path >> round) & 1 == 1;
                let ln_return = |tilt: f64| if heads { tilt.ln() } else { (2.0 - tilt).ln() };
                evidence.pay(round * 700, ln_return);
            }
            evidence.ln().exp()
        };
        let mean = (0..paths).map(of_path).sum::<f64>() / f64::from(paths);
        assert!((1.0 - 1e-6..=1.0 + 1e-12).contains(&mean), "{mean} after {rounds}");
    }
}

#[test]
fn great_blocks_are_summed_as_exactly_as_small_ones() {
    // With few canary requests among very many, the conditional law is nearly binomial.
    let side = |requests, bad| Side { requests, bad };
    let block = Block { canary: side(1_000, 30), baseline: side(4_000_000_000, 40_000_000) };
    let exact = chance::ln_mean(&block, Baseline::Measured, 1.0, 3.0);
    assert!((exact - chance::ln_mean_own(&block, 0.01, 3.0)).abs() < 1e-3, "{exact}");
    // And with a tilt of 1 nothing is tilted, whatever the size.
    for (n, m, x, y) in [(5, 9, 3, 2), (400, 90_000, 17, 5_000), (70_000, 80, 60_000, 79)] {
        let block = Block { canary: side(n, x), baseline: side(m, y) };
        let (flat, up, down) = (1.0, 2.0, 0.5);
        let mean = |odds, tilt| chance::ln_mean(&block, Baseline::Measured, odds, tilt);
        assert!(mean(1.7, flat).abs() < 1e-9);
        assert!((mean(1.0, up) + mean(2.0, down)).abs() < 1e-9);
        assert!(mean(1.0, up) > 0.0 && mean(1.0, down) < 0.0);
    }
}

#[test]
fn a_forecast_is_near_to_what_it_takes() {
    for (canary, baseline) in [((10, 2), (90, 6)), ((100, 1), (100, 1)), ((5, 1), (95, 5))] {
        let decided = |count| judged(&steady(count, canary, baseline)).verdict();
        let undecided = |verdict| matches!(verdict, Verdict::Undecided { .. });
        let takes = (1..5_000).find(|&count| !undecided(decided(count))).unwrap() * canary.0;
        let halfway = takes / canary.0 / 2;
        let Verdict::Undecided { more_requests: Some(more) } = decided(halfway) else {
            panic!("no forecast for {canary:?}");
        };
        let really = takes - halfway * canary.0;
        assert!(more >= really / 2 && more <= really * 2, "{more} forecast, {really} needed");
    }
}

#[test]
fn a_look_that_cannot_be_changes_nothing() {
    let before = judged(&steady(5, (10, 1), (10, 1)));
    let too_many = REQUESTS_MAX + 1;
    for impossible in [
        look((60, 61), (60, 5)),
        look((60, 5), (60, 61)),
        look((too_many, 5), (60, 5)),
        Look { canary: Counts { requests: 60, errors: 5, slow: 61 }, ..*before.seen() },
    ] {
        let mut judge = before.clone();
        assert!(!judge.fold(&impossible), "{impossible:?}");
        assert_eq!(judge, before);
    }
}

#[test]
fn errors_that_are_counted_after_their_requests_are_not_taken_for_a_block() {
    let mut judge = judged(&[look((100, 0), (100, 0)), look((102, 50), (102, 0))]);
    assert!(!judge.is_worse(), "50 errors of 2 requests");
    judge.fold(&look((200, 50), (200, 0)));
    assert_eq!(
        judge.errors.ln_worse(),
        judged(&[look((100, 0), (100, 0)), look((200, 50), (200, 0))]).errors.ln_worse()
    );
}

#[test]
fn terms_out_of_their_limits_are_refused() {
    let known = |rate| Margin { baseline: Baseline::Known { rate }, ..Margin::default() };
    for margin in [
        known(0.0),
        known(f64::NAN),
        Margin { factor: 0.9, ..Margin::default() },
        Margin { plus: -0.1, ..Margin::default() },
        Margin { factor: 2.0, ..Margin::default() },
        Margin { unacceptable: f64::INFINITY, ..Margin::default() },
    ] {
        assert!(Terms::new(0.01, 0.05, margin, None).is_err(), "{margin:?}");
        assert!(Terms::new(0.01, 0.05, Margin::default(), Some(margin)).is_err(), "{margin:?}");
    }
    for chance in [0.0, 1.0, f64::NAN] {
        assert!(Terms::new(chance, 0.05, Margin::default(), None).is_err());
        assert!(Terms::new(0.01, chance, Margin::default(), None).is_err());
    }
    let stored = r#"{"alpha":0.01,"beta":2,"errors":{}}"#;
    let error = serde_json::from_str::<Terms>(stored).unwrap_err().to_string();
    assert!(error.starts_with("`beta` is 2, and must be from 0.000001 to 0.5"), "{error}");
}

/// Looks in an order in which counts may fall.
fn looks() -> impl Strategy<Value = Vec<Look>> {
    let counts = || {
        (0..5_000u64, 0..300u64, 0..300u64).prop_map(|(more, errors, slow)| Counts {
            requests: errors.max(slow) + more,
            errors,
            slow,
        })
    };
    let look = (counts(), counts()).prop_map(|(canary, baseline)| Look { canary, baseline });
    prop::collection::vec(look, 1..40)
}

fn terms() -> impl Strategy<Value = Terms> {
    let margin = (1.0..100.0f64, 0.0..0.5f64, 1.1..10.0f64, prop::option::of(1e-6..0.99f64));
    let margin = margin.prop_map(|(factor, plus, by, rate)| Margin {
        baseline: rate.map_or(Baseline::Measured, |rate| Baseline::Known { rate }),
        factor,
        plus: if plus < 0.25 { 0.0 } else { plus },
        unacceptable: by * factor,
    });
    (margin.clone(), prop::option::of(margin))
        .prop_map(|(errors, slow)| Terms::new(0.01, 0.05, errors, slow).unwrap())
}

proptest! {
    #[test]
    fn looks_that_come_late_or_twice_change_nothing(looks in looks(), terms in terms()) {
        let mut judge = Judge::new(terms);
        let mut folded: Vec<Look> = vec![];
        for look in looks {
            if judge.fold(&look) {
                folded.push(look);
            }
            let before = judge.clone();
            for earlier in &folded {
                prop_assert!(!judge.fold(earlier));
            }
            prop_assert_eq!(&judge, &before);
        }
    }

    #[test]
    fn a_judge_that_was_stored_after_each_look_is_the_same(looks in looks(), terms in terms()) {
        let (mut kept, mut stored) = (Judge::new(terms), Judge::new(terms));
        for look in looks {
            kept.fold(&look);
            stored.fold(&look);
            let json = serde_json::to_string(&stored).unwrap();
            prop_assert!(json.len() < 3_000, "{} bytes", json.len());
            stored = serde_json::from_str(&json).unwrap();
            // Terms are as they were written; what serde_json reads of a float may be off in its last place.
            stored.terms = terms;
        }
        prop_assert_eq!(kept, stored);
    }

    #[test]
    fn every_number_that_is_told_is_one(looks in looks(), terms in terms()) {
        let mut judge = Judge::new(terms);
        for look in looks {
            judge.fold(&look);
            if let Verdict::Worse { evidence, .. } = judge.verdict() {
                prop_assert!(evidence.is_finite() && evidence >= 1.0);
            }
            prop_assert!(judge.ln_worse().is_finite());
        }
        let most = Counts { requests: REQUESTS_MAX, errors: REQUESTS_MAX, slow: REQUESTS_MAX };
        judge.fold(&Look { canary: most, baseline: Counts { errors: 300, slow: 300, ..most } });
        prop_assert!(judge.ln_worse().is_finite());
        let none = Verdict::Undecided { more_requests: Some(0) };
        prop_assert_ne!(judge.verdict(), none);
    }
}
