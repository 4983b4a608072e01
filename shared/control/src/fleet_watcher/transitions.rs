//! Hosts that come or go: what is told of them, and the look after one of them.

use engine::deployment::{Creator, Fact};
use tracing::{info, instrument, warn};

use super::LATE_MS;
use super::here::Here;
use crate::Error;
use crate::fleet_watcher::ask_for;
use crate::ports::{Instance, InstanceState, LifecycleAction, Upkeep};
use crate::rows::{self, Direction, HostRow, Stored, TransitionRow, Verdict};
use crate::table::{Index, Query, TableError, Write};

/// How long after one look at a transition the next one is taken, in seconds.
const AGAIN_S: u32 = 15;

/// How often Auto Scaling is told that a host still takes time, in milliseconds; it gives up after much longer.
const BEAT_MS: u64 = 60_000;

/// How long a host may take to arrive or leave before it is let go as it is, in milliseconds.
const TRANSITION_MS_MAX: u64 = 2 * 3_600_000;

/// How many of a host's newest deployments are looked at.
pub(super) const NEWEST: usize = 20;

/// How the name of each hook begins that is Cutover's.
pub(super) const HOOK: &str = "cutover-";

/// What a look at a transition found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Progress {
    /// Nothing is left to be done.
    Done,
    /// The host did not get its revision, and should not be put to use.
    Failed,
    /// It goes on.
    Waits,
}

impl Here {
    /// See [`FleetWatcher::host_changed`](super::FleetWatcher::host_changed).
    pub(super) async fn host_changed(&self, instance: &str) -> Result<(), Error> {
        let seen = self.instances.fleet.describe(&[instance.to_owned()]).await?.pop();
        match seen.map(|seen| seen.state) {
            Some(InstanceState::Terminated) => {
                info!(host = instance, "terminated");
                self.base.host_gone(instance).await
            }
            Some(InstanceState::Pending | InstanceState::Running) => {
                self.host_arrives(instance, None).await
            }
            Some(InstanceState::Stopped | InstanceState::Unknown) | None => Ok(()),
        }
    }

    /// See [`FleetWatcher::host_arrives`](super::FleetWatcher::host_arrives).
    pub(super) async fn host_arrives(
        &self,
        instance: &str,
        action: Option<LifecycleAction>,
    ) -> Result<(), Error> {
        let action = action.filter(|action| action.hook.starts_with(HOOK));
        let seen = self.instances.fleet.describe(&[instance.to_owned()]).await?.pop();
        let known = match (&action, &seen) {
            (Some(_), _) => true,
            (None, Some(seen)) => !self.groups_for(seen).await?.is_empty(),
            (None, None) => false,
        };
        if known {
            self.begin_transition(instance, Direction::Arriving, action).await?;
            self.attend(instance).await?;
        }
        Ok(())
    }

