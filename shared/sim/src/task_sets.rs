//! The services of the simulated world, as ECS keeps them, and the listeners before them: task sets in two target groups,
//! one of them the primary one, and weights.
//!
//! The port does what the real adapter does, request by request: it asks how the task sets stand, and then names those that
//! it changes. Each request may be late, and what was sent is on its way whatever becomes of who sent it. Only a new task
//! set is never later than a few seconds: nothing at ECS tells a late one from one that is wanted, and the next look at the
//! service ends what is left of it.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use control::ports::{BalancerError, Pair, Service, ServiceError, Services};
use engine::deployment::TaskSet;
use engine::{DeploymentId, Timestamp};

use crate::core::Core;
use crate::ports::Ports;
use crate::random::Random;
use crate::service_checks;
use crate::shift::{ONE, TWO, Weights};
use crate::traffic::TrafficFaults;

/// How long a caller waits for an answer, in milliseconds.
const PATIENCE_MS: u64 = 5_000;

/// How soon tasks can be steady, in milliseconds.
const STEADY_MS: u64 = 8_000;

/// How often requests about services go wrong, and tasks, of ten thousand.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct ServiceFaults {
    /// It is not done, and there is no answer.
    away: u32,
    /// It is done, and there is no answer.
    answer_lost: u32,
    /// A change comes about up to ninety seconds later.
    late: u32,
    /// A change is sent twice.
    doubled: u32,
    /// A listener does not do as asked, and does not answer.
    listener_away: u32,
    /// It does, and does not answer.
    listener_lost: u32,
    /// It takes up to twenty seconds.
    listener_late: u32,
    /// Tasks that are never steady.
    never_steady: u32,
    /// Tasks that stop again and again.
    failing: u32,
    /// Tasks that take up to fifteen minutes.
    slow: u32,
}

impl ServiceFaults {
    pub(crate) fn by_chance(often: &mut impl FnMut(u64) -> u32) -> Self {
        Self {
            away: often(2_000),
            answer_lost: often(3_000),
            late: often(3_000),
            doubled: often(3_000),
            listener_away: often(3_000),
            listener_lost: often(3_000),
            listener_late: often(3_000),
            never_steady: often(2_000),
            failing: often(4_000),
            slow: often(2_000),
        }
    }

    /// Requests arrive from now on. How tasks are stays.
    pub(crate) fn heal(&mut self) {
        let Self { never_steady, failing, slow, .. } = *self;
        *self = Self { never_steady, failing, slow, ..Self::default() };
    }
}

/// A task set.
#[derive(Debug, Clone)]
pub(crate) struct SetState {
    pub(crate) id: String,
    /// The deployment that made it; none of the one that was there before.
    pub(crate) of: Option<DeploymentId>,
    pub(crate) side: u8,
    pub(crate) is_primary: bool,
    pub(crate) made_at: u64,
    desired: u32,
    /// When all of its tasks run and are healthy, if ever.
    steady_at: Option<u64>,
    /// From when on they stop again and again.
    fails_at: Option<u64>,
}

impl SetState {
    pub(crate) fn is_steady(&self, now: u64) -> bool {
        self.steady_at.is_some_and(|at| now >= at)
    }

    fn shown(&self, now: u64) -> TaskSet {
        let is_steady = self.is_steady(now);
        let is_half = now >= self.made_at + STEADY_MS / 2;
        let running = if is_steady { self.desired } else { self.desired / 2 * u32::from(is_half) };
        TaskSet {
            id: self.id.clone(),
            side: self.side,
            desired: self.desired,
            pending: self.desired - running,
            running,
            is_steady,
        }
    }
}

/// A service.
#[derive(Debug, Default)]
pub(crate) struct ServiceState {
    pub(crate) sets: Vec<SetState>,
    /// The deployments that have made a task set once: their token makes no second one.
    tokens: BTreeSet<DeploymentId>,
    /// When somebody last saw that a side has no task set.
    pub(crate) seen_empty_at: [u64; 2],
}

impl ServiceState {
    pub(crate) fn on(&self, side: u8) -> impl Iterator<Item = &SetState> {
        self.sets.iter().filter(move |set| set.side == side)
    }
}

/// What is to be done to a service.
#[derive(Debug, Clone)]
enum What {
    Create { side: u8, of: DeploymentId },
    MakePrimary { set: String },
    End { set: String },
}

/// A change of a service that is on its way.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    ticket: u64,
    service: String,
    what: What,
}

