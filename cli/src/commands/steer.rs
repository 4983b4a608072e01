//! `cutover pause`, `resume`, `promote`, `skip-bake`, `continue` and `abort`: a person takes charge of a deployment.

use serde_json::json;
use wire::codedeploy::{ContinueDeployment, DeploymentWaitType, StopDeployment};
use wire::cutover::{Steer, SteerDeployment};

use super::Context;
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};

/// Pauses a deployment: nothing new starts until you resume it; hosts at work finish
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cutover pause d-A1B2C3D4E")]
pub(crate) struct Pause {
    /// The deployment
    #[arg(value_name = "ID")]
    id: String,
}

/// Resumes a paused deployment
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cutover resume d-A1B2C3D4E")]
pub(crate) struct Resume {
    /// The deployment
    #[arg(value_name = "ID")]
    id: String,
}

/// Promotes a canary: goes on to the end without waiting for the remaining steps and bakes
///
/// The rule of minimum healthy hosts still holds, and alarms still stop the deployment.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cutover promote d-A1B2C3D4E")]
pub(crate) struct Promote {
    /// The deployment
    #[arg(value_name = "ID")]
    id: String,
}

/// Ends the bake of the current step; the next step begins
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cutover skip-bake d-A1B2C3D4E")]
pub(crate) struct SkipBake {
    /// The deployment
    #[arg(value_name = "ID")]
    id: String,
}

/// Continues a blue/green deployment that waits for you: moves its traffic, or stops keeping its old version
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cutover continue d-A1B2C3D4E")]
pub(crate) struct Continue {
    /// The deployment
    #[arg(value_name = "ID")]
    id: String,
    /// Stop keeping the old version, instead of moving the traffic
    #[arg(long)]
    termination_wait: bool,
}

/// Stops a deployment and rolls it back, whatever its own settings say
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cutover abort d-A1B2C3D4E")]
pub(crate) struct Abort {
    /// The deployment
    #[arg(value_name = "ID")]
    id: String,
}

/// A command that names a deployment and says what is wanted of it.
pub(crate) trait Steers {
    /// What is wanted, and the deployment.
    fn steer(self) -> (Steer, String);
}

macro_rules! steers {
    ($($command:ident),*) => {
        $(impl Steers for $command {
            fn steer(self) -> (Steer, String) {
                (Steer::$command, self.id)
            }
        })*
    };
}

steers!(Pause, Resume, Promote, SkipBake);

pub(crate) async fn run(args: impl Steers, context: &Context) -> Result<Exit, Failure> {
    let (steer, id) = args.steer();
    let request =
        SteerDeployment { deployment_id: Some(id.clone()), wish: Some(steer.name().to_owned()) };
    context.connect()?.call(&request).await?;
    let done = match steer {
        Steer::Pause => "paused: nothing new starts",
        Steer::Resume => "resumed",
        Steer::Promote => "promoted: the remaining steps do not hold it back",
        Steer::SkipBake => "the bake is skipped: the next step begins",
    };
    match context.format {
        Format::Json => output::json(&json!({ "deploymentId": id, "wish": steer.name() })),
        Format::Text => output::line(&format!("{id}  {done}")),
    }
    Ok(Exit::Done)
}

pub(crate) async fn go_on(args: Continue, context: &Context) -> Result<Exit, Failure> {
    let (wait, done) = match args.termination_wait {
        true => (DeploymentWaitType::TerminationWait, "the old version is no longer kept"),
        false => (DeploymentWaitType::ReadyWait, "continues: the traffic moves"),
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
            output::line(&format!("{}  stops, then rolls back", args.id));
            output::note(&format!("next: cutover watch {}", args.id));
        }
    }
    Ok(Exit::Done)
}
