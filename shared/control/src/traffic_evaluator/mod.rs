//! Traffic, and what watches it: what carriers of traffic are asked, and alarms of many deployments at once, on a schedule
//! and when one has changed.
//!
//! What is read here is applied as any reading is. A reading is never taken from what an event tells: events come late,
//! twice and out of order, and what counts is what the alarm says now.

mod alarms;
mod exchange;
mod functions;
pub(crate) mod looks;
mod old_hosts;
mod services;
mod shift;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use engine::DeploymentId;
use engine::deployment::{Deployment, Fact, Request};
use tracing::{info, warn};

use crate::performing::{Handover, Performs};
use crate::ports::{Alarms, Cloud, Reading, Traffic};
use crate::rows::{self, DeploymentRow, Stored};
use crate::table::{Index, Key, Query};
use crate::{Base, DeploymentStepper, Error};
pub(crate) use alarms::notes_of;

/// Moves traffic, reads alarms, and sweeps: what `traffic_evaluator` is.
#[derive(Clone)]
pub struct TrafficEvaluator {
    /// What every role works on.
    pub base: Base,
    /// What carries traffic, and what watches it.
    pub traffic: Traffic,
    /// The instances that traffic leaves, and the other functions.
    pub cloud: Cloud,
    /// Where requests of other kinds are performed.
    pub handover: Handover,
}

#[async_trait]
impl Performs for TrafficEvaluator {
    fn base(&self) -> &Base {
        &self.base
    }

    fn stepper(&self) -> Option<DeploymentStepper> {
        Some(self.deployment_stepper())
    }

    async fn perform(
        &self,
        stored: &Stored<DeploymentRow>,
        request: &Request,
    ) -> Result<Vec<Fact>, Error> {
        let deployment = &stored.row.deployment;
        match request {
            Request::ReadAlarms => Ok(vec![self.read_alarms(deployment).await]),
            Request::Withdraw => self.withdraw(deployment).await,
            Request::FindSides => self.find_sides(deployment).await,
            Request::MoveTraffic { percent } => self.move_traffic(deployment.id(), *percent).await,
            Request::BringUp => self.bring_up(deployment).await,
            Request::MoveTestTraffic => self.move_test_traffic(deployment).await,
            Request::Retire { side } => self.retire(deployment.id(), *side).await,
            Request::RunHook { event } => self.run_hook(deployment, *event).await,
            Request::PinRevision
            | Request::EnrolHosts
            | Request::Dispatch { .. }
            | Request::CheckHosts { .. }
            | Request::CopyGroup
            | Request::End(_) => Err(Error::misdirected(request)),
        }
    }
}

/// How many places of the index of wakes are read at once.
const PAGE: usize = 100;

/// What alarms said a moment ago. What was not asked then is asked of the source.
struct ReadBefore {
    readings: BTreeMap<String, Reading>,
    source: Arc<dyn Alarms>,
}

#[async_trait]
impl Alarms for ReadBefore {
    async fn read(&self, alarms: &[String], version: &DeploymentId) -> Vec<Reading> {
        let known: Option<Vec<Reading>> =
            alarms.iter().map(|name| self.readings.get(name).cloned()).collect();
        match known {
            Some(readings) => readings,
            None => self.source.read(alarms, version).await,
        }
    }

    async fn notes(&self, alarms: &[String], version: &DeploymentId) -> Vec<Option<String>> {
        self.source.notes(alarms, version).await
    }
}

impl TrafficEvaluator {
    /// Sweeps, with the alarms of all watched deployments read beforehand and at once.
    ///
    /// # Errors
    /// When the active deployments cannot be found out.
    pub async fn evaluate(&self) -> Result<(), Error> {
        let watched = self.watched().await.unwrap_or_else(|error| {
            let error = &error as &dyn std::error::Error;
            warn!(error, "the alarms are read one deployment after the other");
            Vec::new()
        });
        self.reading_alarms_of(&watched).await.sweep().await.map(drop)
    }

    /// An alarm has changed: reads the alarms of each active deployment that it watches, and stops those for which one
    /// fires.
    ///
    /// # Errors
    /// When the active deployments cannot be found out. One that cannot be advanced is left to the next reading.
    pub async fn alarm_changed(&self, name: &str) -> Result<(), Error> {
        let mut watched = self.watched().await?;
        watched.retain(|deployment| alarms_of(deployment).iter().any(|alarm| alarm == name));
        let control = self.reading_alarms_of(&watched).await;
        for deployment in &watched {
            let reading = control.read_alarms(deployment).await;
            // That nothing fires is no news, and that something cannot be read is counted where it was asked for.
            if !matches!(&reading, Fact::AlarmsRead { firing, .. } if !firing.is_empty()) {
                continue;
            }
            let id = deployment.id();
            if let Err(error) = control.deployment_stepper().advance(id, vec![reading]).await {
                let error = &error as &dyn std::error::Error;
                warn!(deployment = %id, alarm = name, error, "could not be stopped; the next reading tries again");
            }
        }
        if !watched.is_empty() {
            info!(alarm = name, deployments = watched.len(), "an alarm has changed");
        }
        Ok(())
    }

    /// What it goes on with a deployment with: requests on traffic are performed by itself.
    fn deployment_stepper(&self) -> DeploymentStepper {
        let handover = match &self.handover {
            Handover::Here(control) => Handover::Here(control.clone()),
            Handover::Elsewhere | Handover::Traffic(_) => Handover::Traffic(Box::new(self.clone())),
        };
        DeploymentStepper { base: self.base.clone(), errands: self.cloud.errands.clone(), handover }
    }

    /// With the alarms of these deployments read at once, where the source can do that.
    async fn reading_alarms_of(&self, watched: &[Deployment]) -> Self {
        let mut control = self.clone();
        let names: BTreeSet<&String> = watched.iter().flat_map(alarms_of).collect();
        let names: Vec<String> = names.into_iter().cloned().collect();
        if let Some(any) = watched.first().filter(|_| self.traffic.alarms.reads_together()) {
            let source = Arc::clone(&self.traffic.alarms);
            let readings = source.read(&names, any.id()).await;
            let readings = names.into_iter().zip(readings).collect();
            control.traffic.alarms = Arc::new(ReadBefore { readings, source });
        }
        control
    }

    /// The active deployments that are watched and were not stopped by that yet.
    async fn watched(&self) -> Result<Vec<Deployment>, Error> {
        let mut query = Query::prefix(DeploymentRow::WAKING, "", PAGE);
        let mut watched = Vec::new();
        loop {
            let page = self.base.table.query_index(Index::Waking, &query).await?;
            let ids = page.items.iter().filter_map(DeploymentRow::id_in);
            let keys: Vec<Key> = ids.map(|id| DeploymentRow::key_of(&id)).collect();
            let records = self.base.table.get_many(&keys).await?;
            // One that newer code has written is left to that.
            let read = records.iter().filter_map(|record| rows::read::<DeploymentRow>(record).ok());
            let active = read.map(|Stored { row, .. }| row.deployment);
            watched.extend(active.filter(|deployment| {
                deployment.ended().is_none()
                    && deployment.alarm().is_none()
                    && !alarms_of(deployment).is_empty()
            }));
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(watched),
            }
        }
    }
}

fn alarms_of(deployment: &Deployment) -> &[String] {
    deployment.order().watch.as_ref().map_or(&[], |watch| &watch.alarms)
}
