//! `cutover lint`: checks a bundle before a host does.

use std::path::PathBuf;

use serde_json::json;

use super::Context;
use crate::failure::{Exit, Failure};
use crate::findings::{self, Finding};
use crate::output::{self, Format};

/// Checks an AppSpec file, a directory or an archive as hosts will; exit code 1 if they would refuse it
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cutover lint ./app\n  cutover lint app.zip\n  cutover lint appspec.yml"
)]
pub(crate) struct Args {
    /// An AppSpec file, a directory, or a zip, tar or tar.gz archive
    #[arg(value_name = "PATH")]
    path: PathBuf,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let findings = findings::of_path(&args.path)
        .map_err(|error| Failure::new(Exit::WrongUse, error.to_string()))?;
    let accepted = !findings.iter().any(Finding::is_error);
    match context.format {
        Format::Json => output::json(&json!({ "accepted": accepted, "findings": findings })),
        Format::Text => {
            findings.iter().for_each(|finding| output::line(&finding.to_string()));
            if findings.is_empty() {
                output::note("nothing to complain about");
            }
        }
    }
    Ok(if accepted { Exit::Done } else { Exit::NotSucceeded })
}