/// All services, and the changes of them that are on their way.
#[derive(Debug, Default)]
pub(crate) struct ServicesWorld {
    pub(crate) random: Random,
    /// How often alarms of services err and fire.
    pub(crate) alarms: TrafficFaults,
    pub(crate) faults: ServiceFaults,
    pub(crate) total_ms: Option<u64>,
    /// The number of the newest task definition.
    pub(crate) defined: u64,
    by_name: BTreeMap<String, ServiceState>,
    /// How much each listener sends to each target group.
    pub(crate) weights: Weights,
    /// Deployments that were stopped, or failed, before their old side was being ended, and when.
    pub(crate) doomed: BTreeMap<DeploymentId, Timestamp>,
    sent: u64,
    made: u64,
    /// How many changes are on their way.
    under_way: u64,
    outcomes: BTreeMap<u64, Result<(), String>>,
    /// What a test says of them.
    pub(crate) said: SaidOfServices,
}

/// What a test says of services.
#[derive(Debug, Default)]
pub(crate) struct SaidOfServices {
    /// How new tasks begin, where that is not left to chance.
    pub(crate) tasks: Option<NewTasks>,
    /// Why services cannot be deployed to.
    pub(crate) refused: Option<String>,
    /// Whether it is never confirmed that tasks have ended.
    pub(crate) never_ends: bool,
}

/// How new tasks begin: two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewTasks {
    /// Both run at once.
    Run,
    /// One comes up after some seconds, and the other one does not.
    Wait,
    /// They stop again and again.
    Fail,
}

/// The name by which the weight of a target group behind a listener is known.
pub(crate) fn place(listener: &str, group: &str) -> String {
    format!("{listener}/{group}")
}

impl ServicesWorld {
    /// Creates a service, with tasks in the first target group, which has the traffic.
    pub(crate) fn create(&mut self, name: &str) {
        let first = SetState {
            id: format!("ecs-svc/of-{name}"),
            of: None,
            side: 0,
            is_primary: true,
            made_at: 0,
            desired: 2,
            steady_at: Some(0),
            fails_at: None,
        };
        let state = ServiceState { sets: vec![first], ..ServiceState::default() };
        drop(self.by_name.insert(name.to_owned(), state));
    }

    /// Whether there are any.
    pub(crate) fn are_some(&self) -> bool {
        !self.by_name.is_empty()
    }

    /// Whether no change is on its way.
    pub(crate) fn are_still(&self) -> bool {
        self.under_way == 0
    }

    pub(crate) fn get(&self, service: &str) -> Option<&ServiceState> {
        self.by_name.get(service)
    }

    /// How much of its traffic a listener sends to a side of a service, in percent.
    pub(crate) fn weight(&self, listener: &str, service: &str, side: u8, now: u64) -> u8 {
        let end = if side == 0 { ONE } else { TWO };
        self.weights.of(&place(listener, &format!("{service}{end}")), now)
    }

    fn new_set(&mut self, side: u8, of: &DeploymentId, now: u64) -> SetState {
        self.made += 1;
        let random = &mut self.random;
        let ServiceFaults { never_steady, failing, slow, .. } = self.faults;
        let most = if random.of_ten_thousand(slow) { 900_000 } else { 60_000 };
        let steady_at = now + random.between(STEADY_MS, most);
        let fails = random.of_ten_thousand(failing);
        let fails_at = fails.then(|| now + random.between(1_000, 120_000));
        let is_never = fails || random.of_ten_thousand(never_steady);
        let made = SetState {
            id: format!("ecs-svc/{}", self.made),
            of: Some(of.clone()),
            side,
            is_primary: false,
            made_at: now,
            desired: u32::try_from(random.between(1, 4)).unwrap_or(1),
            steady_at: (!is_never).then_some(steady_at),
            fails_at,
        };
        match self.said.tasks {
            None => made,
            Some(begin) => SetState {
                desired: 2,
                steady_at: (begin == NewTasks::Run).then_some(now),
                fails_at: (begin == NewTasks::Fail).then_some(now),
                ..made
            },
        }
    }

    /// All tasks that are there run from now on.
    pub(crate) fn all_run(&mut self, now: u64) {
        for set in self.by_name.values_mut().flat_map(|service| &mut service.sets) {
            (set.steady_at, set.fails_at) = (Some(now), None);
        }
    }

    /// Does a change, as far as that is possible. Returns the task set that was ended, or why nothing was done.
    fn change(&mut self, change: &Change, now: u64) -> Result<Option<SetState>, String> {
        let new = match &change.what {
            What::Create { side, of } => Some(self.new_set(*side, of, now)),
            What::MakePrimary { .. } | What::End { .. } => None,
        };
        let Some(service) = self.by_name.get_mut(&change.service) else {
            return Err("there is no such service".to_owned());
        };
        match &change.what {
            What::Create { of, .. } => {
                if service.tokens.insert(of.clone()) {
                    service.sets.extend(new);
                }
                Ok(None)
            }
            What::MakePrimary { set } => {
                if !service.sets.iter().any(|known| known.id == *set) {
                    return Err(format!("there is no task set {set}"));
                }
                for known in &mut service.sets {
                    known.is_primary = known.id == *set;
                }
                Ok(None)
            }
            What::End { set } => {
                let at = service.sets.iter().position(|known| known.id == *set);
                match at.map(|at| (at, service.sets.get(at).is_some_and(|set| set.is_primary))) {
                    None => Ok(None),
                    Some((_, true)) => Err(format!("{set} is the primary task set")),
                    Some((at, false)) => Ok(Some(service.sets.remove(at))),
                }
            }
        }
    }
}

