//! `cargo run --release -p engine --example judge -- [RUNS]`: how often the judge is wrong and how soon it is right, on
//! traffic that is made up; prints the tables of `docs/judge.md` and draws `docs/judge.svg`.
#![expect(clippy::print_stdout, reason = "it is a command line tool")]

mod naive;
mod plot;
mod world;

use std::error::Error;
use std::path::Path;
use std::thread;

use engine::judge::{Judge, Margin, Terms};
use plotters::style::RGBColor;

use plot::Curve;
use world::{Scene, Truth};

const SHARES: [f64; 3] = [0.01, 0.1, 0.5];
const RATES: [f64; 3] = [0.001, 0.01, 0.05];

/// Long enough for the slowest of all cases.
const UNTIL_FOUND: u64 = 100_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let runs = std::env::args().nth(1).map_or(Ok(10_000), |runs| runs.parse())?;
    let alarms = false_alarms(runs)?;
    let found = speed(runs.div_ceil(5))?;
    late(runs.div_ceil(5))?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/judge.svg");
    plot::draw(&path, &alarms, &found)
}

/// Prints how often canaries that are as good as the baseline are called worse.
fn false_alarms(runs: u64) -> Result<Vec<Curve>, Box<dyn Error>> {
    println!("{runs} runs of 20,000 requests, canary as good as the baseline; % of runs\n");
    println!(
        "| Canary's share | Error rate | Judge: worse | Fisher's test at each look | z-test at each look |"
    );
    println!("|---|---|---|---|---|");
    let mut curves = vec![];
    for share in SHARES {
        for rate in RATES {
            let truth = move |_| Truth::new(share, rate, 1.0);
            let scene = Scene { requests: 20_000, every: 1, truth };
            let alarms = all_alarms(&scene, Terms::default(), runs)?;
            row(&format!("{} % | {} %", share * 100.0, rate * 100.0), &alarms, runs);
            if (share, rate) == (0.1, 0.01) {
                curves = alarm_curves(&alarms);
            }
        }
    }
    let both = Terms::new(0.01, 0.05, Margin::default(), Some(Margin::default()))?;
    let truth = |_| Truth::new(0.1, 0.01, 1.0);
    let each = Scene { requests: 20_000, every: 1, truth };
    row("10 % | 1 %, and 1 % slow", &all_alarms(&each, both, runs)?, runs);
    let blocks = Scene { requests: 20_000, every: 500, truth };
    row("10 % | 1 %, looked at every 500", &all_alarms(&blocks, Terms::default(), runs)?, runs);
    row(
        "10 % | 0.1 %, in an outage 20 %",
        &all_alarms(&Scene::OUTAGE, Terms::default(), runs)?,
        runs,
    );
    row("1, 10, 50 % | 0.1, 0.3, 1 %", &all_alarms(&Scene::RAMP, Terms::default(), runs)?, runs);
    Ok(curves)
}

fn row(name: &str, alarms: &[[Option<u64>; 3]], runs: u64) {
    print!("| {name} |");
    for way in 0..3 {
        let count =
            alarms.iter().filter(|alarms| alarms.get(way).is_some_and(Option::is_some)).count();
        print!(" {:.2} |", 100.0 * count as f64 / runs as f64);
    }
    println!();
}

/// In how many requests the judge, Fisher's test and the z-test first alarmed, for each run.
fn all_alarms<T: Fn(u64) -> Truth + Sync>(
    scene: &Scene<T>,
    terms: Terms,
    runs: u64,
) -> Result<Vec<[Option<u64>; 3]>, Box<dyn Error>> {
    each_seed(runs, |seed| {
        let mut judge = Judge::new(terms);
        let (mut errors, mut alarms) = (0, [None; 3]);
        scene.play(seed, |look| {
            judge.fold(look);
            let [worse, fisher, z] = &mut alarms;
            let now = Some(look.canary.requests + look.baseline.requests);
            if worse.is_none() && judge.is_worse() {
                *worse = now;
            }
            // Only an error of the canary lets a p-value fall.
            if look.canary.errors > errors {
                errors = look.canary.errors;
                if fisher.is_none() && naive::fisher_alarms(look) {
                    *fisher = now;
                }
            }
            if z.is_none() && naive::z_test_alarms(look) {
                *z = now;
            }
            alarms.contains(&None)
        });
        alarms
    })
}

fn alarm_curves(alarms: &[[Option<u64>; 3]]) -> Vec<Curve> {
    let names = [
        ("judge", RGBColor(0x1b, 0x7f, 0x4b)),
        ("Fisher's exact test at each look", RGBColor(0xc9, 0x7b, 0x12)),
        ("z-test at each look", RGBColor(0xb3, 0x2d, 0x2d)),
    ];
    let curve = |(way, (name, color)): (usize, (&str, RGBColor))| {
        let times = alarms.iter().filter_map(|alarms| alarms.get(way).copied().flatten()).collect();
        Curve { name: name.to_owned(), color, times, runs: alarms.len() }
    };
    names.into_iter().enumerate().map(curve).collect()
}

