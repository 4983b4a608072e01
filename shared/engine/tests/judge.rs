//! What the judge does with traffic that is made up. Seeds are fixed, so a number that is out of its bounds is not bad
//! luck. `docs/judge.md` has the same in large.
#![expect(clippy::indexing_slicing, reason = "a helper of tests")]

#[path = "../examples/judge/world.rs"]
mod world;

use engine::judge::{Baseline, Judge, Margin, Terms};

use world::{Scene, Truth};

const SHARES: [f64; 3] = [0.01, 0.1, 0.5];
const RATES: [f64; 3] = [0.001, 0.01, 0.05];

/// A canary that fails `times` as often, looked at after each request.
fn steady(share: f64, rate: f64, times: f64) -> Scene<impl Fn(u64) -> Truth> {
    let truth = move |_| Truth::new(share, rate, times);
    Scene { requests: 20_000, every: 1, truth }
}

/// How many percent of so many runs call the canary worse.
fn percent_worse<T: Fn(u64) -> Truth>(scene: &Scene<T>, terms: Terms, runs: u64) -> f64 {
    let worse = (0..runs).filter(|&seed| scene.worse_after(terms, seed).is_some()).count();
    100.0 * worse as f64 / runs as f64
}

#[test]
fn a_good_canary_is_hardly_ever_called_worse_however_often_it_is_looked_at() {
    let mut sum = 0.0;
    for share in SHARES {
        for rate in RATES {
            let percent = percent_worse(&steady(share, rate, 1.0), Terms::default(), 200);
            // Of 200 runs, 7 are wrong with a chance of 0.5 % if one in a hundred is on average.
            assert!(percent < 3.5, "{percent} % with a share of {share}, a rate of {rate}");
            sum += percent;
        }
    }
    let mean = sum / 9.0;
    assert!(mean < 1.0, "{mean} % on average");
    assert!(mean > 0.1, "{mean} % on average: so careful that it must be slow");
}

#[test]
fn two_measures_share_the_chance_of_a_false_alarm() {
    let terms = Terms::new(0.05, 0.05, Margin::default(), Some(Margin::default())).unwrap();
    let percent = percent_worse(&steady(0.1, 0.02, 1.0), terms, 400);
    assert!((0.5..5.0).contains(&percent), "{percent} %");
}

#[test]
fn looks_at_blocks_of_any_size_are_as_safe() {
    for every in [7, 100, 5_000] {
        let terms = Terms::new(0.1, 0.05, Margin::default(), None).unwrap();
        let scene = Scene { every, ..steady(0.1, 0.02, 1.0) };
        let percent = percent_worse(&scene, terms, 300);
        assert!(percent > 0.0 && percent < 10.0, "{percent} % looked at every {every}");
    }
}

#[test]
fn what_hits_both_versions_alike_is_no_fault_of_the_canary() {
    let terms = Terms::new(0.1, 0.05, Margin::default(), None).unwrap();
    for scene in [Scene::RAMP, Scene::OUTAGE] {
        let percent = percent_worse(&scene, terms, 300);
        assert!((0.5..10.0).contains(&percent), "{percent} %");
    }
}

#[test]
fn a_tolerated_difference_is_no_alarm_and_a_greater_one_is() {
    let factor = Margin { factor: 2.0, unacceptable: 4.0, ..Margin::default() };
    let plus = Margin { plus: 0.01, ..Margin::default() };
    let known = Margin { baseline: Baseline::Known { rate: 0.02 }, ..Margin::default() };
    for (margin, tolerated) in [(factor, 1.99), (plus, 2.0), (known, 1.0)] {
        let terms = Terms::new(0.1, 0.05, margin, None).unwrap();
        let rate = if margin == known { 0.02 } else { 0.01 };
        let percent = percent_worse(&steady(0.5, rate, tolerated), terms, 100);
        assert!(percent < 10.0, "{percent} % {margin:?}");
        let percent = percent_worse(&steady(0.5, rate, tolerated * 3.0), terms, 50);
        assert!(percent > 98.0, "{percent} % {margin:?}");
    }
}

#[test]
fn a_canary_that_fails_twice_as_often_is_hardly_ever_accepted() {
    let scene = steady(0.5, 0.05, 2.0);
    let accepted =
        (0..1_000).filter(|&seed| scene.no_worse_after(Terms::default(), seed).is_some()).count();
    assert!((5..50).contains(&accepted), "{accepted} of 1000");
}

/// The median and the 90 % quantile.
fn quantiles(times: impl Iterator<Item = Option<u64>>) -> (u64, u64) {
    let mut times: Vec<u64> = times.map(|time| time.unwrap_or(u64::MAX)).collect();
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 9 / 10])
}

#[test]
fn a_bad_canary_is_found_after_a_few_errors_more_than_is_usual() {
    let until_found =
        |share, rate, times| Scene { requests: 5_000_000, ..steady(share, rate, times) };
    for (share, rate, times, median, most) in [
        (0.01, 0.01, 10.0, 60, 130),
        (0.1, 0.001, 10.0, 800, 1_700),
        (0.1, 0.01, 10.0, 80, 170),
        (0.5, 0.01, 10.0, 200, 350),
        (0.1, 0.05, 2.0, 500, 1_000),
        (0.5, 0.05, 2.0, 1_000, 2_000),
    ] {
        let scene = until_found(share, rate, times);
        let found = quantiles((0..200).map(|seed| scene.worse_after(Terms::default(), seed)));
        assert!(found.0 < median && found.1 < most, "{found:?} {share} {rate} {times}");
    }
}

#[test]
fn a_canary_that_turns_bad_late_is_found_nearly_as_soon() {
    let truth = |request| Truth::new(0.5, 0.01, if request < 20_000 { 1.0 } else { 10.0 });
    let scene = Scene { requests: 40_000, every: 1, truth };
    let after =
        |seed| scene.worse_after(Terms::default(), seed).map(|at| at.saturating_sub(10_000));
    let (median, most) = quantiles((0..100).map(after));
    assert!(median < 450 && most < 800, "{median}, {most}");
}

#[test]
fn a_good_canary_is_accepted_in_the_end() {
    let scene = Scene { requests: 500_000, ..steady(0.5, 0.05, 1.0) };
    let (median, most) =
        quantiles((0..200).map(|seed| scene.no_worse_after(Terms::default(), seed)));
    assert!(median < 1_000 && most < 2_000, "{median}, {most}");
}

#[test]
fn a_judge_of_long_ago_is_as_small_as_a_new_one() {
    let terms = Terms::new(0.01, 0.05, Margin::default(), Some(Margin::default())).unwrap();
    let mut judge = Judge::new(terms);
    Scene { requests: 200_000, ..steady(0.1, 0.05, 1.0) }.play(1, |look| {
        judge.fold(look);
        true
    });
    let bytes = serde_json::to_string(&judge).unwrap().len();
    assert!(bytes < 2_500, "{bytes} bytes");
}
