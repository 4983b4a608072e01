//! The runner that hosts shall run is kept where they can fetch it before the first of them is sent a command.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use aws::RunCommand;
use control::ports::{CloudError, Command, Push, Reach, SendError};
use store::S3Bundles;
use tokio::sync::OnceCell;

/// Commands to instances, and the runner that they need.
pub(crate) struct WithRunner {
    pub(crate) commands: RunCommand,
    pub(crate) bundles: S3Bundles,
    pub(crate) runner: Vec<u8>,
    /// SHA-256 of the runner in lower-case hex.
    pub(crate) digest: String,
    /// Whether it is kept; asked for once in the life of a function.
    pub(crate) is_kept: Arc<OnceCell<()>>,
}

#[async_trait]
impl Push for WithRunner {
    async fn reach(&self, names: &[String]) -> Result<BTreeMap<String, Reach>, CloudError> {
        self.commands.reach(names).await
    }

    async fn send(&self, command: &Command) -> Result<String, SendError> {
        let keep = || self.bundles.keep_runner(&self.digest, self.runner.clone());
        self.is_kept.get_or_try_init(keep).await?;
        self.commands.send(command).await
    }

    async fn outcome(&self, command: &str, instance: &str) -> Result<Option<String>, CloudError> {
        self.commands.outcome(command, instance).await
    }
}
