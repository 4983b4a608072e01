//! Hosts that leave: where their group wants it, a deployment of their own stops the application before they go.

use engine::deployment::Creator;
use tracing::info;

use super::here::Here;
use super::transitions::Progress;
use crate::Error;
use crate::ports::Instance;
use crate::rows::{self, Group, Stored, TransitionRow};

impl Here {
    /// Lets a host stop its application, as far as that goes now.
    pub(super) async fn check_departure(
        &self,
        transition: &mut Stored<TransitionRow>,
        instance: &Instance,
    ) -> Result<Progress, Error> {
        let Some(scaling_group) =
            transition.row.actions.first().map(|action| action.scaling_group.clone())
        else {
            // Nothing holds it. That it leaves is remembered until it is gone.
            return Ok(Progress::Waits);
        };
        let ids = self.groups_scaled_by(&scaling_group).await?;
        let keys: Vec<_> = ids.iter().map(Group::key_of).collect();
        let groups: Vec<Stored<Group>> = rows::load_many(&*self.base.table, &keys).await?;
        let mut progress = Progress::Done;
        for group in groups.into_iter().map(|stored| stored.row) {
            if group.settings.termination_hook_enabled == Some(true) {
                progress = progress.max(self.take_leave(transition, &group, instance).await?);
            }
        }
        Ok(progress)
    }

    async fn take_leave(
        &self,
        transition: &mut Stored<TransitionRow>,
        group: &Group,
        instance: &Instance,
    ) -> Result<Progress, Error> {
        for id in &transition.row.deployments {
            let Some(stored) = self.base.deployment(id).await? else { continue };
            let deployment = stored.row.deployment;
            if deployment.order().group_id == group.id {
                // However it ended: what leaves is not held for a script that fails.
                return Ok(if deployment.ended().is_some() {
                    Progress::Done
                } else {
                    Progress::Waits
                });
            }
        }
        // A deployment that runs has its own say about the host, and ends with it.
        let is_there = self.newest_in(&instance.id, &group.id).await?.is_some();
        if group.slot.active.is_some() || group.slot.last_successful.is_none() || !is_there {
            return Ok(Progress::Done);
        }
        let started = self.base.start_alone(&group.id, Creator::Departure, &instance.id).await?;
        if let Some(id) = started {
            info!(deployment = %id, group = %group.id, host = instance.id, "lets a host stop its application before it leaves");
            self.note_deployment(transition, id).await?;
        }
        Ok(Progress::Waits)
    }
}
