//! Asks how a deployment stands, and only for what can have changed: a host that is done is never asked for again, and
//! of a large fleet only the hosts at work and those that failed are.

use std::collections::{BTreeMap, BTreeSet};

use wire::codedeploy::{
    BatchGetDeploymentTargets, GetDeployment, InstanceTarget, ListDeploymentTargets,
    TargetFilterName, TargetStatus,
};
use wire::cutover::{GetProgress, GetProgressOutput};

use super::progress;
use super::snapshot::{Counts, Snapshot};
use crate::client::{CallError, Client};

/// Hosts that are shown one by one; of a larger fleet only some are.
pub(crate) const HOSTS_SHOWN: usize = 20;
/// Hosts that failed among them, so that there is room for those at work.
const FAILED_SHOWN: usize = 10;
/// Targets that the API gives in one answer.
const TARGETS_PER_CALL: usize = 25;
/// One look in so many asks for the progress of a deployment without ladder and alarms, which people may pause too.
const PLAIN_PROGRESS_EACH: u32 = 10;

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
