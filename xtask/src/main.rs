//! `cargo xtask`: what needs more than one command of cargo's.
//!
//! `test` sets up what the tests need and runs all of them; `lint` is the part of it that a developer wants often;
//! `bench` takes the figures that README names; `picture` draws the terminal that it shows.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool")]

mod cloud;
mod cold;
mod count;
mod docker;
mod functions;
mod image;
mod lint;
mod picture;
mod place;
mod run;
mod sam_local;
mod template;
mod test;
mod tools;

use std::process::ExitCode;

use anyhow::Result;

use crate::place::Place;
use crate::run::Command;

const USAGE: &str = "\
cargo xtask test [--long]   set up what the tests need and run all of them; --long with the large counts
cargo xtask cloud           only what needs a Docker engine: functions in containers, and the template on an emulated cloud
cargo xtask lint            formatting and clippy
cargo xtask picture         draws docs/demo.svg anew from the demo in a terminal, for which it needs tmux
cargo xtask template        the linters of the cloud's template, and that SAM builds it
cargo xtask bench           the benchmarks, in release; `bench functions` those of the functions alone, and `bench scale`
                            what large fleets cost the table, on the simulator's clock";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["test"] => test::run(false),
        ["test", "--long"] => test::run(true),
        ["cloud"] => test::run_cloud(),
        ["lint"] => lint::run(),
        ["template"] => template(),
        ["picture"] => picture::draw(),
        ["bench"] => bench(),
        ["bench", "functions"] => Place::find().and_then(cold::bench),
        ["bench", "scale"] => Place::find().and_then(|place| simulated(&place, &["scale"])),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn template() -> Result<()> {
    let place = Place::find()?;
    tools::set_up(&place)?;
    println!("{}", template::check(&place)?);
    Ok(())
}

/// An example of the simulator, in release.
fn simulated(place: &Place, example: &[&str]) -> Result<()> {
    let run = ["run", "--quiet", "--release", "--package", "sim", "--example"];
    Command::cargo(place).args(run).args(example).run()
}

/// Everything in release, one after the other, so that nothing is measured beside something else.
fn bench() -> Result<()> {
    let place = Place::find()?;
    let examples: [&[&str]; 4] =
        [&["engine_cost"], &["writes"], &["scale"], &["seeds", "--", "10000"]];
    for example in examples {
        simulated(&place, example)?;
    }
    let table = ["run", "--quiet", "--release", "--package", "local", "--example", "table_growth"];
    let scratch = place.scratch("table-growth")?.display().to_string();
    Command::cargo(&place).args(table).args(["--", &scratch]).run()?;
    let run = ["run", "--quiet", "--release", "--package", "cutover", "--", "bench"];
    Command::cargo(&place).args(run).run()?;
    cold::bench(place)
}
