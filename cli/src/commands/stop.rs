//! `cutover stop`: stops a deployment.

use wire::codedeploy::{StopDeployment, StopStatus};

use super::Context;
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};

/// Stops a deployment: no further host starts, and hosts at work stop after the script that is running
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cutover stop d-A1B2C3D4E --rollback")]
pub(crate) struct Args {
    /// The deployment
    #[arg(value_name = "ID")]
    id: String,
    /// Roll it back, whatever its own settings say
    #[arg(long, conflicts_with = "no_rollback")]
    rollback: bool,
    /// Do not roll it back, whatever its own settings say
    #[arg(long)]
    no_rollback: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let client = context.connect()?;
    let rollback = (args.rollback || args.no_rollback).then_some(args.rollback);
    let request =
        StopDeployment { deployment_id: Some(args.id.clone()), auto_rollback_enabled: rollback };
    let stopped = client.call(&request).await?;
    match context.format {
        Format::Json => output::json(&stopped),
        Format::Text => {
            let status = match stopped.status {
                Some(StopStatus::Succeeded) => "stopped",
                Some(StopStatus::Pending) | None => "stopping",
            };
            let message = stopped.status_message.filter(|message| !message.is_empty());
            let message = message.map(|message| format!(": {message}")).unwrap_or_default();
            output::line(&format!("{}  {status}{message}", args.id));
            output::note(&format!("next: cutover watch {}", args.id));
        }
    }
    Ok(Exit::Done)
}