/// Prints how many canary requests it takes to find canaries that are worse, and to accept those that are not.
fn speed(runs: u64) -> Result<Vec<Curve>, Box<dyn Error>> {
    println!("\n{runs} runs until a verdict; canary requests until then: median, 90 %\n");
    println!(
        "| Canary's share | Error rate | Tenfold: worse | Twofold: worse | Twofold: no worse, % | As good: no worse |"
    );
    println!("|---|---|---|---|---|---|");
    let (mut curves, mut slower) = (vec![], vec![]);
    for share in SHARES {
        for rate in RATES {
            let scene = |times| {
                let truth = move |_| Truth::new(share, rate, times);
                Scene { requests: UNTIL_FOUND, every: 1, truth }
            };
            let terms = Terms::default();
            let tenfold = each_seed(runs, |seed| scene(10.0).worse_after(terms, seed))?;
            let twofold = each_seed(runs, |seed| scene(2.0).worse_after(terms, seed))?;
            let wrong = each_seed(runs, |seed| accepted_first(&scene(2.0), seed))?;
            let wrong = wrong.iter().filter(|&&wrong| wrong).count();
            let fine = each_seed(runs, |seed| scene(1.0).no_worse_after(terms, seed))?;
            println!(
                "| {} % | {} % | {} | {} | {:.1} | {} |",
                share * 100.0,
                rate * 100.0,
                quantiles(&tenfold),
                quantiles(&twofold),
                100.0 * wrong as f64 / runs as f64,
                quantiles(&fine),
            );
            if share == 0.1 {
                curves.push(found_curve(rate, 10.0, tenfold));
                slower.push(found_curve(rate, 2.0, twofold));
            }
        }
    }
    curves.append(&mut slower);
    Ok(curves)
}

/// Whether the canary is called no worse before it is called worse.
fn accepted_first<T: Fn(u64) -> Truth>(scene: &Scene<T>, seed: u64) -> bool {
    let mut judge = Judge::new(Terms::default());
    scene.play(seed, |look| {
        judge.fold(look);
        !judge.is_worse() && !judge.is_no_worse()
    });
    judge.is_no_worse()
}

fn found_curve(rate: f64, times: f64, found: Vec<Option<u64>>) -> Curve {
    let color = match (rate, times > 5.0) {
        (0.001, true) => RGBColor(0x1f, 0x4e, 0x9c),
        (0.001, false) => RGBColor(0x8f, 0xb0, 0xe0),
        (0.01, true) => RGBColor(0x1b, 0x7f, 0x4b),
        (0.01, false) => RGBColor(0x88, 0xc4, 0xa2),
        (_, true) => RGBColor(0xb3, 0x2d, 0x2d),
        (_, false) => RGBColor(0xe3, 0x9a, 0x9a),
    };
    let percent = |rate: f64| (1000.0 * rate).round() / 10.0;
    let name = format!("{} %, not {} %", percent(rate * times), percent(rate));
    Curve { name, color, runs: found.len(), times: found.into_iter().flatten().collect() }
}

/// Prints how soon a canary is found that becomes ten times as bad after it was good for long.
fn late(runs: u64) -> Result<(), Box<dyn Error>> {
    println!(
        "\n{runs} runs, share 50 %, rate 1 %, tenfold from some request on; canary requests from then\n"
    );
    println!("| Good before, canary requests | Worse: median, 90 % |\n|---|---|");
    for good in [0, 1_000, 10_000, 100_000] {
        let truth = |request| Truth::new(0.5, 0.01, if request < 2 * good { 1.0 } else { 10.0 });
        let scene = Scene { requests: UNTIL_FOUND, every: 1, truth };
        let found = each_seed(runs, |seed| {
            scene.worse_after(Terms::default(), seed).map(|after| after.saturating_sub(good))
        })?;
        println!("| {good} | {} |", quantiles(&found));
    }
    Ok(())
}

/// The median and the 90 % quantile.
fn quantiles(found: &[Option<u64>]) -> String {
    let mut times: Vec<u64> = found.iter().map(|time| time.unwrap_or(u64::MAX)).collect();
    times.sort_unstable();
    let at = |tenths: usize| times.get(times.len() * tenths / 10).map_or(0, |&time| time);
    format!("{}, {}", at(5), at(9))
}

/// Runs `run` for each seed, on two cores.
fn each_seed<R: Send>(runs: u64, run: impl Fn(u64) -> R + Sync) -> Result<Vec<R>, Box<dyn Error>> {
    let half = |first: u64| (first..runs).step_by(2).map(&run).collect::<Vec<R>>();
    thread::scope(|scope| {
        let other = scope.spawn(|| half(1));
        let mut all = half(0);
        all.extend(other.join().map_err(|_| "a run panicked")?);
        Ok(all)
    })
}
