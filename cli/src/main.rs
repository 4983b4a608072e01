//! The command line: parses, runs one command, and ends with its exit code.

mod args;
mod client;
mod cloud;
mod commands;
mod failure;
mod find;
mod findings;
mod git;
mod names;
mod output;
mod pack;
mod scripts;
mod sign;
mod taken_back;
mod upload;
mod watch;
#[cfg(test)]
mod written;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Cli;
use crate::failure::{Exit, Failure};
use crate::output::Format;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misused(&error),
    };
    let format = cli.format;
    match commands::run(cli) {
        Ok(exit) => written(exit),
        Err(error) => failed(error, format),
    }
}

/// How a command ends that is done: what it had to say has to have been written, too.
fn written(exit: ExitCode) -> ExitCode {
    match output::lost() {
        None => exit,
        Some(why) => {
            let message = format!("stdout cannot be written to: {why}");
            let hint = "the command itself is done; free space or write to another place, and ask again for what it said";
            failed(Failure::new(Exit::NotWritten, message).hint(hint).into(), Format::Text)
        }
    }
}

/// Says what went wrong: `error: …`, and after a blank line `hint: …`.
fn failed(error: anyhow::Error, format: Format) -> ExitCode {
    let failure = error
        .downcast::<Failure>()
        .unwrap_or_else(|error| Failure::new(Exit::NotSucceeded, format!("{error:#}")));
    if format == Format::Json && !failure.data_written {
        output::json(&failure.json());
    }
    output::note(&format!("error: {}", failure.message));
    if let Some(hint) = &failure.hint {
        output::note(&format!("\nhint: {hint}"));
    }
    failure.exit.into()
}

/// Says how the command line is used; help and the version, which clap also treats as errors, are data.
fn misused(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        output::note_result(&error.print());
        return written(Exit::Done.into());
    }
    // What was asked for is not known when the arguments cannot be parsed, so it is looked for in them as they are.
    let arguments: Vec<String> = std::env::args().collect();
    let json = arguments.iter().any(|argument| argument == "--format=json")
        || arguments.windows(2).any(|pair| pair == ["--format", "json"]);
    if json {
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        output::json(&Failure::new(Exit::WrongUse, message).json());
    }
    drop(error.print());
    Exit::WrongUse.into()
}
