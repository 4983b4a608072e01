//! The driver: the only code that commits a deployment.
//!
//! Load, fold the facts in, plan, store what was decided if nobody changed the row meanwhile, and then do it; what
//! comes of it is a new fact. A crash between any two of these loses nothing, because the row tells what was about to
//! be done and the plan asks for it again.

mod along;
mod check;
mod end;
mod gate;
mod pace;
mod sending;
mod wake;

use std::sync::Arc;

use async_trait::async_trait;
use engine::deployment::{Deployment, Fact, Performer, Plan, Request};
use engine::{DeploymentId, Timestamp};
use tracing::{Span, debug, instrument, warn};

use crate::performing::{Advances, Handover, Performs, TRIES};
use crate::ports::{Measure, Messages};
use crate::rows::{self, DeploymentRow, OutcomeRow, SteeringRow, StopRow, Stored};
use crate::table::{Condition, TableError, Write};
use crate::{Base, Error};

pub use wake::wake_of;

/// Most rounds of facts from requests in one call; the rest is left to the next wake.
const ROUNDS: u32 = 100;

/// Decides for deployments, and is the only one that commits them: what `deployment_stepper` is.
#[derive(Clone)]
pub struct DeploymentStepper {
    /// What every role works on.
    pub base: Base,
    /// What other functions are asked for.
    pub messages: Arc<dyn Messages>,
    /// Where what was decided is performed.
    pub handover: Handover,
}

#[async_trait]
impl Performs for DeploymentStepper {
    fn base(&self) -> &Base {
        &self.base
    }

    fn stepper(&self) -> Option<Box<dyn Advances>> {
        Some(Box::new(self.clone()))
    }

    async fn perform(
        &self,
        stored: &Stored<DeploymentRow>,
        request: &Request,
    ) -> Result<Vec<Fact>, Error> {
        let Request::CheckHosts { batch, shut_out, give_up_before } = request else {
            // An end is performed as the commit itself.
            return Err(Error::misdirected(request));
        };
        let deployment = &stored.row.deployment;
        let outstanding = deployment.outstanding(*batch);
        let seen =
            self.check_hosts(deployment.id(), outstanding, *shut_out, *give_up_before).await?;
        Ok(vec![Fact::BatchChecked { batch: *batch, seen }])
    }
}

#[async_trait]
impl Advances for DeploymentStepper {
    async fn go_on(&self, id: &DeploymentId, facts: Vec<Fact>) -> Result<(), Error> {
        self.advance(id, facts).await.map(drop)
    }
}

/// Where a deployment stands after it was advanced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advanced {
    /// When it wants to be advanced again; none once it has ended.
    pub wake_at: Option<Timestamp>,
}

/// A decision that is stored.
struct Decided {
    row: Stored<DeploymentRow>,
    requests: Vec<Request>,
    /// Whether the moment to wake at is the one that was there before, for which the waker is set.
    was_armed: bool,
}

/// What came of an attempt to store a decision.
enum Attempt {
    /// It is stored; or nothing is to be decided any more.
    Decided(Option<Box<Decided>>),
    /// It came too soon after the last one, and has waited.
    PutOff,
    /// Somebody else changed the row meanwhile.
    Conflict,
}

impl Attempt {
    /// What came of a write.
    fn of<T>(
        written: Result<T, Error>,
        decided: impl FnOnce(T) -> Option<Decided>,
    ) -> Result<Self, Error> {
        match written {
            Ok(done) => Ok(Self::Decided(decided(done).map(Box::new))),
            Err(error) if error.is_conflict() => Ok(Self::Conflict),
            Err(error) => Err(error),
        }
    }
}

/// Notes in a row what was decided, before it is stored, and which batches are sent by that.
fn note_decision(row: &mut DeploymentRow, at: Timestamp, plan: Plan, sent: &[u32]) {
    row.wake_at = plan.wake_at;
    row.deployment.apply(Fact::Decided { at, plan });
    if !sent.is_empty() {
        for batch in sent {
            row.deployment.apply(Fact::BatchAccepted { batch: *batch, at });
        }
        row.wake_at = row.deployment.plan(at).wake_at;
    }
}

