//! The copy of an Auto Scaling group that a blue/green deployment brings its new version to
//! (`docs/semantics.md#blue-green`): how it comes up, and what a group names once the copy has the traffic.

use engine::deployment::{Deployment, Fact, Failure, FailureCode, Request, ScalingCopy, Status};
use tracing::{info, warn};
use wire::codedeploy::TargetInstances;

use super::here::Here;
use crate::Error;
use crate::ports::{CloudError, GroupCopy, InstanceState, Reach, Selection};
use crate::rows::{self, Group, SuspensionRow};
use crate::table::TableError;

/// The Auto Scaling group that a deployment copies.
pub(crate) fn copy_of(deployment: &Deployment) -> Option<&ScalingCopy> {
    deployment.order().shift.as_ref()?.copies.as_ref()
}

/// The targets of a deployment to a copy.
pub(crate) fn targets_of(copy: &ScalingCopy) -> TargetInstances {
    TargetInstances {
        auto_scaling_groups: Some(vec![copy.to.clone()]),
        ..TargetInstances::default()
    }
}

/// Lets a deployment group name the copy in place of what was copied, once that has the traffic; whether it was changed.
pub(crate) fn adopt(group: &mut Group, deployment: &Deployment, status: Status) -> bool {
    let Some(copy) = copy_of(deployment).filter(|_| status == Status::Succeeded) else {
        return false;
    };
    let names = group.settings.auto_scaling_groups.iter_mut().flatten();
    let mut is_changed = false;
    for name in names.filter(|name| **name == copy.from) {
        name.clone_from(&copy.to);
        is_changed = true;
    }
    is_changed
}

impl Here {
    /// Makes the copy, as far as it is not made, and tells when all its instances can be reached.
    pub(crate) async fn copy_group(&self, deployment: &Deployment) -> Result<Vec<Fact>, Error> {
        let Some(copy) = copy_of(deployment) else { return Ok(Vec::new()) };
        self.note_resting(deployment, copy).await?;
        let made_by = deployment.id().clone();
        let wanted = GroupCopy { from: copy.from.clone(), to: copy.to.clone(), made_by };
        let standing = match self.instances.scaling.copy(&wanted).await {
            Ok(standing) => standing,
            Err(error @ CloudError::Refused { .. }) => {
                let why = Failure {
                    code: FailureCode::AutoScalingConfiguration,
                    message: error.to_string(),
                };
                return Ok(vec![Fact::ShiftRefused { request: Request::CopyGroup, why }]);
            }
            Err(error @ CloudError::Unavailable { .. }) => return Err(error.into()),
        };
        if let Some(trouble) = &standing.trouble {
            warn!(deployment = %deployment.id(), scaling_group = copy.to, trouble, "an instance of the copy was not launched");
        }
        if standing.wanted == 0 || standing.in_service < standing.wanted {
            return Ok(Vec::new());
        }
        let are_reached = self.are_reached(&copy.to).await?;
        if are_reached {
            info!(deployment = %deployment.id(), scaling_group = copy.to, hosts = standing.wanted, "the copy is up");
        }
        Ok(are_reached.then_some(Fact::GroupCopied).into_iter().collect())
    }

    /// Whether all instances of a group run and can be sent commands.
    async fn are_reached(&self, scaling_group: &str) -> Result<bool, Error> {
        let selection =
            Selection { tag_sets: Vec::new(), scaling_groups: vec![scaling_group.to_owned()] };
        let instances = self.instances.fleet.select(&selection).await?;
        let are_up = instances.iter().all(|instance| instance.state == InstanceState::Running);
        if instances.is_empty() || !are_up {
            return Ok(false);
        }
        let names: Vec<String> = instances.into_iter().map(|instance| instance.id).collect();
        let reach = self.instances.push.reach(&names).await?;
        Ok(names.iter().all(|name| reach.get(name) == Some(&Reach::Online)))
    }

    /// Notes what rests in the copy, before it is made, so that it is resumed at the end whatever happens. What a user has
    /// suspended in the copied group goes on resting.
    async fn note_resting(&self, deployment: &Deployment, copy: &ScalingCopy) -> Result<(), Error> {
        let key = SuspensionRow::key_of(&copy.to, self.place.as_ref());
        if rows::load::<SuspensionRow>(&*self.base.table, &key).await?.is_some() {
            return Ok(());
        }
        let resting = GroupCopy::RESTING.map(str::to_owned);
        let mut processes = self.instances.scaling.running(&copy.from, &resting).await?;
        let from = SuspensionRow::key_of(&copy.from, self.place.as_ref());
        // What rests there for a deployment is not the user's.
        let ours = rows::load::<SuspensionRow>(&*self.base.table, &from).await?;
        let ours = ours.map(|stored| stored.row.processes).unwrap_or_default();
        let is_new = |process: &String| resting.contains(process) && !processes.contains(process);
        let ours: Vec<String> = ours.into_iter().filter(is_new).collect();
        processes.extend(ours);
        let row = SuspensionRow {
            scaling_group: copy.to.clone(),
            processes,
            deployments: vec![deployment.id().clone()],
            resumed_at: None,
            place: self.place.clone(),
        };
        match self.base.table.write(&[rows::create_anew(&row, self.base.now())?]).await {
            // Another look was faster.
            Ok(()) | Err(TableError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
