//! `cutover watch`: shows a deployment until it ended.

use std::time::Duration;

use super::Context;
use crate::failure::{Exit, Failure};
use crate::watch;

/// Watches a deployment and its rollback until they end
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Ctrl-C stops watching; the deployment goes on.\n\nExample:\n  cutover watch d-A1B2C3D4E --timeout 600"
)]
pub(crate) struct Args {
    /// The deployment
    #[arg(value_name = "ID")]
    id: String,
    /// Stop watching after this many seconds, with exit code 4
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let client = context.connect()?;
    watch::follow(&client, &args.id, context.format, args.timeout.map(Duration::from_secs)).await
}
