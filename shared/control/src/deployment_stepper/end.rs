//! The end of a deployment: its row, the group's, and the row of what follows, in one transaction.

use engine::Timestamp;
use engine::deployment::{Deployment, Ending, Fact, HostState};
use engine::group::Next;
use tracing::info;

use super::gate::Told;
use crate::fleet_watcher::ask_for;
use crate::fleet_watcher::{copies, scaling};
use crate::ports::{HostOutcome, Measure, Upkeep};
use crate::rows::{self, DeploymentRow, Group, Layout, Stored, UploadRow, UploadState};
use crate::table::Write;
use crate::traffic_evaluator::rechecks::recheck_of;
use crate::{DeploymentStepper, Error};

impl DeploymentStepper {
    /// Stores the end of a deployment, if `condition` holds. Where it is rolled back, the rollback takes the group's slot
    /// in the same transaction; else an upload that waited does.
    pub(super) async fn end(
        &self,
        mut stored: Stored<DeploymentRow>,
        told: &Told,
        (ending, now): (&Ending, Timestamp),
        condition: Write,
    ) -> Result<(), Error> {
        let group = rows::load::<Group>(
            &*self.base.table,
            &Group::key_of(&stored.row.deployment.order().group_id),
        )
        .await?;
        let Some(mut group) = group else {
            // Its hosts may have told of their ends after the group was deleted, and will not any more.
            let group = &stored.row.deployment.order().group_id;
            self.base.delete_members(group).await?;
            stored.row.deployment.apply(Fact::Ended { at: now, rolled_back_by: None });
            stored.row.wake_at = None;
            let mut writes = self.writes_of(&stored, told).await?;
            writes.push(condition);
            return Ok(self.base.table.write(&writes).await?);
        };
        let id = self.base.new_deployment_id();
        let rollback = ending.roll_back.then_some(&id);
        let next = group.row.slot.end(&stored.row.deployment, ending, rollback);
        let mut writes = vec![condition];
        let successor = self.successor(&stored, &mut group, next, &id, now, &mut writes).await?;
        let rolled_back_by = rollback.filter(|_| successor.is_some()).cloned();
        stored.row.deployment.apply(Fact::Ended { at: now, rolled_back_by });
        stored.row.wake_at = None;
        let is_changed = copies::adopt(&mut group.row, &stored.row.deployment, ending.status);
        if is_changed {
            writes.extend(self.base.note_scaling_groups(&group.row)?);
        }
        writes.extend(self.writes_of(&stored, told).await?);
        writes.push(group.replace()?);
        if let Some(recheck) = recheck_of(&stored.row.deployment, ending.status, now) {
            writes.push(rows::create(&recheck)?);
        }
        if let Some(row) = &successor {
            writes.extend(row.begin()?);
        }
        self.base.table.write(&writes).await?;
        info!(deployment = %stored.row.deployment.id(), status = ending.status.name(), next = successor.is_some().then(|| id.as_str()), "ended");
        self.measure_end(&stored.row.deployment, ending);
        if let Some(row) = successor {
            self.base.waker.wake(row.deployment.id(), Vec::new());
        }
        let copies = copies::copy_of(&stored.row.deployment).is_some();
        if copies || !scaling::processes_of(&group.row).is_empty() {
            ask_for(&*self.messages, Upkeep::Suspensions, 0).await;
        }
        if is_changed {
            ask_for(&*self.messages, Upkeep::Hooks { group_id: group.row.id.clone() }, 0).await;
        }
        Ok(())
    }

    fn measure_end(&self, deployment: &Deployment, ending: &Ending) {
        let count = |states: &[HostState]| -> u32 {
            states.iter().map(|state| deployment.hosts().count(*state)).sum()
        };
        let halted = deployment.halted();
        let outcomes = [
            (HostOutcome::Succeeded, count(&[HostState::Succeeded])),
            (HostOutcome::Failed, count(&[HostState::Failed]).saturating_sub(halted)),
            (HostOutcome::Silent, count(&[HostState::Silent, HostState::NotStarted])),
            (HostOutcome::Skipped, count(&[HostState::Skipped]) + halted),
            (HostOutcome::Gone, count(&[HostState::Gone])),
        ];
        self.base.meter.take(Measure::Deployment(ending.status));
        for (outcome, hosts) in outcomes.into_iter().filter(|(_, hosts)| *hosts > 0) {
            self.base.meter.take(Measure::Hosts(outcome, hosts));
        }
    }

    /// The deployment that takes the slot over, with what else has to be written for it.
    async fn successor(
        &self,
        ended: &Stored<DeploymentRow>,
        group: &mut Stored<Group>,
        next: Next,
        id: &engine::DeploymentId,
        now: Timestamp,
        writes: &mut Vec<Write>,
    ) -> Result<Option<DeploymentRow>, Error> {
        match next {
            Next::Nothing => Ok(None),
            Next::Rollback { generation } => {
                let order = ended.row.deployment.order();
                let previous = match order.creator.is_of_group() {
                    true => Some(order.id.clone()),
                    false => ended.row.previous.clone(),
                };
                let rollback = ended.row.deployment.rollback(id.clone(), generation, now);
                Ok(rollback.map(|deployment| DeploymentRow {
                    deployment,
                    application_id: ended.row.application_id.clone(),
                    wake_at: Some(now),
                    upload: None,
                    only: None,
                    targets: None,
                    previous,
                    place: ended.row.place.clone(),
                    layout: Layout::Gate,
                }))
            }
            Next::Queued(upload) => {
                let started = self.base.start_upload(group, &upload, id.clone(), now).await;
                let (state, row) = match started {
                    Ok(row) => (UploadState::Started(id.clone()), Some(row)),
                    // Nothing that the group asks for keeps a deployment from ending.
                    Err(Error::Refused(why)) => (UploadState::refused(&why), None),
                    Err(error) => return Err(error),
                };
                let key =
                    UploadRow::key_of(&upload.revision.bucket, &upload.identity, &group.row.id);
                if let Some(mut record) = rows::load::<UploadRow>(&*self.base.table, &key).await? {
                    record.row.state = state;
                    writes.push(record.replace()?);
                }
                Ok(row)
            }
        }
    }
}
