//! The invariants of services: no tasks are ended that have traffic or that the traffic may go back to, no traffic moves
//! before everything says that it may, and what is left at the end. They stand on how the simulated ECS and its listeners
//! are, not on what a deployment believes.

use control::ports::{Pair, Service};
use engine::DeploymentId;
use engine::deployment::{Deployment, Request, Side, Stage, Status};
use engine::lifecycle::Event;

use crate::carried::{service_of, sides_of};
use crate::checks::demand;
use crate::core::Core;
use crate::function_checks::{hook_is_good, is_back};
use crate::task_sets::SetState;

/// The hooks that have to have succeeded before a stage, and the last stage that is before it.
const HOOKS: [(Event, Stage); 5] = [
    (Event::BeforeInstall, Stage::BeforeInstall),
    (Event::AfterInstall, Stage::AfterInstall),
    (Event::AfterAllowTestTraffic, Stage::AfterTest),
    (Event::BeforeAllowTraffic, Stage::Before),
    (Event::AfterAllowTraffic, Stage::After),
];

/// How long a deployment tries at least to take its traffic back, in milliseconds.
const TRIES_MS: u64 = 25_000;

fn goes_back(deployment: &Deployment) -> bool {
    deployment.order().shift.as_ref().is_some_and(|shift| shift.back_to.is_some())
}

fn is_doomed(deployment: &Deployment) -> bool {
    deployment.alarm().is_some()
        || deployment.stop_requested()
        || deployment.shift_failed_at().is_some()
}

/// The deployment of a service that is under way.
fn active<'a>(core: &'a Core, service: &str) -> Option<&'a Deployment> {
    let all = core.checks.deployments.values().map(|row| &row.deployment);
    let mut active = all.filter(|deployment| deployment.ended().is_none());
    active.find(|deployment| service_of(deployment).is_some_and(|known| known.name == service))
}

/// Whether the tasks of a deployment are steady.
fn are_steady(core: &Core, deployment: &Deployment) -> bool {
    let service = service_of(deployment);
    let state = service.as_ref().and_then(|service| core.services.get(&service.name));
    let mut sets = state.into_iter().flat_map(|state| &state.sets);
    sets.any(|set| set.of.as_ref() == Some(deployment.id()) && set.is_steady(core.now))
}

/// How much of the traffic of the production listener a side has.
fn weight(core: &Core, service: &Service, side: u8) -> u8 {
    core.services.weight(&service.listener, &service.name, side, core.now)
}

fn test_weight(core: &Core, service: &Service, side: u8) -> Option<u8> {
    let listener = service.test_listener.as_ref()?;
    Some(core.services.weight(listener, &service.name, side, core.now))
}

fn has_tasks(core: &Core, service: &Service, side: u8) -> bool {
    core.services.get(&service.name).is_some_and(|state| state.on(side).next().is_some())
}

/// What must hold when somebody begins to set the weights of a listener.
pub(crate) fn split_begins(
    core: &Core,
    listener: &str,
    pair: &Pair,
    percent: u8,
) -> Result<(), String> {
    demand!(percent <= 100, "{listener} is to give {percent}%");
    let name = listener.split(':').next().unwrap_or_default();
    let Some(deployment) = active(core, name) else {
        return Err(format!("{listener} is to give {} {percent}%, and nobody deploys", pair.new));
    };
    let (id, stage) = (deployment.id(), deployment.stage().unwrap_or_default());
    let Some(service) = &service_of(deployment) else { return Ok(()) };
    demand!(
        sides_of(deployment) == Some((pair.old.clone(), pair.new.clone())),
        "{listener} is to give {} {percent}%, and {id} moves between others",
        pair.new
    );
    let new = deployment.new_side().unwrap_or(1);
    for (side, share) in [(new, percent), (1 - new.min(1), 100 - percent)] {
        let is_carried = share == 0 || has_tasks(core, service, side);
        demand!(is_carried, "{listener} is to give side {side} {share}%, and no tasks are there");
    }
    let gives = format!("{listener} is to give the new side of {id} {percent}% in {stage:?}");
    if service.test_listener.as_deref() == Some(listener) {
        let is_tested = percent == 0 || stage >= Stage::Test;
        demand!(is_tested, "{gives}, and it is not up");
        return Ok(());
    }
    if percent <= deployment.percent().unwrap_or(0) {
        return Ok(());
    }
    demand!(!is_doomed(deployment), "{gives}, and it was stopped or has failed");
    demand!(!deployment.steering().paused, "{gives}, and it is paused");
    demand!(stage >= Stage::Move, "{gives}");
    for (event, before) in HOOKS.into_iter().filter(|(_, before)| *before < Stage::Move) {
        let has_one = before != Stage::AfterTest || service.test_listener.is_some();
        demand!(!has_one || hook_is_good(core, deployment, event), "{gives} before {event}");
    }
    if !goes_back(deployment) {
        demand!(are_steady(core, deployment), "{gives}, and its tasks are not steady");
        let has_test = test_weight(core, service, new).is_none_or(|share| share == 100);
        demand!(has_test, "{gives}, and it does not have the test traffic");
    }
    Ok(())
}

