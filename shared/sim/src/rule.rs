//! The rule of minimum healthy hosts and the verdict once more, from the words of the documentation and host by host:
//! what the engine is compared with.

use engine::deployment::{Creator, Deployment, FailureCode, HostState, Status};
use engine::health::{Minimum, Rule};

use crate::checks::demand;
use crate::zones;

/// How many hosts of `total` the configuration wants healthy.
fn required(rule: &Rule, total: u32) -> u32 {
    match rule.minimum {
        Minimum::OneAtATime => total.saturating_sub(1).max(1),
        Minimum::HostCount(count) => count,
        Minimum::FleetPercent(percent) => (total * u32::from(percent)).div_ceil(100),
    }
}

/// How many hosts of a deployment have to stay in service. One of CodeDeploy's own configurations always spares one.
pub(crate) fn least(deployment: &Deployment) -> usize {
    let rule = &deployment.order().rule;
    let total = count(deployment, |_, state| state != HostState::Gone);
    let required = required(rule, total);
    let least = if rule.predefined { required.min(total.saturating_sub(1)) } else { required };
    usize::try_from(least).unwrap_or(usize::MAX)
}

fn count(deployment: &Deployment, wanted: impl Fn(u32, HostState) -> bool) -> u32 {
    let hosts = deployment.hosts();
    let states = (0..hosts.len()).filter_map(|at| hosts.get(at).map(|host| (at, host.state)));
    u32::try_from(states.filter(|(at, state)| wanted(*at, *state)).count()).unwrap_or(u32::MAX)
}

fn is_bad(state: HostState) -> bool {
    matches!(state, HostState::Failed | HostState::Silent | HostState::NotStarted)
}

/// Whether the hosts `started` may have been started, in the state that they were left in.
pub(crate) fn allows(deployment: &Deployment, started: &[u32]) -> Result<(), String> {
    let hosts = deployment.hosts();
    spares(deployment, &deployment.order().rule, |_| true, started)?;
    if let Some(zonal) = deployment.order().zonal {
        for number in 0..zones::top(deployment) {
            let is_in = |at: u32| zones::is_in(hosts, number, at);
            let of_zone: Vec<u32> = started.iter().copied().filter(|at| is_in(*at)).collect();
            spares(deployment, &zonal.rule(), is_in, &of_zone)
                .map_err(|broken| format!("in the zone {number}, {broken}"))?;
        }
    }
    let id = deployment.id();
    let is_untouched =
        |at: &u32| hosts.get(*at).is_some_and(|host| host.state == HostState::Untouched);
    let place = |at: u32| zones::place(hosts, at);
    let next = (0..hosts.len()).filter(is_untouched).map(place).min();
    let in_order = next.is_none_or(|next| started.iter().all(|ordinal| place(*ordinal) < next));
    demand!(in_order, "{id} started {started:?} before {next:?}");
    Ok(())
}

/// Whether a rule lets hosts start, of the fleet or of a zone.
fn spares(
    deployment: &Deployment,
    rule: &Rule,
    is_in: impl Fn(u32) -> bool,
    started: &[u32],
) -> Result<(), String> {
    if started.is_empty() {
        return Ok(());
    }
    let id = deployment.id();
    let hosts = deployment.hosts();
    // Hosts that a rollback leaves alone count as what they are.
    let others = hosts.left_alone();
    let total = count(deployment, |at, state| is_in(at) && state != HostState::Gone);
    let total = total + others.healthy + others.unhealthy;
    let failed = count(deployment, |at, state| is_in(at) && is_bad(state));
    // In a shift, who waits for the traffic to move has succeeded so far.
    let waits = |at: u32| deployment.waiting().contains(at);
    let in_flight = count(deployment, |at, state| is_in(at) && state.in_flight() && !waits(at));
    let required = required(rule, total);
    let at_once = match rule.minimum {
        Minimum::OneAtATime => 1,
        Minimum::HostCount(_) | Minimum::FleetPercent(_) => total.saturating_sub(required).max(1),
    };
    // Those of a rollback that have no traffic are started all together.
    let are_out = started.iter().all(|ordinal| *ordinal < hosts.out());
    demand!(
        in_flight <= at_once || are_out,
        "{id} has {in_flight} hosts in flight where {at_once} are allowed"
    );
    let too_many = failed > 0 && total - failed - others.unhealthy <= required;
    demand!(!too_many, "{id} goes on after {failed} of {total} hosts failed");
    // Hosts that arrived are new.
    let is_healthy = |at: u32| zones::place(hosts, at).1 == 2;
    let was_healthy = started.iter().any(|ordinal| is_healthy(*ordinal));
    let healthy = count(deployment, |at, state| {
        let is_good = state == HostState::Succeeded
            || (state == HostState::Untouched && is_healthy(at))
            || (state.in_flight() && waits(at));
        is_in(at) && is_good
    });
    let healthy = healthy + others.healthy;
    // One of CodeDeploy's own configurations always spares a host, and so does one that others keep from being met.
    let spares_one = rule.predefined || others.unhealthy > 0;
    let least = if spares_one { required.min(total - others.unhealthy - 1) } else { required };
    demand!(!was_healthy || healthy >= least, "{id} leaves {healthy} healthy hosts of {least}");
    Ok(())
}

