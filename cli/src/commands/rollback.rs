//! `cutover rollback`: goes back to what succeeded before a deployment.

use std::time::Duration;

use wire::cutover::RollBackDeployment;

use super::Context;
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};
use crate::watch;

/// Rolls a deployment's group back to the revision that succeeded before it
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cutover rollback d-A1B2C3D4E --watch")]
pub(crate) struct Args {
    /// The deployment to go back behind
    #[arg(value_name = "ID")]
    id: String,
    /// Watch the rollback until it ended
    #[arg(long)]
    watch: bool,
    /// Give up watching after this many seconds, with exit code 4
    #[arg(long, value_name = "SECONDS", requires = "watch")]
    timeout: Option<u64>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let client = context.connect()?;
    let request = RollBackDeployment { deployment_id: Some(args.id) };
    let begun = client.call(&request).await?;
    let id = begun.deployment_id.clone().unwrap_or_default();
    if args.watch {
        return watch::follow(&client, &id, context.format, args.timeout.map(Duration::from_secs))
            .await;
    }
    match context.format {
        Format::Json => output::json(&begun),
        Format::Text => {
            output::line(&id);
            output::note(&format!("next: cutover watch {id}"));
        }
    }
    Ok(Exit::Done)
}
