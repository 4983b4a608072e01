//! The driver: the only code that commits a deployment.
//!
//! Load, fold the facts in, plan, store what was decided if nobody changed the row meanwhile, and then do it; what
//! comes of it is a new fact. A crash between any two of these loses nothing, because the row tells what was about to
//! be done and the plan asks for it again.

mod check;
mod delivery;
mod down;
mod end;
mod enrol;
mod errand;
mod push;
mod wake;

use std::panic::AssertUnwindSafe;

use engine::deployment::{Deployment, Fact, Failure, FailureCode, Ordinals, Plan, Request};
use engine::{DeploymentId, Revision, Timestamp};
use futures::FutureExt as _;
use tracing::{Span, debug, info, instrument, warn};
use wire::host::Offer;

use crate::ports::{Measure, Object, PinError};
use crate::rows::{self, DeploymentRow, HostRow, OutcomeRow, StopRow, Stored, Transport, WishRow};
use crate::table::{Condition, Index, Key, Query, Write};
use crate::{Control, Error};

pub(crate) use enrol::{FEW, later_of};
pub use errand::Errand;
pub(crate) use wake::arrival_of;
pub use wake::wake_of;

/// How often a step is tried again when somebody else changed the row meanwhile.
const TRIES: u32 = 20;

/// Most rounds of facts from requests in one call; the rest is left to the next wake.
const ROUNDS: u32 = 100;

/// How far ahead a sweep arms wakes, in milliseconds: until well after the next one, which comes within a minute.
const SWEEP_ARMS_MS: u64 = 150_000;

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
    /// Whether the moment to wake at is the one that was there before, for which the bell is set.
    was_armed: bool,
}

impl Control {
    /// Advances a deployment as far as it goes without waiting: folds `facts` in, decides, stores, performs, and folds
    /// what came of it. Safe to call at any time, by several at once.
    #[instrument(name = "deployment", skip_all, fields(deployment = %id, group))]
    pub async fn advance(&self, id: &DeploymentId, facts: Vec<Fact>) -> Result<Advanced, Error> {
        let began = self.now();
        // On the heap: it goes through every use case, and many are called from there.
        let advanced = Box::pin(self.step(id, facts)).await;
        self.meter.take(Measure::Step(self.now().since_ms(began)));
        advanced
    }

    async fn step(&self, id: &DeploymentId, mut facts: Vec<Fact>) -> Result<Advanced, Error> {
        for _ in 0..ROUNDS {
            let decided = Box::pin(self.decide(id, &facts)).await?;
            let Some(Decided { row, requests, was_armed }) = decided else {
                return Ok(Advanced { wake_at: None });
            };
            let wake_at = row.row.wake_at;
            // Before the requests: some take longer than the wake may be late.
            if let Some(wake_at) = wake_at.filter(|_| !was_armed) {
                self.bell.ring_at(id, wake_at).await;
            }
            facts = Vec::new();
            for request in &requests {
                facts.extend(self.perform(&row, request).await);
            }
            if facts.is_empty() {
                return Ok(Advanced { wake_at });
            }
        }
        let soon = self.now().plus_ms(1);
        self.bell.ring_at(id, soon).await;
        Ok(Advanced { wake_at: Some(soon) })
    }

