//! What is asked of Auto Scaling groups: hooks that hold instances back, and processes that rest during deployments.

use engine::{DeploymentId, GroupId};
use tracing::{info, warn};

use super::LATE_MS;
use super::here::Here;
use super::transitions::HOOK;
use crate::ports::{CloudError, Hooks};
use crate::rows::{self, Group, ScalingGroupRow, Stored, SuspensionRow};
use crate::table::{Query, TableError};
use crate::{Error, FleetWatcher};

impl FleetWatcher {
    /// Makes the hooks of a deployment group as its settings want them; those of a group that is gone are removed.
    pub(super) async fn keep_hooks(&self, id: &GroupId) -> Result<(), Error> {
        let group = rows::load::<Group>(&*self.base.table, &Group::key_of(id)).await?;
        let settings = group.as_ref().map(|group| group.row.settings.clone()).unwrap_or_default();
        let wanted = settings.auto_scaling_groups.unwrap_or_default();
        for stored in self.base.scaling_groups_of(id).await? {
            let scaling_group = stored.row.scaling_group.clone();
            let is_wanted = wanted.contains(&scaling_group);
            let hooks = Hooks {
                launch: format!("{HOOK}launch-{id}"),
                is_launch_wanted: is_wanted,
                termination: format!("{HOOK}termination-{id}"),
                is_termination_wanted: is_wanted && settings.termination_hook_enabled == Some(true),
                scaling_group,
            };
            let here = self.at(stored.row.place.as_ref()).await?;
            match here.instances.scaling.keep_hooks(&hooks).await {
                Ok(()) => info!(group = %id, ?hooks, "keeps hooks"),
                // One group that lacks the tag, or that is gone, does not keep the others from their hooks.
                Err(error @ CloudError::Refused { .. }) => {
                    warn!(group = %id, ?hooks, %error, "cannot keep hooks");
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            if !is_wanted {
                self.forget(&stored, group.as_ref()).await?;
            }
        }
        Ok(())
    }

    /// Forgets an Auto Scaling group that a deployment group names no more, unless it was changed meanwhile.
    async fn forget(
        &self,
        stored: &Stored<ScalingGroupRow>,
        group: Option<&Stored<Group>>,
    ) -> Result<(), Error> {
        let mut writes = vec![stored.remove()];
        writes.extend(group.map(Stored::unchanged));
        match self.base.table.write(&writes).await {
            Ok(()) | Err(TableError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Resumes what was suspended for deployments of which none is left.
    pub(super) async fn resume_scaling(&self) -> Result<(), Error> {
        let query = Query::prefix(SuspensionRow::ALL, "", 100);
        let all: Vec<Stored<SuspensionRow>> = rows::load_all(&*self.base.table, query).await?;
        for mut suspension in all {
            let mut left = Vec::new();
            for id in &suspension.row.deployments {
                let deployment = self.base.deployment(id).await?;
                if deployment.is_some_and(|stored| stored.row.deployment.ended().is_none()) {
                    left.push(id.clone());
                }
            }
            if left.is_empty() {
                suspension.row.deployments = left;
                self.at(suspension.row.place.as_ref()).await?.resume(suspension).await?;
            } else if left != suspension.row.deployments {
                suspension.row.deployments = left;
                // On a conflict the next look does it.
                drop(self.base.table.write(&[suspension.replace()?]).await);
            }
        }
        Ok(())
    }
}

impl Here {
    /// Suspends what the group wants suspended during a deployment. What is about to be suspended is written first, so
    /// that it is resumed whatever happens; what users had suspended themselves is not touched.
    pub(crate) async fn suspend_scaling(
        &self,
        group: &Group,
        deployment: &DeploymentId,
    ) -> Result<(), Error> {
        let processes = processes_of(group);
        if processes.is_empty() {
            return Ok(());
        }
        for scaling_group in group.settings.auto_scaling_groups.iter().flatten() {
            let row = self.note_suspension(scaling_group, &processes, deployment).await?;
            self.instances.scaling.set_suspended(scaling_group, &row.processes, true).await?;
        }
        Ok(())
    }

    async fn note_suspension(
        &self,
        scaling_group: &str,
        processes: &[String],
        deployment: &DeploymentId,
    ) -> Result<SuspensionRow, Error> {
        let key = SuspensionRow::key_of(scaling_group, self.place.as_ref());
        loop {
            let known = rows::load::<SuspensionRow>(&*self.base.table, &key).await?;
            let (row, write) = match known {
                Some(mut known) => {
                    if known.row.deployments.contains(deployment) {
                        return Ok(known.row);
                    }
                    known.row.deployments.push(deployment.clone());
                    known.row.resumed_at = None;
                    let write = known.replace()?;
                    (known.row, write)
                }
                None => {
                    let row = SuspensionRow {
                        scaling_group: scaling_group.to_owned(),
                        processes: self.instances.scaling.running(scaling_group, processes).await?,
                        deployments: vec![deployment.clone()],
                        resumed_at: None,
                        place: self.place.clone(),
                    };
                    let write = rows::create_anew(&row, self.base.now())?;
                    (row, write)
                }
            };
            match self.base.table.write(&[write]).await {
                Ok(()) => return Ok(row),
                Err(TableError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Resumes what nobody wants suspended any more, again and again for as long as a process may be late that was
    /// about to suspend it.
    async fn resume(&self, mut suspension: Stored<SuspensionRow>) -> Result<(), Error> {
        let SuspensionRow { scaling_group, processes, .. } = &suspension.row;
        self.instances.scaling.set_suspended(scaling_group, processes, false).await?;
        let now = self.base.now();
        let write = match suspension.row.resumed_at {
            Some(at) if now.since_ms(at) <= LATE_MS => suspension.unchanged(),
            Some(_) => suspension.remove(),
            None => {
                info!(scaling_group, ?processes, "resumed");
                suspension.row.resumed_at = Some(now);
                suspension.replace()?
            }
        };
        match self.base.table.write(&[write]).await {
            Ok(()) => Ok(()),
            // A deployment began meanwhile, and counts on the suspension, or another process was faster.
            Err(TableError::Conflict(key)) => {
                let newer = rows::load::<SuspensionRow>(&*self.base.table, &key).await?;
                let is_wanted = newer.is_some_and(|newer| newer.row.resumed_at.is_none());
                if is_wanted {
                    let SuspensionRow { scaling_group, processes, .. } = &suspension.row;
                    self.instances.scaling.set_suspended(scaling_group, processes, true).await?;
                }
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// What the group wants suspended on its Auto Scaling groups.
pub(crate) fn processes_of(group: &Group) -> Vec<String> {
    let options = group.settings.ec2_deployment_options.as_ref();
    let listed =
        options.and_then(|options| options.auto_scaling_group_processes_to_suspend.clone());
    listed.unwrap_or_default()
}
