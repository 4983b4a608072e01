//! `cutover pause`, `resume`, `promote`, `skip-bake`, `continue` and `abort`: a person takes charge of a deployment.

use serde_json::json;
use wire::codedeploy::{ContinueDeployment, DeploymentWaitType, StopDeployment};
use wire::cutover::{SteerDeployment, Wish};

use super::Context;
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};

/// Starts nothing new until it is resumed; hosts at work go on
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cutover pause d-A1B2C3D4E")]
pub(crate) struct Pause {
    /// The deployment
    #[arg(value_name = "ID")]
    id: String,
}

/// Goes on with a deployment that was paused
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cutover resume d-A1B2C3D4E")]
pub(crate) struct Resume {
    /// The deployment
    #[arg(value_name = "ID")]
    id: String,
}

/// Takes a canary to everybody: no step of the ladder holds it back any more, and nothing bakes
///
/// The minimum of healthy hosts still holds, and alarms still stop it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cutover promote d-A1B2C3D4E")]
pub(crate) struct Promote {
    /// The deployment
    #[arg(value_name = "ID")]
    id: String,
}

/// Ends the bake of the present step; the next one begins
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cutover skip-bake d-A1B2C3D4E")]
pub(crate) struct SkipBake {
    /// The deployment
    #[arg(value_name = "ID")]
    id: String,
}

/// Continues a blue/green deployment that waits: its traffic moves, or its old side is kept no longer
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cutover continue d-A1B2C3D4E")]
pub(crate) struct Continue {
    /// The deployment
    #[arg(value_name = "ID")]
    id: String,
    /// End the time in which what had the traffic is kept, instead of the wait before it moves
    #[arg(long)]
    termination_wait: bool,
}

/// Stops a deployment and rolls it back, whatever its own setting is
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cutover abort d-A1B2C3D4E")]
pub(crate) struct Abort {
    /// The deployment
    #[arg(value_name = "ID")]
    id: String,
}

/// A command that names a deployment and says what is wanted of it.
pub(crate) trait Steers {
    /// The wish, and the deployment.
    fn wish(self) -> (Wish, String);
}

macro_rules! steers {
    ($($command:ident),*) => {
        $(impl Steers for $command {
            fn wish(self) -> (Wish, String) {
                (Wish::$command, self.id)
            }
        })*
    };
}

steers!(Pause, Resume, Promote, SkipBake);

pub(crate) async fn run(args: impl Steers, context: &Context) -> Result<Exit, Failure> {
    let (wish, id) = args.wish();
    let request =
        SteerDeployment { deployment_id: Some(id.clone()), wish: Some(wish.name().to_owned()) };
    context.connect()?.call(&request).await?;
    let done = match wish {
        Wish::Pause => "paused: nothing new is started",
        Wish::Resume => "goes on",
        Wish::Promote => "promoted: goes on to the end",
        Wish::SkipBake => "goes on to its next step",
    };
    match context.format {
        Format::Json => output::json(&json!({ "deploymentId": id, "wish": wish.name() })),
        Format::Text => output::line(&format!("{id}  {done}")),
    }
    Ok(Exit::Done)
}

pub(crate) async fn go_on(args: Continue, context: &Context) -> Result<Exit, Failure> {
    let (wait, done) = match args.termination_wait {
        true => (DeploymentWaitType::TerminationWait, "the old side is kept no longer"),
        false => (DeploymentWaitType::ReadyWait, "goes on: its traffic moves"),
    };
    let request = ContinueDeployment {
        deployment_id: Some(args.id.clone()),
        deployment_wait_type: Some(wait.name().to_owned()),
    };
    context.connect()?.call(&request).await?;
    match context.format {
        Format::Json => {
            output::json(&json!({ "deploymentId": args.id, "deploymentWaitType": wait.name() }));
        }
        Format::Text => output::line(&format!("{}  {done}", args.id)),
    }
    Ok(Exit::Done)
}

pub(crate) async fn abort(args: Abort, context: &Context) -> Result<Exit, Failure> {
    let request =
        StopDeployment { deployment_id: Some(args.id.clone()), auto_rollback_enabled: Some(true) };
    let stopped = context.connect()?.call(&request).await?;
    match context.format {
        Format::Json => output::json(&stopped),
        Format::Text => {
            output::line(&format!("{}  is stopped and rolled back", args.id));
            output::note(&format!("next: cutover watch {}", args.id));
        }
    }
    Ok(Exit::Done)
}
