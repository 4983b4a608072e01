//! The invariants of aliases: what may be asked of them, what they are at the end, and that no host is concerned.

use control::rows::{HookRow, HookStatus, StopRow};
use control::table::Record;
use engine::appspec::Alias;
use engine::deployment::{Deployment, Stage, Status};
use engine::lifecycle::Event;

use crate::aliases::name_of;
use crate::carried::alias_of;
use crate::checks::{demand, read};
use crate::core::Core;
use crate::hook_functions::hook_written;

/// Whether the deployment says that its traffic is where it was before.
pub(crate) fn is_back(deployment: &Deployment) -> bool {
    let said = deployment.ended().and_then(|ended| ended.ending.rollback_refused.as_deref());
    said.is_some_and(|said| said.contains("where it was before"))
}

/// What must hold when somebody begins to change an alias.
pub(crate) fn share_begins(core: &Core, alias: &Alias, percent: u8) -> Result<(), String> {
    let name = name_of(alias);
    demand!(percent <= 100, "{name} is to give {percent}%");
    let rows = core.checks.deployments.values().map(|row| &row.deployment);
    let mut active = rows.filter(|deployment| deployment.ended().is_none());
    let deployment = active.find(|deployment| alias_of(deployment).as_ref() == Some(alias));
    let Some(deployment) = deployment else {
        return Err(format!("{name} is to give {percent}%, and no deployment is under way"));
    };
    let id = deployment.id();
    let known = deployment.percent().unwrap_or(0);
    if percent <= known {
        return Ok(());
    }
    let raises = format!("{id} raises {name} from {known}% to {percent}%");
    demand!(deployment.alarm().is_none(), "{raises} after its alarm");
    demand!(!deployment.stop_requested(), "{raises} after its stop");
    demand!(deployment.shift_failed_at().is_none(), "{raises} after it has failed");
    demand!(!deployment.steering().paused, "{raises} while it is paused");
    demand!(deployment.stage() >= Some(Stage::Move), "{raises} in {:?}", deployment.stage());
    demand!(hook_is_good(core, deployment, Event::BeforeAllowTraffic), "{raises} before its hook");
    Ok(())
}

/// Whether the hook of an event has said that it went well, or there is none.
pub(crate) fn hook_is_good(core: &Core, deployment: &Deployment, event: Event) -> bool {
    let has_one = deployment.hook_events().is_some_and(|hooks| hooks.contains(&event));
    let verdict = core.functions.hooks.verdict(deployment.id(), event);
    !has_one || verdict == Some(HookStatus::Succeeded)
}

/// What must hold of an alias that Cutover has just changed.
pub(crate) fn alias_changed(core: &Core, alias: &Alias) -> Result<(), String> {
    let name = name_of(alias);
    if let Some(state) = core.functions.aliases.get(alias) {
        state.holds(&name)?;
    }
    let rows = core.checks.deployments.values().map(|row| &row.deployment);
    // One that was refused before it knew the alias has asked for nothing, and says nothing of what others had under way; nor
    // does one to the version that is there.
    let of_alias = rows.filter(|deployment| {
        let is_of = |other: &Alias| name_of(other) == name && other.old != other.new;
        deployment.new_side().is_some() && alias_of(deployment).as_ref().is_some_and(is_of)
    });
    let Some(newest) = of_alias.max_by_key(|deployment| deployment.order().generation) else {
        return Err(format!("{name} was changed, and nobody deploys to it"));
    };
    let (id, has_ended) = (newest.id(), newest.ended().is_some());
    // Not one that ended with a change under way that nobody could take back: it says so.
    let is_settled = newest.status() == Status::Succeeded || is_back(newest);
    let of_newest = alias_of(newest);
    let known = of_newest.as_ref().zip(core.functions.aliases.get(alias));
    let share = known.and_then(|(alias, state)| state.share(alias).ok());
    let is_kept = share.is_some() && share == newest.percent();
    demand!(!has_ended || !is_settled || is_kept, "{name} was changed after {id} had ended");
    Ok(())
}

