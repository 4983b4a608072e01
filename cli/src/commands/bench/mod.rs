//! `cutover bench`: takes the figures of `docs/benchmarks.md`. Each runs in homes of its own, in temporary directories,
//! and beside each stands what the same work costs without Cutover, measured in the same run.

mod figure;
mod history;
mod home;
mod idle;
mod install;
mod rolling;
mod traffic;
mod upload;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Serialize;

use self::figure::Figure;
use super::Context;
use crate::failure::Exit;
use crate::output::{self, Format};

/// Take the figures of `docs/benchmarks.md`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which to take; all by default
    #[arg(value_enum, value_name = "NAME")]
    names: Vec<Name>,
    /// The program that the homes run; this one by default
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Name {
    /// From the end of a PUT to the first line of the first hook.
    Upload,
    /// A whole rolling deployment of four hosts.
    Rolling,
    /// What a home costs when nothing happens.
    Idle,
    /// A large bundle: the first install, another one over it, and the way back.
    Install,
    /// What a balancer costs each host of a deployment, and how soon a bad version has no traffic any more.
    Traffic,
    /// What a new deployment costs when there were many.
    History,
}

/// What came of one benchmark.
#[derive(Debug, Serialize)]
struct Taken {
    benchmark: Name,
    figures: Vec<Figure>,
}

/// Takes them one after the other.
pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let program = match args.program {
        Some(program) => program,
        None => std::env::current_exe().context("this program cannot be found")?,
    };
    let names = if args.names.is_empty() { Name::value_variants() } else { &args.names };
    let mut all = Vec::new();
    for name in names {
        output::note(&format!("{}: load {}", label(*name), load()));
        let figures = match name {
            Name::Upload => upload::take(&program).await?,
            Name::Rolling => rolling::take(&program).await?,
            Name::Idle => idle::take(&program).await?,
            Name::Install => install::take(&program).await?,
            Name::Traffic => traffic::take(&program).await?,
            Name::History => history::take(&program).await?,
        };
        if context.format == Format::Text {
            figures.iter().for_each(|figure| say(*name, figure));
        }
        all.push(Taken { benchmark: *name, figures });
    }
    if context.format == Format::Json {
        output::json(&serde_json::json!({ "benchmarks": all }));
    }
    Ok(Exit::Done)
}

fn label(name: Name) -> String {
    name.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn say(benchmark: Name, figure: &Figure) {
    let Figure { name, value, unit, limit } = figure;
    let limit = limit.map(|limit| {
        let verdict = if *value <= limit { "" } else { ", EXCEEDED" };
        format!("  (at most {limit} {unit}{verdict})")
    });
    output::line(&format!(
        "{:<8} {name:<44} {value:>9.2} {unit}{}",
        label(benchmark),
        limit.unwrap_or_default()
    ));
}

/// The machine's load averages: a figure is worth nothing without them.
fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()
}
