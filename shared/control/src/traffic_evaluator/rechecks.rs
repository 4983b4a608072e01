//! Looking again at traffic after the end (`docs/semantics.md#blue-green`): nobody can call back a request that was sent
//! and not answered, so for some time after a deployment has not succeeded its traffic is read with each sweep. What is
//! found is said, and nothing is done about it: it may be somebody's will.

use engine::Timestamp;
use engine::deployment::{Deployment, Stage, Status};
use tracing::{debug, warn};

use crate::rows::{self, Group, RecheckRow, Stored};
use crate::table::Query;
use crate::{Error, TrafficEvaluator};

/// For how long traffic is looked at after the end, in milliseconds.
const RECHECKED_MS: u64 = 10 * 60_000;

/// What is to be looked at after a deployment has ended; nothing where its traffic cannot have moved, or is where it was to
/// be.
pub(crate) fn recheck_of(
    deployment: &Deployment,
    ending: Status,
    now: Timestamp,
) -> Option<RecheckRow> {
    let has_moved = deployment.stage().is_some_and(|stage| stage >= Stage::Move);
    let percent = deployment.percent().filter(|_| has_moved && ending != Status::Succeeded)?;
    Some(RecheckRow {
        deployment_id: deployment.id().clone(),
        group_id: deployment.order().group_id.clone(),
        ended_at: now,
        until: now.plus_ms(RECHECKED_MS),
        percent,
        found: None,
        found_at: None,
    })
}

impl TrafficEvaluator {
    /// Looks at the traffic of all deployments that have ended not long ago and did not succeed.
    ///
    /// # Errors
    /// When they cannot be found out. One that cannot be looked at is left to the next sweep.
    pub(crate) async fn recheck_all(&self) -> Result<(), Error> {
        let query = Query::prefix(RecheckRow::ALL, "", 100);
        let rechecks: Vec<Stored<RecheckRow>> = rows::load_all(&*self.base.table, query).await?;
        for recheck in rechecks {
            let id = recheck.row.deployment_id.clone();
            if let Err(error) = self.recheck(recheck).await {
                let error = &error as &dyn std::error::Error;
                debug!(deployment = %id, error, "its traffic could not be looked at after its end");
            }
        }
        Ok(())
    }

    async fn recheck(&self, mut recheck: Stored<RecheckRow>) -> Result<(), Error> {
        let (now, id) = (self.base.now(), recheck.row.deployment_id.clone());
        // What was found is kept for whoever asks.
        if now >= recheck.row.until && recheck.row.found.is_some() {
            return Ok(());
        }
        let key = Group::key_of(&recheck.row.group_id);
        let group = rows::load::<Group>(&*self.base.table, &key).await?;
        let newest = group.and_then(|group| group.row.slot.last_attempted);
        // A later deployment moves the same traffic.
        if now >= recheck.row.until || newest.as_ref() != Some(&id) {
            if recheck.row.found.is_none() {
                self.base.table.write(&[recheck.remove()]).await?;
            }
            return Ok(());
        }
        let Some(stored) = self.base.deployment(&id).await? else { return Ok(()) };
        let deployment = &stored.row.deployment;
        let Some(carrier) = self.carriers.of(deployment)? else { return Ok(()) };
        let here = self.at(stored.row.place.as_ref()).await?;
        let share = here.share(&*carrier, deployment).await?;
        let found = share.filter(|share| *share != recheck.row.percent);
        if found.is_some() && found != recheck.row.found {
            (recheck.row.found, recheck.row.found_at) = (found, Some(now));
            self.base.table.write(&[recheck.replace()?]).await?;
            let message = recheck.row.message();
            warn!(deployment = %id, found, message, "traffic has moved after the end of its deployment");
        }
        Ok(())
    }
}
