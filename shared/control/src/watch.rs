//! Alarms of many deployments at once, for who watches all of them: on a schedule, and when an alarm has changed.
//!
//! What is read here is applied as any reading is. A reading is never taken from what an event tells: events come late,
//! twice and out of order, and what counts is what the alarm says now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use engine::DeploymentId;
use engine::deployment::{Deployment, Fact};
use tracing::{info, warn};

use crate::ports::{Alarms, Reading};
use crate::rows::{self, DeploymentRow, Stored};
use crate::table::{Index, Key, Query};
use crate::{Control, Error};

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

impl Control {
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
            if let Err(error) = control.advance(id, vec![reading]).await {
                let error = &error as &dyn std::error::Error;
                warn!(deployment = %id, alarm = name, error, "could not be stopped; the next reading tries again");
            }
        }
        if !watched.is_empty() {
            info!(alarm = name, deployments = watched.len(), "an alarm has changed");
        }
        Ok(())
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
            let page = self.table.query_index(Index::Waking, &query).await?;
            let ids = page.items.iter().filter_map(DeploymentRow::id_in);
            let keys: Vec<Key> = ids.map(|id| DeploymentRow::key_of(&id)).collect();
            let records = self.table.get_many(&keys).await?;
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