impl Core {
    /// A change reaches ECS.
    pub(crate) fn change_service(&mut self, change: Change) {
        self.services.under_way -= 1;
        let now = self.now;
        let outcome = self.services.change(&change, now);
        let Change { ticket, service, what } = change;
        let sets = self.services.get(&service).map(|state| state.sets.clone());
        self.tell(&service, || format!("{what:?}: {outcome:?}, {sets:?}"));
        if let Ok(Some(set)) = &outcome
            && let Err(broken) = service_checks::set_ended(self, &service, set)
        {
            self.violate(broken);
        }
        drop(self.services.outcomes.insert(ticket, outcome.map(drop)));
    }

    /// Sends a change on its way. Returns its ticket, and when its outcome will be known.
    fn send_change(&mut self, service: &str, what: What) -> (u64, u64) {
        let latest_ms = match &what {
            What::Create { .. } => 4_000,
            What::MakePrimary { .. } | What::End { .. } => 90_000,
        };
        let services = &mut self.services;
        services.sent += 1;
        let ticket = services.sent;
        let ServiceFaults { late, doubled, .. } = services.faults;
        let delay = |random: &mut Random| {
            let is_late = random.of_ten_thousand(late);
            random.between(1, if is_late { latest_ms } else { 60 })
        };
        let ms = delay(&mut services.random);
        let twice = services.random.of_ten_thousand(doubled).then(|| delay(&mut services.random));
        for ms in [Some(ms), twice].into_iter().flatten() {
            self.services.under_way += 1;
            let change = Change { ticket, service: service.to_owned(), what: what.clone() };
            self.push(ms, change.into());
        }
        (ticket, ms)
    }

    /// Whether something happens that happens so many times of ten thousand to services.
    fn service_fault(&mut self, often: u32) -> bool {
        self.services.random.of_ten_thousand(often)
    }
}

fn unavailable(service: &Service) -> ServiceError {
    ServiceError::Unavailable { name: service.name.clone(), source: "no answer".into() }
}

fn refused(service: &Service, message: String) -> ServiceError {
    ServiceError::Refused { name: service.name.clone(), message }
}

impl Ports {
    /// `DescribeServices`: how the task sets stand in the moment in which that is asked.
    async fn describe(&self, service: &Service) -> Result<Vec<SetState>, ServiceError> {
        let (found, is_away, ms) = {
            let mut core = self.shared.core();
            if let Some(why) = core.services.said.refused.clone() {
                return Err(refused(service, why));
            }
            let now = core.now;
            let state = core.services.by_name.get_mut(&service.name);
            let found = state.map(|state| {
                for (side, seen) in (0u8..).zip(&mut state.seen_empty_at) {
                    if !state.sets.iter().any(|set| set.side == side) {
                        *seen = now;
                    }
                }
                state.sets.clone()
            });
            let away = core.services.faults.away;
            (found, core.service_fault(away), core.services.random.between(1, 300))
        };
        self.shared.pause_for(ms).await;
        if is_away {
            return Err(unavailable(service));
        }
        found.ok_or_else(|| refused(service, "there is no active service of that name".to_owned()))
    }

    /// One request that changes a service.
    async fn change_by(&self, service: &Service, what: What) -> Result<(), ServiceError> {
        let (ticket, ms) = {
            let mut core = self.shared.core();
            let away = core.services.faults.away;
            if core.service_fault(away) {
                return Err(unavailable(service));
            }
            core.send_change(&service.name, what)
        };
        self.shared.pause_for(ms.min(PATIENCE_MS) + 1).await;
        let mut core = self.shared.core();
        let outcome = core.services.outcomes.remove(&ticket);
        let lost = core.services.faults.answer_lost;
        if core.service_fault(lost) {
            return Err(unavailable(service));
        }
        match outcome {
            Some(Ok(())) => Ok(()),
            Some(Err(why)) => Err(refused(service, why)),
            None => Err(unavailable(service)),
        }
    }

    /// Ends what earlier deployments have left in the target group that new tasks are to be in.
    async fn clear(
        &self,
        service: &Service,
        sets: &[SetState],
        side: u8,
        id: &DeploymentId,
    ) -> Result<(), ServiceError> {
        let is_left = |set: &&SetState| set.side == side && set.of.as_ref() != Some(id);
        for left in sets.iter().filter(is_left) {
            if left.is_primary {
                let Some(other) = sets.iter().find(|set| set.side != side) else {
                    return Err(refused(service, "its only tasks have no traffic".to_owned()));
                };
                self.change_by(service, What::MakePrimary { set: other.id.clone() }).await?;
            }
            self.change_by(service, What::End { set: left.id.clone() }).await?;
        }
        Ok(())
    }

