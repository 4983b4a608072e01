//! Copies of Auto Scaling groups in the simulated world, and what must hold of them.

use control::ports::{CloudError, CopyStanding, GroupCopy, Instance, InstanceState, Standing};
use engine::deployment::Deployment;

use crate::checks::demand;
use crate::cloud::ScalingGroup;
use crate::core::{Core, Event};
use crate::fleet::Change;

/// Most instances that a copy has.
const MOST: usize = 4;

fn is_alive(instance: &Instance) -> bool {
    matches!(instance.state, InstanceState::Pending | InstanceState::Running)
}

impl Core {
    /// The instances of a group that are not terminated.
    fn instances_of(&self, group: &str) -> impl Iterator<Item = &Instance> {
        let all = self.cloud.machines.values().map(|machine| &machine.instance);
        all.filter(move |found| found.scaling_group.as_deref() == Some(group) && is_alive(found))
    }

    /// Makes a copy, whose instances come up one after the other, and tells how it stands.
    pub(crate) fn copy(&mut self, copy: &GroupCopy) -> Result<CopyStanding, CloudError> {
        let GroupCopy { from, to, .. } = copy;
        if !self.cloud.scaling_groups.contains_key(to) {
            let (service, operation) = ("Auto Scaling", "CreateAutoScalingGroup");
            let refused = |message| Err(CloudError::Refused { service, operation, message });
            let count = self.instances_of(from).count().min(MOST);
            let Some(known) = self.cloud.scaling_groups.get(from) else {
                return refused(format!("there is no group {from}"));
            };
            if count == 0 {
                return refused(format!("{from} has no instances"));
            }
            let resting = GroupCopy::RESTING.map(str::to_owned);
            let by_user = resting.iter().filter(|process| known.by_user.contains(*process));
            let made = ScalingGroup {
                by_user: by_user.cloned().collect(),
                suspended: resting.iter().cloned().collect(),
                copied: u32::try_from(count).ok(),
                ..ScalingGroup::default()
            };
            self.tell(to, || format!("is made with {count} instances, like {from}"));
            drop(self.cloud.scaling_groups.insert(to.clone(), made));
            for _ in 0..count {
                let ms = self.random.between(100, 60_000);
                self.push(ms, Event::Change(Change::LaunchIn(to.clone())));
            }
        }
        let wanted = self.cloud.scaling_groups.get(to).and_then(|group| group.copied).unwrap_or(0);
        // What is gone counts: nobody looks after its health while that rests.
        let all = self.cloud.machines.values().map(|machine| &machine.instance);
        let in_service = all
            .filter(|found| found.scaling_group.as_ref() == Some(to))
            .filter(|found| found.state != InstanceState::Pending)
            .count();
        let in_service = u32::try_from(in_service).unwrap_or(0);
        Ok(CopyStanding { wanted, in_service, trouble: None })
    }

    /// Deletes a group that a deployment has made; whether nothing is left of it.
    pub(crate) fn delete_copy(&mut self, name: &str) -> bool {
        let is_copy =
            self.cloud.scaling_groups.get(name).is_some_and(|group| group.copied.is_some());
        if !is_copy {
            return true;
        }
        let alive: Vec<String> = self.instances_of(name).map(|found| found.id.clone()).collect();
        let has_traffic = |host: &&String| self.traffic.is_anywhere_in(host, self.now);
        if let Some(host) = alive.iter().find(has_traffic) {
            self.violate(format!("{name} is deleted, and {host} has traffic"));
        }
        self.tell(name, || "is deleted".to_owned());
        if alive.is_empty() {
            drop(self.cloud.scaling_groups.remove(name));
            return true;
        }
        let Some(group) = self.cloud.scaling_groups.get_mut(name) else { return true };
        if !std::mem::replace(&mut group.is_ending, true) {
            for id in alive {
                let ms = self.random.between(10, 30_000);
                self.push(ms, Event::Change(Change::Dies(id)));
            }
        }
        false
    }
}

/// What must hold of the copy of a deployment that has ended without success: it costs nobody anything.
pub(crate) fn end_holds(core: &Core, deployment: &Deployment) -> Result<(), String> {
    let shift = deployment.order().shift.as_ref();
    let Some(copy) = shift.and_then(|shift| shift.copies.as_ref()) else { return Ok(()) };
    let id = deployment.id();
    let succeeded = deployment.status() == engine::deployment::Status::Succeeded;
    let told = deployment.ended().and_then(|ended| ended.ending.rollback_refused.as_deref());
    let is_back = told.unwrap_or_default().contains("where it was before");
    let left = core.instances_of(&copy.to).count();
    demand!(succeeded || !is_back || left == 0, "{id} leaves {left} instances of {}", copy.to);
    let has_group = core.cloud.scaling_groups.contains_key(&copy.to);
    demand!(!succeeded || has_group, "{id} succeeded with {}, which is gone", copy.to);
    Ok(())
}

impl crate::traffic::TrafficWorld {
    /// Whether a host has traffic of a target group that it was let into.
    fn is_anywhere_in(&self, host: &str, now: u64) -> bool {
        self.groups_of(host).any(|group| self.standing(group, host, now) == Standing::In)
    }
}
