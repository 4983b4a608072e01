//! Asks how a deployment stands, and only for what can have changed: a host that is done is never asked for again, and
//! of a large fleet only the hosts at work and those that failed are.

use std::collections::{BTreeMap, BTreeSet};

use wire::codedeploy::{
    BatchGetDeploymentTargets, DeploymentInfo, DeploymentOverview, DeploymentStatus, GetDeployment,
    InstanceTarget, ListDeploymentTargets, TargetFilterName, TargetStatus,
};
use wire::cutover::{GetProgress, GetProgressOutput};

use super::progress::{self, Of};
use crate::client::{CallError, Client};

/// Hosts that are shown one by one; of a larger fleet only some are.
pub(crate) const HOSTS_SHOWN: usize = 20;
/// Hosts that failed among them, so that there is room for those at work.
const FAILED_SHOWN: usize = 10;
/// Targets that the API gives in one answer.
const TARGETS_PER_CALL: usize = 25;
/// One look in so many asks for the progress of a deployment without ladder and alarms, which people may pause too.
const PLAIN_PROGRESS_EACH: u32 = 10;

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
        self.info.status.is_some_and(has_ended)
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

/// Whether a deployment in this status has ended.
pub(crate) fn has_ended(status: DeploymentStatus) -> bool {
    match status {
        DeploymentStatus::Succeeded | DeploymentStatus::Failed | DeploymentStatus::Stopped => true,
        DeploymentStatus::Created
        | DeploymentStatus::Queued
        | DeploymentStatus::InProgress
        | DeploymentStatus::Baking
        | DeploymentStatus::Ready => false,
    }
}

/// Whether a host in this status is done.
fn is_final(status: TargetStatus) -> bool {
    match status {
        TargetStatus::Succeeded
        | TargetStatus::Failed
        | TargetStatus::Skipped
        | TargetStatus::Ready => true,
        TargetStatus::Pending | TargetStatus::InProgress | TargetStatus::Unknown => false,
    }
}

/// Follows one deployment.
pub(crate) struct Poller<'c> {
    client: &'c Client,
    id: String,
    /// The hosts to show, in order.
    ids: Vec<String>,
    /// How many hosts the deployment had when they were listed.
    listed: Option<u64>,
    known: BTreeMap<String, InstanceTarget>,
    progress: Option<GetProgressOutput>,
    looks: u32,
}

impl<'c> Poller<'c> {
    pub(crate) fn new(client: &'c Client, id: &str) -> Self {
        Self {
            client,
            id: id.to_owned(),
            ids: Vec::new(),
            listed: None,
            known: BTreeMap::new(),
            progress: None,
            looks: 0,
        }
    }

    /// How it stands now. The hosts are asked for after the deployment, so they are never older than it.
    pub(crate) async fn poll(&mut self) -> Result<Snapshot, CallError> {
        let request = GetDeployment { deployment_id: Some(self.id.clone()) };
        let info = self.client.call(&request).await?.deployment_info.unwrap_or_default();
        let mut snapshot = Snapshot { info, ..Snapshot::default() };
        let counts = snapshot.counts();
        let shown = u64::try_from(HOSTS_SHOWN).unwrap_or(u64::MAX);
        snapshot.partial = counts.total() > shown;
        if snapshot.partial {
            self.ids = self.active_and_failed(counts).await?;
            self.listed = None;
        } else if counts.total() > 0 && self.listed != Some(counts.total()) {
            self.ids = list(self.client, &self.id, None, usize::MAX).await?;
            self.listed = Some(counts.total());
        }
        self.refresh().await?;
        snapshot.targets = self.ids.iter().filter_map(|id| self.known.get(id).cloned()).collect();
        if snapshot.partial {
            snapshot.agree();
        }
        snapshot.progress = self.progress(snapshot.has_ended()).await?;
        Ok(snapshot)
    }

    /// How far it is; of a deployment that has little to tell, as it was some looks ago.
    async fn progress(&mut self, has_ended: bool) -> Result<Option<GetProgressOutput>, CallError> {
        let is_due = self.looks.is_multiple_of(PLAIN_PROGRESS_EACH);
        self.looks = self.looks.wrapping_add(1);
        let changes = self.progress.as_ref().is_none_or(progress::is_worth_asking);
        if changes || is_due || has_ended {
            let request = GetProgress { deployment_id: Some(self.id.clone()) };
            self.progress = progress::known(self.client.call(&request).await)?;
        }
        Ok(self.progress.clone())
    }

    /// All hosts, whatever their number.
    pub(crate) async fn all_targets(&mut self) -> Result<Vec<InstanceTarget>, CallError> {
        self.ids = list(self.client, &self.id, None, usize::MAX).await?;
        self.refresh().await?;
        Ok(self.ids.iter().filter_map(|id| self.known.get(id).cloned()).collect())
    }

    async fn active_and_failed(&self, counts: Counts) -> Result<Vec<String>, CallError> {
        let of = |status, enough| list(self.client, &self.id, Some(status), enough);
        let mut ids = Vec::new();
        if counts.failed > 0 {
            ids.extend(of(TargetStatus::Failed, FAILED_SHOWN).await?);
        }
        if counts.active > 0 {
            let active = of(TargetStatus::InProgress, HOSTS_SHOWN - ids.len()).await?;
            ids.extend(active);
        }
        // A host that failed between the two answers is in both.
        let mut known = BTreeSet::new();
        ids.retain(|id| known.insert(id.clone()));
        Ok(ids)
    }

    /// Asks for those of `ids` that can have changed.
    async fn refresh(&mut self) -> Result<(), CallError> {
        let done =
            |id: &String| self.known.get(id).and_then(|target| target.status).is_some_and(is_final);
        let open: Vec<String> = self.ids.iter().filter(|id| !done(id)).cloned().collect();
        for page in open.chunks(TARGETS_PER_CALL) {
            let request = BatchGetDeploymentTargets {
                deployment_id: Some(self.id.clone()),
                target_ids: Some(page.to_vec()),
            };
            let answer = self.client.call(&request).await?;
            for target in answer
                .deployment_targets
                .into_iter()
                .flatten()
                .filter_map(|target| target.instance_target)
            {
                self.known.insert(target.target_id.clone().unwrap_or_default(), target);
            }
        }
        Ok(())
    }
}

/// The hosts of a deployment, only those with a status if one is given, and not more than `enough`.
async fn list(
    client: &Client,
    id: &str,
    status: Option<TargetStatus>,
    enough: usize,
) -> Result<Vec<String>, CallError> {
    let filters = status.map(|status| {
        BTreeMap::from([(
            TargetFilterName::TargetStatus.name().to_owned(),
            vec![status.name().to_owned()],
        )])
    });
    let mut request = ListDeploymentTargets {
        deployment_id: Some(id.to_owned()),
        target_filters: filters,
        next_token: None,
    };
    let mut ids = Vec::new();
    loop {
        let page = client.call(&request).await?;
        ids.extend(page.target_ids.unwrap_or_default());
        request.next_token = page.next_token;
        if request.next_token.is_none() || ids.len() >= enough {
            ids.truncate(enough);
            return Ok(ids);
        }
    }
}
