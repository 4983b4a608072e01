//! What every role works on, and what several of them do: deployments and their hosts are read here, and started.

mod applications;
mod history;
mod hosts;
mod known_shards;
mod members;
pub(crate) mod rules;
mod scaling;
mod shards;
pub mod start;

use std::sync::Arc;

use engine::{DeploymentId, Timestamp};

pub(crate) use hosts::{FEW, NEWEST, arrival_of};
pub use known_shards::KnownShards;

use crate::ports::{Clock, Entropy, Meter, Waker};
use crate::rows::{self, DeploymentRow, RecheckRow, StopRow, Stored};
use crate::table::{Index, Query, Table, TableError, Write};
use crate::{Error, Settings};

/// The table, and what else every role needs.
#[derive(Clone)]
pub struct Base {
    /// The table.
    pub table: Arc<dyn Table>,
    /// Wakes deployments.
    pub waker: Arc<dyn Waker>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Takes measurements.
    pub meter: Arc<dyn Meter>,
    /// What the installation is set to.
    pub settings: Settings,
    /// Where the hosts of deployments lie, as far as that was read.
    pub shards: KnownShards,
}

impl Base {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }

    pub(crate) fn new_deployment_id(&self) -> DeploymentId {
        DeploymentId::from_random(self.random())
    }

    /// An id for a request, to find it by in logs: a UUID.
    pub fn new_request_id(&self) -> String {
        engine::GroupId::from_random(self.random()).as_str().to_owned()
    }

    pub(crate) fn new_token(&self) -> String {
        hex::encode(self.random::<32>())
    }

    /// Writes, and tells whether nobody had changed what was read.
    pub(crate) async fn write_unless_changed(&self, writes: &[Write]) -> Result<bool, Error> {
        match self.table.write(writes).await {
            Ok(()) => Ok(true),
            Err(TableError::Conflict(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
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

    /// What was found after the end of a deployment, in words.
    pub(crate) async fn found_later(&self, id: &DeploymentId) -> Result<Option<String>, Error> {
        let recheck = rows::load::<RecheckRow>(&*self.table, &RecheckRow::key_of(id)).await?;
        Ok(recheck.and_then(|recheck| recheck.row.message()))
    }
}