impl DeploymentStepper {
    /// Advances a deployment as far as it goes without waiting: folds `facts` in, decides, stores, performs, and folds
    /// what came of it. Safe to call at any time, by several at once.
    #[instrument(name = "deployment", skip_all, fields(deployment = %id, group))]
    pub async fn advance(&self, id: &DeploymentId, facts: Vec<Fact>) -> Result<Advanced, Error> {
        let began = self.base.now();
        // On the heap: it goes through every use case, and many are called from there.
        let advanced = Box::pin(self.step(id, facts)).await;
        self.base.meter.take(Measure::Step(self.base.now().since_ms(began)));
        advanced
    }

    async fn step(&self, id: &DeploymentId, mut facts: Vec<Fact>) -> Result<Advanced, Error> {
        for _ in 0..ROUNDS {
            let decided = self.decide(id, &facts).await?;
            let Some(Decided { row, requests, was_armed }) = decided else {
                return Ok(Advanced { wake_at: None });
            };
            let wake_at = row.row.wake_at;
            // Before the requests: some take longer than the wake may be late.
            if let Some(wake_at) = wake_at.filter(|_| !was_armed) {
                self.base.waker.wake_at(id, wake_at).await;
            }
            facts = Vec::new();
            for request in &requests {
                facts.extend(self.have_performed(&row, request).await);
            }
            if facts.is_empty() {
                return Ok(Advanced { wake_at });
            }
        }
        let soon = self.base.now().plus_ms(1);
        self.base.waker.wake_at(id, soon).await;
        Ok(Advanced { wake_at: Some(soon) })
    }

    /// Folds facts in, plans, and stores the decision. Returns nothing if the deployment does not exist or has ended.
    async fn decide(&self, id: &DeploymentId, facts: &[Fact]) -> Result<Option<Decided>, Error> {
        let (mut conflicts, mut waited_ms) = (0, 0);
        while conflicts < TRIES {
            // On the heap: it goes through every use case, and many are called from there.
            match Box::pin(self.try_to_decide(id, facts, &mut waited_ms)).await? {
                Attempt::Decided(decided) => return Ok(decided.map(|decided| *decided)),
                Attempt::PutOff => {}
                Attempt::Conflict => conflicts += 1,
            }
        }
        Err(TableError::Conflict(DeploymentRow::key_of(id)).into())
    }

    async fn try_to_decide(
        &self,
        id: &DeploymentId,
        facts: &[Fact],
        waited_ms: &mut u64,
    ) -> Result<Attempt, Error> {
        let Some(mut stored) = self.base.deployment(id).await? else {
            return Ok(Attempt::Decided(None));
        };
        Span::current().record("group", stored.row.deployment.order().group_id.as_str());
        if stored.row.deployment.ended().is_some() {
            return Ok(Attempt::Decided(None));
        }
        let told = Self::told_by(&stored.row);
        let (committed_at, was) = (stored.row.deployment.latest(), stored.row.wake_at);
        let deployment = &mut stored.row.deployment;
        let mut changed = false;
        for fact in facts {
            changed |= deployment.apply(fact.clone());
        }
        let now = self.base.now();
        let mut plan = deployment.plan(now);
        if matches!(plan.requests.as_slice(), [Request::End(_)]) {
            // A stop that was answered is heard before the end, and none is answered between here and there.
            let stop = self.base.stop_of(id).await?;
            let is_news = stop.as_ref().is_some_and(|stop| deployment.apply(stop.row.fact()));
            if is_news {
                changed = true;
                plan = deployment.plan(now);
            }
            if let [Request::End(ending)] = plan.requests.as_slice() {
                let no_other = match &stop {
                    Some(stop) => stop.unchanged(),
                    None => Write::Check(StopRow::key_of(id), Condition::Absent),
                };
                let ended = self.end(stored, &told, (ending, now), no_other).await;
                return Attempt::of(ended, |_| None);
            }
        }
        changed |= deployment.moves_at(now);
        let requests = plan.requests.clone();
        if !changed && requests.is_empty() && was == plan.wake_at {
            let decided = Decided { row: stored, requests, was_armed: true };
            return Ok(Attempt::Decided(Some(Box::new(decided))));
        }
        let along = self.along(&stored.row, &requests).await?;
        note_decision(&mut stored.row, now, plan, &along.batches);
        if self.puts_off(&stored, &told, committed_at, waited_ms).await? {
            return Ok(Attempt::PutOff);
        }
        let mut writes = self.writes_of(&stored, &told).await?;
        writes.extend(along.writes);
        let written = self.base.table.write(&writes).await;
        Attempt::of(written.map_err(Error::from), |()| {
            stored.version += 1;
            debug!(deployment = %id, version = stored.version, ?requests, "decided");
            let was_armed = stored.row.wake_at == was;
            Some(Decided { row: stored, requests, was_armed })
        })
    }

