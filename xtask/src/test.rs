//! `cargo xtask test`: every test there is. What one step leaves undone does not keep the next from running; the last
//! line counts what ran and names what did not.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::count::count_of;
use crate::docker::Engine;
use crate::lint::{EVERYTHING, formatting};
use crate::place::Place;
use crate::run::Command;
use crate::{cloud, functions, sam_local, template, tools};

/// How many seeds the simulator runs.
const SEEDS: u32 = 10_000;
const SEEDS_LONG: u32 = 200_000;

/// What ran so far.
struct Report {
    began: Instant,
    steps: Vec<(&'static str, Duration, bool)>,
    counts: Vec<String>,
    not_run: Vec<String>,
}

impl Report {
    fn new() -> Self {
        Self { began: Instant::now(), steps: Vec::new(), counts: Vec::new(), not_run: Vec::new() }
    }

    /// Runs a step and notes how it went.
    fn step(&mut self, name: &'static str, step: impl FnOnce() -> Result<Option<String>>) -> bool {
        println!("\n== {name}");
        let began = Instant::now();
        let done = step();
        let went_well = match done {
            Ok(count) => {
                self.counts.extend(count);
                true
            }
            Err(error) => {
                eprintln!("xtask: {name}: {error:#}");
                false
            }
        };
        self.steps.push((name, began.elapsed(), went_well));
        went_well
    }

    /// Prints the durations and the last line.
    fn close(self) -> Result<()> {
        println!();
        for (name, took, went_well) in &self.steps {
            let how = if *went_well { "ok" } else { "FAILED" };
            println!("{:>8.1} s  {how:<6}  {name}", took.as_secs_f64());
        }
        println!("{:>8.1} s  in all\n", self.began.elapsed().as_secs_f64());
        let failed: Vec<_> =
            self.steps.iter().filter(|(.., well)| !well).map(|(name, ..)| *name).collect();
        let ran = self.counts.join(", ");
        let not_run =
            if self.not_run.is_empty() { "nothing".to_owned() } else { self.not_run.join(", ") };
        if failed.is_empty() {
            println!("passed: {ran}; not run: {not_run}");
            return Ok(());
        }
        println!("FAILED: {}; passed: {ran}; not run: {not_run}", failed.join(", "));
        bail!("{} of {} steps failed", failed.len(), self.steps.len())
    }
}

/// Runs everything, with large counts if `long`.
pub(crate) fn run(long: bool) -> Result<()> {
    let place = Place::find()?;
    let mut report = Report::new();
    if !long {
        report.not_run.push("the large counts (--long)".to_owned());
    }
    if !report.step("packages", || none(tools::set_up_packages(&place))) {
        report.not_run.push("everything else: tools are missing".to_owned());
        return report.close();
    }
    report.step("formatting", || none(formatting(&place)));
    if !set_up_and_build(&place, &mut report, long) {
        return report.close();
    }
    std::thread::scope(|scope| {
        // It only computes, and the others mostly wait.
        let seeds = if long { SEEDS_LONG } else { SEEDS };
        let (place, report) = (&place, &mut report);
        let simulated = scope.spawn(move || simulate(place, seeds));
        report.step("tests", || cargo_test(place, long).map(Some));
        report.step("template", || template::check(place).map(Some));
        report.step("functions", || functions::check(place).map(Some));
        report.step("demo", || demo(place).map(Some));
        in_containers(place, report);
        report.step("simulator", || {
            let Ok(said) = simulated.join() else { bail!("it panicked") };
            println!("{}", said?);
            Ok(Some(format!("{seeds} seeds of the simulator")))
        });
    });
    report.close()
}

/// Builds everything while the Python environments are set up. Everything once and in one way, so that no crate is compiled
/// again with other features. Returns whether all is there.
fn set_up_and_build(place: &Place, report: &mut Report, long: bool) -> bool {
    std::thread::scope(|scope| {
        let set_up = scope.spawn(|| tools::set_up_python(place));
        let is_built = report.step("clippy and build", || none(build(place, long)));
        let is_set_up = report.step("Python environments", || match set_up.join() {
            Ok(done) => none(done),
            Err(_) => bail!("setting them up panicked"),
        });
        let missing = [(is_built, "it does not build"), (is_set_up, "tools are missing")];
        let missing = missing.iter().filter(|(is_there, _)| !is_there);
        report.not_run.extend(missing.map(|(_, why)| format!("everything else: {why}")));
        is_built && is_set_up
    })
}

/// Runs only what needs a Docker engine, which must be there.
pub(crate) fn run_cloud() -> Result<()> {
    let place = Place::find()?;
    let mut report = Report::new();
    report.not_run.push("everything else (cargo xtask test)".to_owned());
    if report.step("tools", || none(tools::set_up(&place)))
        && report.step("clippy and build", || none(build(&place, false)))
    {
        in_containers(&place, &mut report);
    }
    report.close()
}

/// What needs a Docker engine. It is not run where none can be had, unless `REQUIRE_DOCKER` is 1.
fn in_containers(place: &Place, report: &mut Report) {
    let mut engine = None;
    let mut absent = None;
    let is_required = std::env::var_os("REQUIRE_DOCKER").is_some_and(|value| value == "1");
    report.step("Docker", || {
        match tools::set_up_for_docker(place).and_then(|()| Engine::find(place)) {
            Ok(found) => engine = Some(found),
            Err(error) if is_required => return Err(error),
            Err(error) => absent = Some(format!("what needs a Docker engine ({error:#})")),
        }
        Ok(None)
    });
    report.not_run.extend(absent);
    if let Some(engine) = engine {
        report.step("functions in containers", || sam_local::check(place, &engine).map(Some));
        report.step("emulated cloud", || cloud::check(place, &engine).map(Some));
    }
}

fn none(done: Result<()>) -> Result<Option<String>> {
    done.map(|()| None)
}

fn build(place: &Place, long: bool) -> Result<()> {
    let args = ["build", "--workspace", "--features", features(long)];
    Command::cargo(place).args(args).args(EVERYTHING).linted().run()
}

/// The features of the whole-system tests that are turned on: those that need tools, and large counts.
fn features(long: bool) -> &'static str {
    if long { "whole/tools,whole/long" } else { "whole/tools" }
}

fn cargo_test(place: &Place, long: bool) -> Result<String> {
    let mut passed = 0_u64;
    let mut ignored = 0_u64;
    let command = Command::cargo(place).args([
        "test",
        "--workspace",
        "--no-fail-fast",
        "--features",
        features(long),
    ]);
    let done = command.linted().each_line(|line| {
        passed += count_of(line, "passed");
        ignored += count_of(line, "ignored");
    });
    println!("{passed} tests passed, {ignored} ignored");
    done?;
    ensure!(ignored == 0, "{ignored} tests are ignored; a test runs, or it is removed");
    ensure!(passed > 0, "no test ran");
    Ok(format!("{passed} tests"))
}

/// Simulates on what processor time nobody else wants: tests beside it have time-outs.
fn simulate(place: &Place, seeds: u32) -> Result<String> {
    let program = place.built("examples/seeds")?;
    let command = Command::new(place, "chrt").args(["--idle", "0"]).args([program]);
    command.args([seeds.to_string()]).output()
}

fn demo(place: &Place) -> Result<String> {
    Command::new(place, place.built("cutover")?).args(["demo", "--exit"]).run()?;
    Ok("the demo".to_owned())
}