    /// See [`FleetWatcher::host_leaves`](super::FleetWatcher::host_leaves).
    pub(super) async fn host_leaves(
        &self,
        instance: &str,
        action: Option<LifecycleAction>,
    ) -> Result<(), Error> {
        let action = action.filter(|action| action.hook.starts_with(HOOK));
        if action.is_none() && !self.is_known(instance).await? {
            return Ok(());
        }
        // First this, so that no deployment takes the host on while its rows are marked.
        self.begin_transition(instance, Direction::Leaving, action).await?;
        for mut host in self.active_hosts(instance).await? {
            while !host.row.leaving {
                host.row.leaving = true;
                match self.base.table.write(&[host.replace()?]).await {
                    Ok(()) => {
                        let seen = Fact::HostsSeen(vec![host.row.seen()]);
                        self.base.waker.wake(&host.row.deployment_id, vec![seen]);
                    }
                    Err(TableError::Conflict(key)) => {
                        match rows::load(&*self.base.table, &key).await? {
                            Some(newer) => host = newer,
                            None => break,
                        }
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        self.attend(instance).await
    }

    /// Whether the instance was deployed to, or may be.
    async fn is_known(&self, instance: &str) -> Result<bool, Error> {
        let query = Query::prefix(HostRow::list_of(instance), "", 1);
        if !self.base.table.query_index(Index::Listed, &query).await?.items.is_empty() {
            return Ok(true);
        }
        match self.instances.fleet.describe(&[instance.to_owned()]).await?.pop() {
            Some(seen) => Ok(!self.groups_for(&seen).await?.is_empty()),
            None => Ok(false),
        }
    }

    /// The rows of an instance in deployments that have not ended, except in the one that takes leave of it.
    async fn active_hosts(&self, name: &str) -> Result<Vec<Stored<HostRow>>, Error> {
        let mut query = Query::prefix(HostRow::list_of(name), "", NEWEST);
        query.descending = true;
        let keys = self.base.table.query_index(Index::Listed, &query).await?.items;
        let hosts: Vec<Stored<HostRow>> = rows::load_many(&*self.base.table, &keys).await?;
        let mut active = Vec::new();
        for host in hosts {
            let deployment = self.base.deployment(&host.row.deployment_id).await?;
            let counts = |deployment: &engine::deployment::Deployment| {
                deployment.ended().is_none() && deployment.order().creator != Creator::Departure
            };
            if deployment.is_some_and(|stored| counts(&stored.row.deployment)) {
                active.push(host);
            }
        }
        Ok(active)
    }

    async fn begin_transition(
        &self,
        instance: &str,
        direction: Direction,
        action: Option<LifecycleAction>,
    ) -> Result<(), Error> {
        let key = TransitionRow::key_of(instance);
        loop {
            let known = rows::load::<TransitionRow>(&*self.base.table, &key).await?;
            let write = match known {
                // What leaves does not arrive any more, whatever is told late of its arrival.
                Some(known)
                    if known.row.direction == Direction::Leaving
                        && direction == Direction::Arriving =>
                {
                    return Ok(());
                }
                Some(mut known) if known.row.direction == direction => {
                    let new = action.iter().find(|action| !known.row.knows(action));
                    let Some(new) = new.cloned() else { return Ok(()) };
                    if known.row.released_at.is_some() {
                        // What was answered stays answered; this is another hold, and another look.
                        let answered = std::mem::take(&mut known.row.actions);
                        known.row.answered.extend(answered);
                        known.row.verdict = None;
                        known.row.released_at = None;
                        known.row.since = self.base.now();
                    }
                    known.row.actions.push(new);
                    known.replace()?
                }
                Some(known) => Stored {
                    row: self.transition(instance, direction, &action),
                    version: known.version,
                }
                .replace()?,
                None => rows::create_anew(
                    &self.transition(instance, direction, &action),
                    self.base.now(),
                )?,
            };
            match self.base.table.write(&[write]).await {
                Ok(()) => {
                    info!(host = instance, ?direction, "a host comes or goes");
                    return Ok(());
                }
                Err(TableError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn transition(
        &self,
        instance: &str,
        direction: Direction,
        action: &Option<LifecycleAction>,
    ) -> TransitionRow {
        TransitionRow {
            instance: instance.to_owned(),
            direction,
            since: self.base.now(),
            actions: action.iter().cloned().collect(),
            answered: Vec::new(),
            beat_at: None,
            deployments: Vec::new(),
            verdict: None,
            released_at: None,
        }
    }

    /// Looks after a host that comes or goes. Does nothing if there is no such host.
    #[instrument(name = "host", skip_all, fields(host = instance))]
    pub(super) async fn attend(&self, instance: &str) -> Result<(), Error> {
        let key = TransitionRow::key_of(instance);
        let Some(mut transition) = rows::load::<TransitionRow>(&*self.base.table, &key).await?
        else {
            return Ok(());
        };
        if let Some(at) = transition.row.released_at
            && transition.row.direction == Direction::Arriving
        {
            let is_over = self.base.now().since_ms(at) > LATE_MS;
            return if is_over { self.forget_transition(transition).await } else { Ok(()) };
        }
        if let Some(verdict) =
            transition.row.verdict.filter(|_| transition.row.released_at.is_none())
        {
            return self.let_go(transition, verdict).await;
        }
        let seen = self.instances.fleet.describe(&[instance.to_owned()]).await?.pop();
        let (progress, conditions) = match (&seen, transition.row.direction) {
            (Some(Instance { state: InstanceState::Terminated, .. }), _) => {
                self.base.host_gone(instance).await?;
                (Progress::Done, Vec::new())
            }
            _ if self.base.now().since_ms(transition.row.since) > TRANSITION_MS_MAX => {
                warn!(host = instance, direction = ?transition.row.direction, "the host takes too long, and is let go as it is");
                (Progress::Failed, Vec::new())
            }
            // That it leaves is remembered until it is gone.
            _ if transition.row.released_at.is_some() => (Progress::Waits, Vec::new()),
            (None, _) => (Progress::Waits, Vec::new()),
            (Some(seen), Direction::Arriving) => self.check_arrival(&mut transition, seen).await?,
            (Some(seen), Direction::Leaving) => {
                (self.check_departure(&mut transition, seen).await?, Vec::new())
            }
        };
        let verdict = match (progress, transition.row.direction) {
            (Progress::Waits, _) => return self.wait_for(transition).await,
            (Progress::Failed, Direction::Arriving) => Verdict::Abandon,
            (Progress::Failed, Direction::Leaving) | (Progress::Done, _) => Verdict::Continue,
        };
        self.decide_on(transition, verdict, conditions).await
    }

    /// Tells Auto Scaling that it takes time, and comes back soon.
    async fn wait_for(&self, mut transition: Stored<TransitionRow>) -> Result<(), Error> {
        let now = self.base.now();
        let is_held = !transition.row.actions.is_empty() && transition.row.released_at.is_none();
        let is_due = transition.row.beat_at.is_none_or(|beat| now.since_ms(beat) >= BEAT_MS);
        if is_due && is_held {
            for action in &transition.row.actions {
                self.instances.scaling.heartbeat(action).await?;
            }
            transition.row.beat_at = Some(now);
            match self.base.table.write(&[transition.replace()?]).await {
                Ok(()) | Err(TableError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        ask_for(&*self.messages, Upkeep::Transition { instance: transition.row.instance }, AGAIN_S)
            .await;
        Ok(())
    }

    /// Writes what Auto Scaling shall be told, if what that rests on still holds, and tells it.
    async fn decide_on(
        &self,
        mut transition: Stored<TransitionRow>,
        verdict: Verdict,
        conditions: Vec<Write>,
    ) -> Result<(), Error> {
        if transition.row.released_at.is_some() || transition.row.actions.is_empty() {
            return self.forget_transition(transition).await;
        }
        if transition.row.verdict.is_none() {
            transition.row.verdict = Some(verdict);
            let mut writes = conditions;
            writes.push(transition.replace()?);
            match self.base.table.write(&writes).await {
                Ok(()) => transition.version += 1,
                Err(TableError::Conflict(_)) => {
                    // It was told of again, or its group was deployed to: it is looked at again.
                    let instance = transition.row.instance;
                    ask_for(&*self.messages, Upkeep::Transition { instance }, 1).await;
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.let_go(transition, verdict).await
    }

    async fn let_go(
        &self,
        mut transition: Stored<TransitionRow>,
        verdict: Verdict,
    ) -> Result<(), Error> {
        info!(host = transition.row.instance, ?verdict, "a host has come or gone");
        for action in &transition.row.actions {
            self.instances.scaling.release(action, verdict == Verdict::Abandon).await?;
        }
        transition.row.released_at = Some(self.base.now());
        match self.base.table.write(&[transition.replace()?]).await {
            // It was told of again meanwhile, and is looked at again.
            Ok(()) | Err(TableError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn forget_transition(&self, transition: Stored<TransitionRow>) -> Result<(), Error> {
        match self.base.table.write(&[transition.remove()]).await {
            // It was told of again meanwhile, and is looked at again.
            Ok(()) | Err(TableError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Notes that a deployment was started for a transition.
    pub(super) async fn note_deployment(
        &self,
        transition: &mut Stored<TransitionRow>,
        id: engine::DeploymentId,
    ) -> Result<(), Error> {
        transition.row.deployments.push(id);
        self.base.table.write(&[transition.replace()?]).await?;
        transition.version += 1;
        Ok(())
    }
}
