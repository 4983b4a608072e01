//! The invariants of blue/green through one target group in the simulated world.

use std::collections::{BTreeMap, BTreeSet};

use control::ports::Standing;
use engine::deployment::{Deployment, HostState, Status};

use crate::carried::exchanged_in;
use crate::checks::demand;
use crate::core::Core;

fn is_active(standing: &Standing) -> bool {
    matches!(standing, Standing::In | Standing::Starting(_))
}

/// What must hold when hosts are taken out of a target group whose hosts are exchanged: others are left there, if others
/// were ever there.
pub(crate) fn drain_begins(core: &Core, group: &str, hosts: &[String]) -> Result<(), String> {
    let mut deployments = core.checks.deployments.values().map(|row| &row.deployment);
    if !deployments.any(|deployment| exchanged_in(deployment).as_deref() == Some(group)) {
        return Ok(());
    }
    let go: BTreeSet<&str> = hosts.iter().map(String::as_str).collect();
    let others = core.traffic.others_in(group, &go, core.now);
    let are_served =
        hosts.iter().any(|host| core.traffic.standing(group, host, core.now) == Standing::In);
    let had_others = core.traffic.had_others(group, &go);
    demand!(
        others > 0 || !are_served || !had_others,
        "nobody is left in {group} when {hosts:?} go"
    );
    Ok(())
}

/// What must hold of an exchange that has ended.
pub(crate) fn end_holds(core: &Core, deployment: &Deployment) -> Result<(), String> {
    let (Some(group), Some(ended)) = (exchanged_in(deployment), deployment.ended()) else {
        return Ok(());
    };
    let id = deployment.id();
    let own = core.checks.hosts.get(id).into_iter().flat_map(BTreeMap::values);
    let standing = |host: &str| core.traffic.standing(&group, host, core.now);
    let is_back = ended.ending.rollback_refused.as_deref().unwrap_or_default();
    let is_back = is_back.contains("where it was before");
    let succeeded = ended.ending.status == Status::Succeeded && deployment.order().has_hosts();
    for host in own.clone() {
        let known = deployment.hosts().get(host.ordinal);
        let is_good = known.is_some_and(|known| known.state == HostState::Succeeded);
        if core.traffic.strangers.contains(&host.name) {
            continue;
        }
        let is = standing(&host.name);
        demand!(!(succeeded && is_good) || is_active(&is), "{} of {id} is {is:?}", host.name);
        demand!(!is_back || !is_active(&is), "{} of {id} is {is:?} after the way back", host.name);
    }
    if succeeded {
        let own = own.map(|host| host.name.as_str());
        let strangers = core.traffic.strangers.iter().map(String::as_str);
        let left_alone: BTreeSet<&str> = own.chain(strangers).collect();
        let others = core.traffic.others_in(&group, &left_alone, core.now);
        demand!(others == 0, "{others} hosts have traffic of {group} beside those of {id}");
    }
    Ok(())
}