/// What a step of a deployment of an alias may do.
pub(crate) fn step_holds(core: &Core, new: &Deployment) -> Result<(), String> {
    if alias_of(new).is_none() {
        return Ok(());
    }
    let id = new.id();
    let has_hosts = !new.hosts().is_empty() || core.checks.hosts.contains_key(id);
    demand!(!has_hosts, "{id} deploys to an alias, and has hosts");
    let is_moving = new.stage() >= Some(Stage::Move);
    let is_allowed = hook_is_good(core, new, Event::BeforeAllowTraffic);
    demand!(!is_moving || is_allowed, "{id} allows traffic before its hook has succeeded");
    Ok(())
}

/// What must hold of a deployment of an alias that has ended.
pub(crate) fn end_holds(core: &Core, deployment: &Deployment) -> Result<(), String> {
    let (Some(alias), Some(ended)) = (alias_of(deployment), deployment.ended()) else {
        return Ok(());
    };
    let (id, order, status) = (deployment.id(), deployment.order(), ended.ending.status);
    let succeeded = status == Status::Succeeded;
    for event in [Event::BeforeAllowTraffic, Event::AfterAllowTraffic] {
        let is_good = hook_is_good(core, deployment, event);
        demand!(!succeeded || is_good, "{id} succeeded before its hook of {event}");
    }
    let goes_back = order.shift.as_ref().is_some_and(|shift| shift.back_to.is_some());
    let said = ended.ending.rollback_refused.as_deref().unwrap_or_default();
    if wants_back(core, deployment) && !goes_back {
        let is_told = is_back(deployment) || said.contains("could not be taken back");
        demand!(is_told, "{id} was to be taken back, and ended with {:?}", ended.ending);
    }
    let Some(state) = core.functions.aliases.get(&alias).filter(|state| !state.is_strange) else {
        return Ok(());
    };
    // Before that it may not be known how the alias stands.
    let was_known = deployment.stage() > Some(Stage::Install);
    match state.share(&alias) {
        Ok(share) if succeeded => {
            demand!(share == 100, "{id} succeeded, and its version has {share}%");
        }
        Ok(share) if is_back(deployment) && was_known && !goes_back => {
            demand!(share == 0, "{id} says that all is as it was, and its version has {share}%");
        }
        Ok(_) => {}
        Err(why) => demand!(!succeeded, "{id} succeeded, and {why}"),
    }
    Ok(())
}

/// Whether the settings, or who stopped it, want the traffic back, once more from the words of the documentation.
fn wants_back(core: &Core, deployment: &Deployment) -> bool {
    let rollback = deployment.order().auto_rollback;
    match deployment.status() {
        Status::Failed => rollback.on_failure,
        Status::Stopped if deployment.alarm().is_some() => rollback.on_alarm,
        Status::Stopped => {
            let asked = core.checks.stops.get(deployment.id()).copied().flatten();
            asked.unwrap_or(rollback.on_stop)
        }
        Status::Created | Status::InProgress | Status::Ready | Status::Succeeded => false,
    }
}

/// A record of what is said about a deployment was written.
pub(crate) fn said(core: &mut Core, record: &Record) -> Result<(), String> {
    if HookRow::is_at(&record.key) {
        return hook_written(core, read(record)?);
    }
    if record.key.sort == "STOP" {
        let stop: StopRow = read(record)?;
        core.checks.stops.insert(stop.deployment_id, stop.roll_back);
    }
    Ok(())
}

/// Gives a new deployment of a kind of carrier the time that it has in this world.
pub(crate) fn shorten(body: &mut String, carrier: &str, total_ms: u64) {
    const LIMIT: &str = "\"totalMs\":";
    let is_of_kind = body.contains(&format!("\"carrier\":{{\"{carrier}\""));
    if let Some(at) = body.find(LIMIT).filter(|_| is_of_kind) {
        let digits = at + LIMIT.len();
        let end = body.get(digits..).and_then(|rest| rest.find(|c: char| !c.is_ascii_digit()));
        if let Some(end) = end {
            body.replace_range(digits..digits + end, &total_ms.to_string());
        }
    }
}