/// Whether a zone has as many good hosts as it has to. Those that a stop left out are not counted.
pub(crate) fn zone_is_good(deployment: &Deployment, number: u32) -> bool {
    let Some(zonal) = deployment.order().zonal else { return true };
    let is_in = |at: u32| zones::is_in(deployment.hosts(), number, at);
    let is_counted = |state| !matches!(state, HostState::Gone | HostState::Skipped);
    let total = count(deployment, |at, state| is_in(at) && is_counted(state));
    let good = count(deployment, |at, state| is_in(at) && state == HostState::Succeeded);
    good == total || (good > 0 && good >= required(&zonal.rule(), total))
}

/// Whether a deployment ended as its hosts say that it should have.
pub(crate) fn verdict_holds(deployment: &Deployment) -> Result<(), String> {
    let Some(ended) = deployment.ended() else { return Ok(()) };
    if deployment.order().shift.is_some() {
        return Ok(());
    }
    let id = deployment.id();
    let order = deployment.order();
    let status = ended.ending.status;
    let code = ended.ending.failure.as_ref().map(|failure| failure.code);
    let total = count(deployment, |_, state| state != HostState::Gone);
    let good = count(deployment, |_, state| state == HostState::Succeeded);
    let touched = count(deployment, |_, state| is_bad(state) || state == HostState::Succeeded);
    // A host that never claimed its command was started by nobody.
    let started = touched - count(deployment, |_, state| state == HostState::NotStarted);
    let others = deployment.hosts().left_alone();
    let is_over_time = ended.at.since_ms(order.created_at)
        >= deployment.limit_ms() + deployment.paused_ms(ended.at);
    let required = required(&order.rule, total + others.healthy + others.unhealthy);
    let has_climbed = deployment.climb().rung == zones::top(deployment);
    let is_broken =
        matches!(code, Some(FailureCode::RevisionMissing | FailureCode::InvalidRevision));
    let expected = if is_broken {
        demand!(deployment.pin().is_none(), "{id} has a bundle and failed for the want of it");
        Status::Failed
    } else if deployment.alarm().is_some() || deployment.stop_requested() {
        Status::Stopped
    } else if deployment.is_sealed() && total > 0 && good == total && has_climbed {
        Status::Succeeded
    } else if is_over_time {
        Status::Failed
    } else {
        demand!(deployment.is_sealed() && deployment.pin().is_some(), "{id} ended before it began");
        let all_tried = touched == total;
        let had_nothing_to_do = total == 0 && others.healthy + others.unhealthy > 0;
        let is_enough = had_nothing_to_do || (good > 0 && good + others.healthy >= required);
        let mut zones = 0..zones::top(deployment);
        let is_enough = is_enough && zones.all(|number| zone_is_good(deployment, number));
        if all_tried && is_enough { Status::Succeeded } else { Status::Failed }
    };
    demand!(status == expected, "{id} ended as {status:?}, and its hosts say {expected:?}");
    demand!(
        (code == Some(FailureCode::Timeout)) <= is_over_time,
        "{id} is said to be out of time, and is not"
    );
    let wanted = match status {
        Status::Failed => order.auto_rollback.on_failure,
        Status::Stopped if deployment.has_heard_stop(Some(true)) => true,
        Status::Stopped if deployment.alarm().is_some() => order.auto_rollback.on_alarm,
        Status::Stopped => ended.ending.roll_back || order.auto_rollback.on_stop,
        Status::Created | Status::InProgress | Status::Ready | Status::Succeeded => false,
    };
    let possible =
        order.creator == Creator::User && order.rolls_back.is_none() && order.fallback.is_some();
    demand!(!ended.ending.roll_back || (wanted && possible), "{id} must not be rolled back");
    let is_due = status == Status::Failed || deployment.alarm().is_some();
    let due = is_due && wanted && possible && started > 0;
    demand!(!due || ended.ending.roll_back, "{id} must be rolled back");
    Ok(())
}