/// What must hold when somebody begins to bring up tasks, which ends others in the same target group.
pub(crate) fn bring_up_begins(
    core: &Core,
    service: &Service,
    side: u8,
    id: &DeploymentId,
) -> Result<(), String> {
    let share = weight(core, service, side);
    demand!(share == 0, "{id} is to bring up tasks in side {side}, which has {share}%");
    let deployment = active(core, &service.name);
    let deployment = deployment.filter(|deployment| deployment.id() == id);
    let Some(deployment) = deployment else {
        return Err(format!("{id} is to bring up tasks, and is not under way"));
    };
    demand!(!is_doomed(deployment), "{id} is to bring up tasks, and was stopped or has failed");
    let is_ending = deployment.wants(&Request::Retire { side: Side::New });
    demand!(!is_ending, "{id} is to bring up tasks while they are ended");
    let is_good = hook_is_good(core, deployment, Event::BeforeInstall);
    demand!(is_good, "{id} is to bring up tasks before its hook has succeeded");
    demand!(deployment.new_side() == Some(side), "{id} is to bring up tasks in the old side");
    Ok(())
}

/// What must hold when somebody begins to end a side of a service.
pub(crate) fn end_of_side_begins(core: &Core, service: &Service, kept: u8) -> Result<(), String> {
    let side = 1 - kept.min(1);
    let name = &service.name;
    let Some(deployment) = active(core, name) else {
        return Err(format!("side {side} of {name} is to be ended, and nobody deploys"));
    };
    let (id, stage) = (deployment.id(), deployment.stage().unwrap_or_default());
    let share = weight(core, service, side);
    demand!(share == 0, "{id} is to end side {side} of {name} in {stage:?}, which has {share}%");
    if deployment.new_side() == Some(side) {
        demand!(stage < Stage::Retire, "{id} is to end its new side in {stage:?}");
        demand!(
            is_doomed(deployment) || has_timed_out(core, deployment),
            "{id} is to end its tasks"
        );
        return Ok(());
    }
    demand!(stage == Stage::Retire, "{id} is to end its old side in {stage:?}");
    let is_kept = core.services.doomed.contains_key(id);
    demand!(!is_kept, "{id} is to end its old side, and was stopped or had failed before that");
    let is_good = hook_is_good(core, deployment, Event::AfterAllowTraffic);
    demand!(is_good, "{id} is to end its old side before its last hook has succeeded");
    Ok(())
}

fn has_timed_out(core: &Core, deployment: &Deployment) -> bool {
    // The clocks of servers are apart by a few seconds.
    let lasts_ms = deployment.limit_ms() + deployment.paused_ms(deployment.latest());
    core.time().plus_ms(10_000) >= deployment.order().created_at.plus_ms(lasts_ms)
}

/// What must hold of a task set that was ended just now.
pub(crate) fn set_ended(core: &Core, name: &str, set: &SetState) -> Result<(), String> {
    let listener = format!("{name}:front");
    let share = core.services.weight(&listener, name, set.side, core.now);
    demand!(share == 0, "{} of {name} was ended, and its side has {share}% of the traffic", set.id);
    let Some(deployment) = active(core, name) else { return Ok(()) };
    let id = deployment.id();
    let is_old = deployment.new_side().is_some_and(|new| new != set.side);
    let is_kept = is_old && deployment.stage() < Some(Stage::Retire);
    demand!(!is_kept, "{} of {name} was ended, and the traffic of {id} may go back to it", set.id);
    Ok(())
}

