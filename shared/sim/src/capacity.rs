//! Capacity in the simulated world: what may be taken out of service, looked at in each moment in which somebody takes
//! traffic from hosts. A withdrawal leaves as many hosts as the rule of minimum healthy hosts demands, and the rollback
//! that follows takes out only hosts that it works on, which together are no more than the rule allows.

use std::collections::{BTreeMap, BTreeSet};

use control::ports::Standing;
use engine::deployment::{Deployment, HostState};

use crate::checks::demand;
use crate::core::Core;
use crate::rule;

/// What balancers have told.
#[derive(Debug, Default)]
pub(crate) struct Capacity {
    /// When somebody was last told that a host has no traffic of a target group.
    told_out: BTreeMap<(String, String), u64>,
}

impl Capacity {
    /// Somebody is told how hosts stand.
    pub(crate) fn told(&mut self, group: &str, standings: &BTreeMap<String, Standing>, now: u64) {
        for (host, standing) in standings {
            if matches!(standing, Standing::Out | Standing::Draining) {
                self.told_out.insert((group.to_owned(), host.clone()), now);
            }
        }
    }

    fn was_out(&self, group: &str, host: &str, since: u64) -> bool {
        let place = (group.to_owned(), host.to_owned());
        self.told_out.get(&place).is_some_and(|at| *at >= since)
    }
}

/// The deployments that have not ended whose hosts get their traffic of a target group one by one.
fn active<'a>(core: &'a Core, group: &'a str) -> impl Iterator<Item = &'a Deployment> {
    let ids = core.checks.active.values().flatten();
    let rows = ids.filter_map(|id| core.checks.deployments.get(id));
    let of_group = move |deployment: &&Deployment| {
        let traffic = deployment.order().traffic.as_ref();
        traffic.is_some_and(|traffic| traffic.groups.iter().any(|name| name == group))
    };
    rows.map(|row| &row.deployment).filter(of_group)
}

/// The hosts of a deployment that nothing is done to, and have traffic of a target group.
fn steady(core: &Core, deployment: &Deployment, group: &str) -> BTreeSet<String> {
    let rows = core.checks.hosts.get(deployment.id()).into_iter().flat_map(BTreeMap::values);
    let is_steady = |ordinal| {
        let state = deployment.hosts().get(ordinal).map(|host| host.state);
        state.is_some_and(|state| !state.in_flight() && state != HostState::Gone)
    };
    let serves = |host: &str| core.traffic.standing(group, host, core.now) == Standing::In;
    rows.filter(|row| is_steady(row.ordinal) && serves(&row.name))
        .map(|row| row.name.clone())
        .collect()
}

/// What must hold in the moment in which hosts lose the traffic of a target group.
pub(crate) fn drain_holds(core: &Core, group: &str, hosts: &[String]) -> Result<(), String> {
    for deployment in active(core, group) {
        let id = deployment.id();
        let serving = steady(core, deployment, group);
        let lost: Vec<&String> = hosts.iter().filter(|host| serving.contains(*host)).collect();
        if lost.is_empty() {
            continue;
        }
        let is_rollback = deployment.order().rolls_back.is_some();
        demand!(
            !is_rollback,
            "{lost:?} have traffic, and lose it in the rollback {id} for nothing"
        );
        let Some(alarm) = deployment.alarm() else { continue };
        demand!(alarm.unreadable.is_none(), "{id} takes out {lost:?}, and no alarm says why");
        let least = rule::least(deployment);
        let left = serving.len() - lost.len();
        demand!(
            left >= least,
            "{id} takes {lost:?} out of {group} after its alarm, and leaves {left} of {least}"
        );
    }
    Ok(())
}

/// What must hold of the hosts that a rollback takes for out of traffic, when they are enrolled.
pub(crate) fn roster_holds(core: &Core, deployment: &Deployment) -> Result<(), String> {
    let (id, order) = (deployment.id(), deployment.order());
    let out = deployment.hosts().out();
    demand!(out == 0 || order.rolls_back.is_some(), "{id} is no rollback, and knows who is out");
    let since = core.checks.created.get(id).copied().unwrap_or_default();
    let rows = core.checks.hosts.get(id).into_iter().flat_map(BTreeMap::values);
    for row in rows.filter(|row| row.ordinal < out) {
        for group in order.traffic.iter().flat_map(|traffic| &traffic.groups) {
            let was_out = core.traffic.capacity.was_out(group, &row.name, since);
            demand!(
                was_out,
                "{} is taken for out of {group} in {id}, and nobody said so",
                row.name
            );
        }
    }
    Ok(())
}

/// Those that are out of traffic are started together, as far as the ramp goes: `started` within the last second.
pub(crate) fn are_started_together(deployment: &Deployment, started: u32) -> Result<(), String> {
    let most = deployment.order().start_ramp.map_or(u32::MAX, |most| most.max(1));
    let left = deployment.hosts().fleet().untouched_out;
    let id = deployment.id();
    demand!(left == 0 || started >= most, "{id} leaves {left} hosts that have no traffic waiting");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_a_host_was_out_counts_only_since_a_moment() {
        let mut capacity = Capacity::default();
        let out =
            BTreeMap::from([("a".to_owned(), Standing::Draining), ("b".to_owned(), Standing::In)]);
        capacity.told("home:web", &out, 100);
        assert!(capacity.was_out("home:web", "a", 100));
        assert!(!capacity.was_out("home:web", "a", 101), "that was before");
        assert!(!capacity.was_out("home:web", "b", 0), "it has traffic");
        assert!(!capacity.was_out("home:shop", "a", 0), "that is another target group");
    }
}
