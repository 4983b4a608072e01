//! How a deployment and its hosts stand at one moment.

use wire::codedeploy::{DeploymentInfo, DeploymentOverview, InstanceTarget, TargetStatus};
use wire::cutover::GetProgressOutput;

use super::progress::{self, Of};

/// How a deployment stands at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    /// The deployment.
    pub(crate) info: DeploymentInfo,
    /// Its hosts in the order of the deployment; of a large fleet those at work and those that failed.
    pub(crate) targets: Vec<InstanceTarget>,
    /// Whether `targets` are not all of them.
    pub(crate) partial: bool,
    /// Its ladder, what people want of it, and its alarms; none where nobody could be asked.
    pub(crate) progress: Option<GetProgressOutput>,
}

impl Snapshot {
    /// The deployment's id.
    pub(crate) fn id(&self) -> &str {
        self.info.deployment_id.as_deref().unwrap_or("?")
    }

    /// Whether nothing more will happen to it.
    pub(crate) fn has_ended(&self) -> bool {
        self.of().has_ended
    }

    /// Whose progress it is.
    pub(crate) fn of(&self) -> Of<'_> {
        progress::of(&self.info)
    }

    /// Its hosts by how they stand. Where all of them are shown, those that are shown are counted, so that a counter never
    /// says anything else than the lines beside it; of a large fleet they are as the deployment has them.
    pub(crate) fn counts(&self) -> Counts {
        if self.partial || self.targets.is_empty() {
            return Counts::of(&self.info);
        }
        let mut counts = Counts::default();
        for target in &self.targets {
            counts.add(target.status.unwrap_or(TargetStatus::Pending));
        }
        counts
    }

    /// Leaves out of a large fleet's hosts those that the deployment has not counted yet as what they are: they have been
    /// asked for after it.
    pub(super) fn agree(&mut self) {
        let counts = Counts::of(&self.info);
        let (mut failed, mut active) = (counts.failed, counts.active);
        self.targets.retain(|target| {
            let left = match target.status {
                Some(TargetStatus::Failed) => &mut failed,
                Some(TargetStatus::InProgress | TargetStatus::Unknown) => &mut active,
                Some(
                    TargetStatus::Pending
                    | TargetStatus::Succeeded
                    | TargetStatus::Skipped
                    | TargetStatus::Ready,
                )
                | None => return false,
            };
            let is_counted = *left > 0;
            *left = left.saturating_sub(1);
            is_counted
        });
    }
}

/// Hosts of a deployment by how they stand. Those that do not exist any more are not among them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Those that wait for their turn.
    pub(crate) pending: u64,
    /// Those at work.
    pub(crate) active: u64,
    /// Those that are installed and wait for their traffic.
    pub(crate) ready: u64,
    /// Those that succeeded.
    pub(crate) succeeded: u64,
    /// Those that failed.
    pub(crate) failed: u64,
    /// Those that were left out, or left as they stood.
    pub(crate) skipped: u64,
}

impl Counts {
    fn of(info: &DeploymentInfo) -> Self {
        let of = info.deployment_overview.clone().unwrap_or_default();
        let DeploymentOverview { pending, in_progress, succeeded, failed, skipped, ready } = of;
        let [pending, active, succeeded, failed, skipped, ready] =
            [pending, in_progress, succeeded, failed, skipped, ready]
                .map(Option::unwrap_or_default);
        Self { pending, active, ready, succeeded, failed, skipped }
    }

    fn add(&mut self, status: TargetStatus) {
        let count = match status {
            TargetStatus::Pending => &mut self.pending,
            TargetStatus::InProgress => &mut self.active,
            TargetStatus::Ready => &mut self.ready,
            TargetStatus::Succeeded => &mut self.succeeded,
            TargetStatus::Failed => &mut self.failed,
            TargetStatus::Skipped => &mut self.skipped,
            // It does not exist any more.
            TargetStatus::Unknown => return,
        };
        *count += 1;
    }

    /// All.
    pub(crate) fn total(self) -> u64 {
        self.pending + self.active + self.done() + self.skipped
    }

    /// Those that the deployment is done with.
    pub(crate) fn done(self) -> u64 {
        self.ready + self.succeeded + self.failed
    }
}