/// What a step of a deployment of a service may do.
pub(crate) fn step_holds(
    core: &mut Core,
    old: &Deployment,
    new: &Deployment,
) -> Result<(), String> {
    let Some(service) = &service_of(new) else { return Ok(()) };
    let (id, was, is) =
        (new.id(), old.stage().unwrap_or_default(), new.stage().unwrap_or_default());
    demand!(new.hosts().is_empty(), "{id} deploys to a service, and has hosts");
    for (event, stage) in HOOKS {
        let has_one = stage != Stage::AfterTest || service.test_listener.is_some();
        let is_past = is > stage && has_one;
        demand!(!is_past || hook_is_good(core, new, event), "{id} is in {is:?} before {event}");
    }
    if !goes_back(new) {
        let is_installed = was <= Stage::Install && is > Stage::Install;
        demand!(
            !is_installed || are_steady(core, new),
            "{id} is in {is:?}, and its tasks are not steady"
        );
        let side = new.new_side().unwrap_or(1);
        let is_tried = was <= Stage::Test && is > Stage::Test;
        let has_test = test_weight(core, service, side).is_none_or(|share| share == 100);
        demand!(!is_tried || has_test, "{id} is in {is:?} without the test traffic");
    }
    if is < Stage::Retire && is_doomed(new) {
        core.services.doomed.entry(id.clone()).or_insert_with(|| new.latest());
    }
    demand!(
        is < Stage::Retire || was >= Stage::Retire || !core.services.doomed.contains_key(id),
        "{id} was stopped or has failed, and goes on to {is:?}"
    );
    Ok(())
}

/// What must hold of a deployment of a service that has ended.
pub(crate) fn end_holds(core: &Core, deployment: &Deployment) -> Result<(), String> {
    let (Some(service), Some(ended)) = (&service_of(deployment), deployment.ended()) else {
        return Ok(());
    };
    let id = deployment.id();
    let Some(new) = deployment.new_side() else { return Ok(()) };
    let old = 1 - new.min(1);
    let Some(state) = core.services.get(&service.name) else { return Ok(()) };
    let share = weight(core, service, new);
    let sum = share + weight(core, service, old);
    demand!(sum == 100, "the listener of {id} gives {sum}% in all");
    if ended.ending.status == Status::Succeeded {
        let [set] = state.sets.as_slice() else {
            return Err(format!("{id} succeeded, and there are the task sets {:?}", state.sets));
        };
        let is_its_own = set.of.as_ref() == Some(id) || goes_back(deployment);
        demand!(
            share == 100 && set.side == new && set.is_primary && is_its_own,
            "{id} succeeded with {share}% of the traffic, and there is {set:?}"
        );
        let tested = test_weight(core, service, new).is_none_or(|share| share == 100);
        demand!(tested, "{id} succeeded without the test traffic");
        return Ok(());
    }
    let stage = deployment.stage().unwrap_or_default();
    if stage < Stage::Retire {
        let is_there = state.on(old).next().is_some() || goes_back(deployment);
        demand!(is_there, "{id} ended in {stage:?}, and what was before is no more");
    }
    let said = ended.ending.rollback_refused.as_deref().unwrap_or_default();
    let since = core.services.doomed.get(id).copied();
    let has_tried = since.is_none_or(|since| ended.at.since_ms(since) >= TRIES_MS);
    // Also when its time was up first, and then something else came.
    let gives_up = said.contains("could not be taken back")
        && !goes_back(deployment)
        && !has_timed_out(core, deployment);
    demand!(has_tried || !gives_up, "{id} did not try for long to take its traffic back");
    if !is_back(deployment) || goes_back(deployment) {
        return Ok(());
    }
    // Before that, it was not yet known how the weights stand.
    demand!(share == 0 || stage < Stage::Install, "{id} says that all is as it was: {share}%");
    if deployment.retired() == Some(Side::New) {
        // One that was being made may come after the last look.
        let seen_at = state.seen_empty_at.get(usize::from(new)).copied().unwrap_or(0);
        let left = state.on(new).find(|set| set.of.as_ref() == Some(id) && set.made_at < seen_at);
        demand!(left.is_none(), "{id} says that its tasks are no more, and there is {left:?}");
        let tested = test_weight(core, service, new).unwrap_or(0);
        demand!(tested == 0, "{id} has ended, and its side has {tested}% of the test traffic");
    } else {
        let left = state.on(new).find(|set| set.of.as_ref() == Some(id));
        demand!(left.is_none(), "{id} has ended and leaves {left:?}");
    }
    Ok(())
}
