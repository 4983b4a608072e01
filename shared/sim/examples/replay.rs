//! `cargo run -p sim --example replay -- SEED`: prints the transcript of one simulation.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a command line tool")]

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(seed) = std::env::args().nth(1).and_then(|seed| seed.parse().ok()) else {
        eprintln!("usage: replay SEED");
        return ExitCode::from(2);
    };
    let outcome = sim::replay(seed);
    println!("{outcome}");
    if outcome.violation.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
