//! `cutover demo`: the main job, told as a story. Two good revisions, a bad one, and the way back.

mod bundles;
mod story;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use self::story::Story;
use super::up::{self, Asked};
use crate::output::Format;

/// How many hosts the story has.
const HOSTS: u8 = 4;

/// See it work: a home with four hosts, two good revisions, a bad one, and its rollback
///
/// Everything runs on this machine, and without an account. It stays up afterwards, so that you can look around.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// End when the story is told; the exit code says whether all went as it should
    #[arg(long)]
    exit: bool,
}

/// What a script is told with `--format json`.
#[derive(Debug, Serialize)]
struct Report<'a> {
    deployments: &'a [Told],
    seconds: f64,
    api: &'a str,
}

/// One deployment of the story.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Told {
    /// Its id.
    pub(super) id: String,
    /// What it deployed.
    pub(super) revision: String,
    /// CodeDeploy's word.
    pub(super) status: String,
    /// From its creation to its end.
    pub(super) seconds: f64,
    /// The deployment that took it back.
    pub(super) rolled_back_by: Option<String>,
}

/// Tells the story in `dir`, or in a temporary directory.
pub(crate) async fn run(dir: Option<PathBuf>, args: &DemoArgs, format: Format) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let mut asked = Asked::new()?;
    let temporary = if dir.is_none() { Some(tempfile::Builder::new().prefix("cutover-demo-").tempdir()?) } else { None };
    let dir = dir.or_else(|| temporary.as_ref().map(|place| place.path().to_owned())).unwrap_or_default();
    let home = tokio::select! {
        home = up::start(&dir, HOSTS, 0) => home?,
        () = asked.to_end() => return Ok(ExitCode::FAILURE),
    };
    up::warn_of_refused_view(&home);
    let story = Story::new(home.endpoints(), format)?;
    let told = tokio::select! {
        told = story.tell() => told,
        () = asked.to_end() => {
            up::end(home).await?;
            return Ok(ExitCode::FAILURE);
        }
    };
    let told = match told {
        Ok(told) => told,
        Err(error) => {
            up::end(home).await?;
            return Err(error);
        }
    };
    let went_well = as_it_should(&told);
    if format == Format::Json {
        let report = Report { deployments: &told, seconds: began.elapsed().as_secs_f64(), api: &home.endpoints().api };
        writeln!(std::io::stdout(), "{}", serde_json::to_string(&report)?)?;
    }
    story.say_what_next(home.dir(), went_well, began.elapsed());
    if !args.exit {
        asked.to_end().await;
    }
    up::end(home).await?;
    Ok(if went_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Two successes, a failure, and the rollback that it names.
fn as_it_should(told: &[Told]) -> bool {
    let statuses: Vec<&str> = told.iter().map(|deployment| deployment.status.as_str()).collect();
    let linked = matches!(told, [_, second, failed, rollback]
        if failed.rolled_back_by.as_ref() == Some(&rollback.id) && rollback.revision == second.revision);
    statuses == ["Succeeded", "Succeeded", "Failed", "Succeeded"] && linked
}
