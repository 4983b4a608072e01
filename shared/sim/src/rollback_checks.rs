//! What holds of rollbacks: what they go back to, and which hosts they leave alone.

use control::rows::HostRow;
use engine::deployment::{Creator, Deployment, HostState, Status};

use crate::checks::{Checks, demand};

/// A rollback has the revision that worked when what it rolls back was created; one by hand of a success has other bytes.
pub(crate) fn order_holds(checks: &Checks, new: &Deployment) -> Result<(), String> {
    let order = new.order();
    let Some(undone) = order.rolls_back.as_ref().and_then(|id| checks.deployments.get(id)) else {
        return Ok(());
    };
    let undone = &undone.deployment;
    let (id, of) = (new.id(), undone.id());
    let by_hand_of_success = order.creator == Creator::User && undone.status() == Status::Succeeded;
    if order.shift.is_some() {
        return Ok(());
    }
    if by_hand_of_success {
        let bytes = |deployment: &Deployment| deployment.pin().map(|pin| pin.sha256.clone());
        demand!(bytes(new) != bytes(undone), "{id} rolls {of} back to the bytes that it has");
        return Ok(());
    }
    let fallback = undone.order().fallback.as_ref().map(|fallback| &fallback.revision);
    demand!(fallback == Some(&order.revision), "{id} rolls {of} back to another revision");
    Ok(())
}

/// A rollback that follows at once goes to no host that what it rolls back never started.
pub(crate) fn roster_holds(checks: &Checks, new: &Deployment) -> Result<(), String> {
    let order = new.order();
    let Some(undone) = order.rolls_back.as_ref().and_then(|id| checks.deployments.get(id)) else {
        return Ok(());
    };
    let undone = &undone.deployment;
    let follows = undone.order().generation + 1 == order.generation;
    let is_shift = order.shift.is_some() || undone.order().shift.is_some();
    if !follows || is_shift || undone.status() == Status::Succeeded {
        return Ok(());
    }
    let before = checks.hosts.get(undone.id());
    let lost_traffic = undone.alarm().is_some() && undone.order().traffic.is_some();
    for row in checks.hosts.get(new.id()).into_iter().flat_map(|hosts| hosts.values()) {
        let was = before.and_then(|hosts| hosts.values().find(|host| host.name == row.name));
        let is_started = |host: &HostRow| {
            let known = undone.hosts().get(host.ordinal);
            let is_gone = known.is_some_and(|known| known.state == HostState::Gone);
            let was_sent = known.is_some_and(|known| known.attempt > 0);
            host.heard_at.is_some() || (was_sent && (is_gone || lost_traffic))
        };
        let holds = row.arrived || was.is_some_and(is_started);
        demand!(
            holds,
            "{} takes {} along, which {} never started",
            new.id(),
            row.name,
            undone.id()
        );
    }
    Ok(())
}
