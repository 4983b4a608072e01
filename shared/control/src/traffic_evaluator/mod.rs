//! Traffic, and what watches it: what carriers of traffic are asked, and alarms of many deployments at once, on a schedule
//! and when one has changed.
//!
//! What is read here is applied as any reading is. A reading is never taken from what an event tells: events come late,
//! twice and out of order, and what counts is what the alarm says now.

mod alarms;
pub(crate) mod here;
mod hooks;
mod old_hosts;
pub(crate) mod rechecks;
mod shift;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use engine::DeploymentId;
use engine::deployment::{Fact, Request};
use tracing::{info, warn};

use here::Here;

use crate::carriers::Carriers;
use crate::performing::{Advances, Handover, Performs};
use crate::ports::{Alarms, Messages, Place, Placed, Reading, Site, Traffic};
use crate::rows::{self, DeploymentRow, Stored};
use crate::table::{Index, Key, Query};
use crate::{Base, DeploymentStepper, Error};
pub(crate) use alarms::notes_of;

/// Moves traffic, reads alarms, and sweeps: what `traffic_evaluator` is.
#[derive(Clone)]
pub struct TrafficEvaluator {
    /// What every role works on.
    pub base: Base,
    /// The kinds of what carries traffic.
    pub carriers: Carriers,
    /// What other functions are asked for.
    pub messages: Arc<dyn Messages>,
    /// What carries traffic, what watches it, and the instances that it leaves, by where they are.
    pub sites: Placed<Site>,
    /// Where requests of other kinds are performed.
    pub handover: Handover,
}

#[async_trait]
impl Performs for TrafficEvaluator {
    fn base(&self) -> &Base {
        &self.base
    }

    fn stepper(&self) -> Option<Box<dyn Advances>> {
        Some(Box::new(self.deployment_stepper()))
    }

    async fn perform(
        &self,
        stored: &Stored<DeploymentRow>,
        request: &Request,
    ) -> Result<Vec<Fact>, Error> {
        let deployment = &stored.row.deployment;
        let here = match self.at(stored.row.place.as_ref()).await {
            Ok(here) => here,
            // Alarms of a place that cannot be reached cannot be read, which counts.
            Err(error) if *request == Request::ReadAlarms => {
                return Ok(vec![alarms::unreadable(&error)]);
            }
            Err(error) => return Err(error),
        };
        match request {
            Request::ReadAlarms => Ok(vec![here.read_alarms(deployment).await]),
            Request::Withdraw => here.withdraw(deployment).await,
            Request::FindSides
            | Request::MoveTraffic { .. }
            | Request::BringUp
            | Request::MoveTestTraffic
            | Request::Retire { .. } => match self.carriers.of(deployment)? {
                Some(carrier) => here.shift(&*carrier, stored, request).await,
                None => Ok(Vec::new()),
            },
            Request::RunHook { event } => {
                let hooks = self.carriers.of(deployment)?.map(|carrier| carrier.hooks());
                match hooks.and_then(|mut hooks| hooks.remove(event)) {
                    Some(function) => here.run_hook(deployment, *event, &function).await,
                    None => Ok(Vec::new()),
                }
            }
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
        watched.retain(|row| alarms_of(row).iter().any(|alarm| alarm == name));
        let control = self.reading_alarms_of(&watched).await;
        for row in &watched {
            let deployment = &row.deployment;
            let reading = match control.at(row.place.as_ref()).await {
                Ok(here) => here.read_alarms(deployment).await,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    warn!(deployment = %deployment.id(), error, "its alarms cannot be read where it acts");
                    continue;
                }
            };
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

    /// The evaluator in one account and region; none is the installation's own.
    async fn at(&self, place: Option<&Place>) -> Result<Here, Error> {
        let Site { instances, traffic } = self.sites.at(place).await?;
        Ok(Here { base: self.base.clone(), instances, traffic })
    }

    /// What it goes on with a deployment with: requests on traffic are performed by itself.
    fn deployment_stepper(&self) -> DeploymentStepper {
        let handover = match &self.handover {
            Handover::Here(control) => Handover::Here(control.clone()),
            Handover::Elsewhere | Handover::Traffic(_) => Handover::Traffic(Arc::new(self.clone())),
        };
        DeploymentStepper { base: self.base.clone(), messages: self.messages.clone(), handover }
    }

    /// With the alarms of these deployments read at once, where the source can do that.
    async fn reading_alarms_of(&self, watched: &[DeploymentRow]) -> Self {
        let mut evaluator = self.clone();
        // Those that act elsewhere read their own.
        let here = || watched.iter().filter(|row| row.place.is_none());
        let source = self.sites.in_own().traffic.alarms;
        let names: BTreeSet<&String> = here().flat_map(alarms_of).collect();
        let names: Vec<String> = names.into_iter().cloned().collect();
        if let Some(any) = here().next().filter(|_| source.reads_together()) {
            let readings = source.read(&names, any.deployment.id()).await;
            let readings = names.into_iter().zip(readings).collect();
            let alarms: Arc<dyn Alarms> = Arc::new(ReadBefore { readings, source });
            evaluator.sites = self
                .sites
                .with_own(|site| Site { traffic: Traffic { alarms, ..site.traffic }, ..site });
        }
        evaluator
    }

    /// The active deployments that are watched and were not stopped by that yet.
    async fn watched(&self) -> Result<Vec<DeploymentRow>, Error> {
        let mut query = Query::prefix(DeploymentRow::WAKING, "", PAGE);
        let mut watched = Vec::new();
        loop {
            let page = self.base.table.query_index(Index::Waking, &query).await?;
            let ids = page.items.iter().filter_map(DeploymentRow::id_in);
            let keys: Vec<Key> = ids.map(|id| DeploymentRow::key_of(&id)).collect();
            let records = self.base.table.get_many(&keys).await?;
            // One that newer code has written is left to that.
            let read = records.iter().filter_map(|record| rows::read::<DeploymentRow>(record).ok());
            let active = read.map(|Stored { row, .. }| row);
            watched.extend(active.filter(|row| {
                row.deployment.ended().is_none()
                    && row.deployment.alarm().is_none()
                    && !alarms_of(row).is_empty()
            }));
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(watched),
            }
        }
    }
}

fn alarms_of(row: &DeploymentRow) -> &[String] {
    row.deployment.order().watch.as_ref().map_or(&[], |watch| &watch.alarms)
}
