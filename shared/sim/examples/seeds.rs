//! `cargo run -p sim --example seeds -- COUNT [FIRST]`: simulates so many seeds on all cores, and prints those that fail.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a command line tool")]

use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|number| number.parse::<u64>());
    let (Some(Ok(count)), first) = (numbers.next(), numbers.next()) else {
        eprintln!("usage: seeds COUNT [FIRST]");
        return ExitCode::from(2);
    };
    let first = first.and_then(Result::ok).unwrap_or(0);
    let began = Instant::now();
    let sum = sim::run_many(first..first + count);
    let seconds = began.elapsed().as_secs_f64();
    for outcome in &sum.broken {
        println!("{}", outcome.last_line());
    }
    println!(
        "{count} seeds, {} deployments, {} events, {} broken, in {seconds:.1} s",
        sum.deployments,
        sum.events,
        sum.broken.len()
    );
    for (what, (deployments, worlds)) in &sum.tally {
        println!("{deployments:>8} in {worlds:>6} worlds: {what}");
    }
    if sum.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