    /// Folds facts in, plans, and stores the decision. Returns nothing if the deployment does not exist or has ended.
    async fn decide(&self, id: &DeploymentId, facts: &[Fact]) -> Result<Option<Decided>, Error> {
        for _ in 0..TRIES {
            let Some(mut stored) = self.deployment(id).await? else { return Ok(None) };
            Span::current().record("group", stored.row.deployment.order().group_id.as_str());
            if stored.row.deployment.ended().is_some() {
                return Ok(None);
            }
            let deployment = &mut stored.row.deployment;
            let mut changed = false;
            for fact in facts {
                changed |= deployment.apply(fact.clone());
            }
            let now = self.now();
            let mut plan = deployment.plan(now);
            if matches!(plan.requests.as_slice(), [Request::End(_)]) {
                // A stop that was answered is heard before the end, and none is answered between here and there.
                let stop = self.stop_of(id).await?;
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
                    match self.end(stored, ending, now, no_other).await {
                        Err(error) if error.is_conflict() => continue,
                        ended => ended?,
                    }
                    return Ok(None);
                }
            }
            let Plan { requests, wake_at } = plan;
            changed |= deployment.moves_at(now);
            if !changed && requests.is_empty() && stored.row.wake_at == wake_at {
                return Ok(Some(Decided { row: stored, requests, was_armed: true }));
            }
            let was = stored.row.wake_at;
            let plan = Plan { requests: requests.clone(), wake_at };
            self.note_decision(&mut stored.row, now, plan);
            let was_armed = stored.row.wake_at == was;
            match self.table.write(&[stored.replace()?]).await {
                Ok(()) => {
                    stored.version += 1;
                    debug!(deployment = %id, version = stored.version, ?requests, "decided");
                    return Ok(Some(Decided { row: stored, requests, was_armed }));
                }
                Err(crate::table::TableError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(crate::table::TableError::Conflict(DeploymentRow::key_of(id)).into())
    }

    /// Notes in a row what was decided, before it is stored.
    fn note_decision(&self, row: &mut DeploymentRow, at: Timestamp, plan: Plan) {
        let accepted = self.accepted_at_once(&plan.requests);
        row.wake_at = plan.wake_at;
        row.deployment.apply(Fact::Decided { at, plan });
        if !accepted.is_empty() {
            for fact in accepted {
                row.deployment.apply(fact);
            }
            row.wake_at = row.deployment.plan(at).wake_at;
        }
    }

    /// Does one request, or has it done elsewhere. What goes wrong is logged and not told: the request will be asked for
    /// again.
    async fn perform(&self, row: &Stored<DeploymentRow>, request: &Request) -> Vec<Fact> {
        let deployment = &row.row.deployment;
        let id = deployment.id();
        let to = deployment.traits(request, self.now()).performer;
        let errand = Errand { deployment_id: id.clone(), request: request.clone() };
        let outcome = match self.cloud.errands.hand_over(to, &errand).await {
            Ok(true) => Ok(Vec::new()),
            Ok(false) => self.perform_here(row, request).await,
            Err(error) => Err(error.into()),
        };
        outcome.unwrap_or_else(|error| {
            warn!(deployment = %id, ?request, error = &error as &dyn std::error::Error, "a request failed and will be tried again");
            self.told_by_failure(request, &error).into_iter().collect()
        })
    }

    async fn perform_here(
        &self,
        row: &Stored<DeploymentRow>,
        request: &Request,
    ) -> Result<Vec<Fact>, Error> {
        let deployment = &row.row.deployment;
        match request {
            Request::PinRevision => self.pin_revision(deployment).await.map(|fact| vec![fact]),
            Request::EnrolHosts => self.enrol(row).await.map(|fact| fact.into_iter().collect()),
            Request::Dispatch { batch, attempt, hosts } => {
                self.dispatch(deployment, *batch, *attempt, hosts).await
            }
            Request::CheckHosts { batch, shut_out, give_up_before } => {
                let outstanding = deployment.outstanding(*batch);
                let seen = self
                    .check_hosts(deployment.id(), outstanding, *shut_out, *give_up_before)
                    .await;
                seen.map(|seen| vec![Fact::BatchChecked { batch: *batch, seen }])
            }
            Request::ReadAlarms => Ok(vec![self.read_alarms(deployment).await]),
            Request::Withdraw => self.withdraw(deployment).await,
            Request::FindSides => self.find_sides(deployment).await,
            Request::MoveTraffic { percent } => self.move_traffic(deployment.id(), *percent).await,
            Request::CopyGroup => self.copy_group(deployment).await,
            Request::BringUp => self.bring_up(deployment).await,
            Request::MoveTestTraffic => self.move_test_traffic(deployment).await,
            Request::Retire { side } => self.retire(deployment.id(), *side).await,
            Request::RunHook { event } => self.run_hook(deployment, *event).await,
            // Performed as the commit itself.
            Request::End(_) => Ok(Vec::new()),
        }
    }

    async fn pin_revision(&self, deployment: &Deployment) -> Result<Fact, Error> {
        let refused = |code, message| Ok(Fact::RevisionRefused(Failure { code, message }));
        let Revision { bucket, key, bundle_type, version, e_tag, content: _ } =
            deployment.order().revision.clone();
        match self.bundles.pin(&Object { bucket, key, version, e_tag }).await {
            Ok(pinned) if pinned.bundle_type != bundle_type => {
                let message = format!(
                    "The revision was registered as {}, and its content is {}. Register it with the right bundle type.",
                    bundle_type.name(),
                    pinned.bundle_type.name()
                );
                refused(FailureCode::InvalidRevision, message)
            }
            Ok(pinned) => Ok(Fact::RevisionPinned(pinned.pin)),
            Err(error @ PinError::Missing { .. }) => {
                refused(FailureCode::RevisionMissing, error.to_string())
            }
            Err(PinError::Refused(why)) => refused(FailureCode::InvalidRevision, why.to_string()),
            Err(error @ PinError::Unavailable(_)) => Err(error.into()),
        }
    }

    async fn dispatch(
        &self,
        deployment: &Deployment,
        batch: u32,
        attempt: u8,
        hosts: &Ordinals,
    ) -> Result<Vec<Fact>, Error> {
        let id = deployment.id();
        let keys: Vec<_> = hosts.iter().map(|ordinal| HostRow::key_of(id, ordinal)).collect();
        let rows: Vec<Stored<HostRow>> = rows::load_many(&*self.table, &keys).await?;
        let (pushed, polling): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|host| host.row.transport == Transport::Push);
        let offer = |row: &HostRow| {
            let offer = Offer { deployment_id: id.clone(), ordinal: row.ordinal, attempt };
            (row.name.clone(), offer)
        };
        let offers: Vec<_> = polling.iter().map(|stored| offer(&stored.row)).collect();
        self.dispatcher.dispatch(&offers).await;
        let mut told = self.find_down(deployment, polling).await;
        told.extend(self.deliver(deployment, batch, pushed).await?);
        Ok(told)
    }

    /// Reads what may have been missed and advances: the request to stop, every host that is outstanding, and those
    /// that arrived.
    pub async fn refresh(&self, id: &DeploymentId) -> Result<Advanced, Error> {
        let mut facts = Vec::new();
        if let Some(stop) = self.stop_of(id).await? {
            facts.push(stop.row.fact());
        }
        if let Some(wishes) = rows::load::<WishRow>(&*self.table, &WishRow::key_of(id)).await? {
            facts.push(Fact::Wished(wishes.row.wishes));
        }
        if let Some(stored) = self.deployment(id).await? {
            let deployment = &stored.row.deployment;
            let outstanding = deployment.all_outstanding();
            let keys: Vec<_> = outstanding.map(|ordinal| HostRow::key_of(id, ordinal)).collect();
            let hosts: Vec<Stored<HostRow>> = rows::load_many(&*self.table, &keys).await?;
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
            return Ok(self.late_arrivals(deployment).await?.into_iter().collect());
        }
        let keys = OutcomeRow::keys_of(deployment.id());
        let outcomes: Vec<Stored<OutcomeRow>> = rows::load_many(&*self.table, &keys).await?;
        Ok(outcomes.into_iter().map(|stored| stored.row.outcome.into_fact()).collect())
    }

    /// Arms the next wakes of all active deployments, as their rows say, and refreshes each of them, those first that
    /// should have been woken longest ago. So whoever starts anew, and knows of no wake, is late for none, and a bell that
    /// was lost is made up for. Returns how many there are.
    pub async fn sweep(&self) -> Result<usize, Error> {
        let mut query = Query::prefix(DeploymentRow::WAKING, "", 100);
        let mut swept = 0;
        let now = self.now();
        loop {
            let page = self.table.query_index(Index::Waking, &query).await?;
            let wakes = self.wakes(&page.items).await;
            if query.after.is_none() {
                // The first is the one that should have been woken longest ago.
                let first = wakes.first().map_or(0, |(_, at)| now.since_ms(*at));
                self.meter.take(Measure::OldestOverdue(first));
            }
            // What comes later is armed by the next sweep.
            for (id, at) in wakes.iter().filter(|(_, at)| at.since_ms(now) <= SWEEP_ARMS_MS) {
                self.bell.ring_at(id, *at).await;
            }
            for id in page.items.iter().filter_map(DeploymentRow::id_in) {
                swept += 1;
                // One that panics keeps nobody else from being read.
                match AssertUnwindSafe(self.refresh(&id)).catch_unwind().await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => {
                        warn!(deployment = %id, error = &error as &dyn std::error::Error, "could not be advanced; the next sweep tries again");
                    }
                    Err(_) => {
                        warn!(deployment = %id, "its step panicked; the next sweep tries again");
                    }
                }
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        if let Err(error) = self.look_again().await {
            let error = &error as &dyn std::error::Error;
            warn!(
                error,
                "traffic of ended deployments could not be looked at; the next sweep tries again"
            );
        }
        if let Err(error) = self.sweep_uploads().await {
            let error = &error as &dyn std::error::Error;
            warn!(error, "uploads that are not handled cannot be read; the next sweep tries again");
        }
        if swept > 0 {
            info!(deployments = swept, "swept");
        }
        Ok(swept)
    }

    /// When the deployments at these places want to be woken. Where that cannot be read, refreshing them says why.
    async fn wakes(&self, places: &[Key]) -> Vec<(DeploymentId, Timestamp)> {
        let rows = rows::load_readable::<DeploymentRow>(&*self.table, places).await;
        let rows = rows.unwrap_or_default().into_iter().map(|stored| stored.row);
        rows.filter_map(|row| Some((row.deployment.id().clone(), row.wake_at?))).collect()
    }

    /// The latest moment that a deployment which has not ended has written down; the beginning of time if there is none that
    /// can be read.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn latest(&self) -> Result<Timestamp, Error> {
        let mut query = Query::prefix(DeploymentRow::WAKING, "", 100);
        let mut latest = Timestamp::default();
        loop {
            let page = self.table.query_index(Index::Waking, &query).await?;
            let rows: Vec<Stored<DeploymentRow>> =
                rows::load_readable(&*self.table, &page.items).await?;
            let moments = rows.iter().map(|stored| stored.row.deployment.latest());
            latest = moments.fold(latest, Timestamp::max);
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(latest),
            }
        }
    }

    /// The request to stop a deployment, if there is one.
    pub(crate) async fn stop_of(
        &self,
        id: &DeploymentId,
    ) -> Result<Option<Stored<StopRow>>, Error> {
        rows::load(&*self.table, &StopRow::key_of(id)).await
    }

    /// The row of a deployment.
    pub(crate) async fn deployment(
        &self,
        id: &DeploymentId,
    ) -> Result<Option<Stored<DeploymentRow>>, Error> {
        rows::load(&*self.table, &DeploymentRow::key_of(id)).await
    }
}