    /// Does one request, or has it done elsewhere. What goes wrong is logged and not told: the request will be asked for
    /// again.
    async fn have_performed(&self, row: &Stored<DeploymentRow>, request: &Request) -> Vec<Fact> {
        let deployment = &row.row.deployment;
        let id = deployment.id();
        let to = deployment.traits(request, self.base.now()).performer;
        let outcome = match to {
            Performer::DeploymentStepper => Performs::perform(self, row, request).await,
            Performer::RevisionIntake
            | Performer::HookDispatcher
            | Performer::TrafficEvaluator
            | Performer::FleetWatcher => {
                self.handover.perform(&*self.messages, row, request, to).await
            }
        };
        outcome.unwrap_or_else(|error| {
            warn!(deployment = %id, ?request, error = &error as &dyn std::error::Error, "a request failed and will be tried again");
            self.told_by_failure(request, &error).into_iter().collect()
        })
    }

    /// Reads what may have been missed and advances: the request to stop, every host that is outstanding, and those
    /// that arrived.
    pub async fn refresh(&self, id: &DeploymentId) -> Result<Advanced, Error> {
        let mut facts = Vec::new();
        if let Some(stop) = self.base.stop_of(id).await? {
            facts.push(stop.row.fact());
        }
        if let Some(steering) =
            rows::load::<SteeringRow>(&*self.base.table, &SteeringRow::key_of(id)).await?
        {
            facts.push(Fact::Steered(steering.row.steering));
        }
        if let Some(stored) = self.base.deployment(id).await? {
            let deployment = &stored.row.deployment;
            let outstanding = deployment.all_outstanding();
            let hosts = self.base.hosts_at(id, outstanding).await?;
            facts.push(Fact::HostsSeen(hosts.iter().map(|host| host.row.seen()).collect()));
            if deployment.ended().is_none() {
                facts.extend(self.missed(deployment).await?);
                facts.extend(self.deliveries(deployment).await?);
            }
        }
        self.advance(id, facts).await
    }

    /// What was written for a deployment that has not ended and may not have been heard of: outcomes of requests that were
    /// performed elsewhere, or hosts that arrived.
    async fn missed(&self, deployment: &Deployment) -> Result<Vec<Fact>, Error> {
        if deployment.is_sealed() && deployment.pin().is_some() {
            return Ok(self.base.late_arrivals(deployment).await?.into_iter().collect());
        }
        let keys = OutcomeRow::keys_of(deployment.id());
        let outcomes: Vec<Stored<OutcomeRow>> = rows::load_many(&*self.base.table, &keys).await?;
        Ok(outcomes.into_iter().map(|stored| stored.row.outcome.into_fact()).collect())
    }
}