    /// Asks a listener to share its traffic.
    pub(crate) async fn split_listener(
        &self,
        listener: &str,
        pair: &Pair,
        percent: u8,
    ) -> Result<(), BalancerError> {
        let lost = || {
            let name = listener.to_owned();
            BalancerError::Unavailable { name, source: "no answer".into() }
        };
        let is_lost = {
            let mut core = self.shared.core();
            if let Err(broken) = service_checks::split_begins(&core, listener, pair, percent) {
                core.violate(broken);
            }
            let ServiceFaults { listener_away, listener_lost, listener_late, .. } =
                core.services.faults;
            if core.service_fault(listener_away) {
                return Err(lost());
            }
            let now = core.now;
            let most = if core.service_fault(listener_late) { 20_000 } else { 300 };
            let settled_at = now + core.services.random.between(0, most);
            core.tell(listener, || {
                format!("{} is to have {percent}% from {settled_at} on", pair.new)
            });
            let keyed = Pair {
                old: place(listener, &pair.old),
                new: place(listener, &pair.new),
                listener: None,
            };
            core.services.weights.split(&keyed, percent, now, settled_at);
            core.service_fault(listener_lost)
        };
        self.shared.pause().await;
        if is_lost { Err(lost()) } else { Ok(()) }
    }

    /// What a listener sends to the new group of a pair, in percent.
    pub(crate) async fn percent_of_listener(
        &self,
        listener: &str,
        pair: &Pair,
    ) -> Result<u8, BalancerError> {
        self.shared.pause().await;
        let percent = {
            let mut core = self.shared.core();
            let away = core.services.faults.listener_away;
            if core.service_fault(away) {
                let name = listener.to_owned();
                return Err(BalancerError::Unavailable { name, source: "no answer".into() });
            }
            core.services.weights.of(&place(listener, &pair.new), core.now)
        };
        self.shared.pause().await;
        Ok(percent)
    }
}

#[async_trait]
impl Services for Ports {
    async fn check(&self, service: &Service) -> Result<(), ServiceError> {
        self.describe(service).await.map(drop)
    }

    async fn bring_up(
        &self,
        service: &Service,
        side: u8,
        id: &DeploymentId,
    ) -> Result<Vec<TaskSet>, ServiceError> {
        {
            let mut core = self.shared.core();
            if let Err(broken) = service_checks::bring_up_begins(&core, service, side, id) {
                core.violate(broken);
            }
        }
        let sets = self.describe(service).await?;
        self.clear(service, &sets, side, id).await?;
        if !sets.iter().any(|set| set.side == side && set.of.as_ref() == Some(id)) {
            self.change_by(service, What::Create { side, of: id.clone() }).await?;
        }
        let core = self.shared.core();
        let now = core.now;
        let known = core.services.get(&service.name).map(|state| state.sets.as_slice());
        let known = known.unwrap_or_default();
        let is_shown = |set: &&SetState| set.side != side || set.of.as_ref() == Some(id);
        let fails = |set: &SetState| set.side == side && set.fails_at.is_some_and(|at| now >= at);
        if known.iter().filter(is_shown).any(fails) {
            let message = "3 of them have stopped".to_owned();
            return Err(ServiceError::Failing { name: service.name.clone(), message });
        }
        Ok(known.iter().filter(is_shown).map(|set| set.shown(now)).collect())
    }

    async fn keep_only(&self, service: &Service, kept: u8) -> Result<bool, ServiceError> {
        {
            let mut core = self.shared.core();
            if let Err(broken) = service_checks::end_of_side_begins(&core, service, kept) {
                core.violate(broken);
            }
        }
        let sets = self.describe(service).await?;
        let left: Vec<&SetState> = sets.iter().filter(|set| set.side != kept).collect();
        if left.is_empty() {
            return Ok(!self.shared.core().services.said.never_ends);
        }
        match sets.iter().find(|set| set.side == kept) {
            Some(set) if !set.is_primary => {
                self.change_by(service, What::MakePrimary { set: set.id.clone() }).await?;
            }
            Some(_) => {}
            None if left.iter().any(|set| set.is_primary) => {
                return Err(refused(service, "no task set is left to become primary".to_owned()));
            }
            None => {}
        }
        for set in left {
            self.change_by(service, What::End { set: set.id.clone() }).await?;
        }
        let is_ended = !self.describe(service).await?.iter().any(|set| set.side != kept);
        Ok(is_ended && !self.shared.core().services.said.never_ends)
    }
}
