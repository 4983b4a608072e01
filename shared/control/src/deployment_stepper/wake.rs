//! What wakes deployments where the table's stream does: changed records, and news about hosts.

use engine::deployment::{Fact, Sighting};
use engine::{DeploymentId, Timestamp};
use tracing::warn;

use crate::base::{NEWEST, arrival_of};
use crate::hook_dispatcher::down;
use crate::rows::{
    self, BatchRow, DeploymentRow, HookRow, HostRow, OutcomeRow, SteeringRow, StopRow, Stored,
};
use crate::table::{Index, Key, Query, Record};
use crate::{DeploymentStepper, Error};

/// The deployment that a changed record wakes, and the facts that the record tells it; nothing if it wakes none.
///
/// A record that cannot be read wakes nobody and holds nothing up: whatever it tells, the sweep reads it again.
pub fn wake_of(record: &Record) -> Option<(DeploymentId, Vec<Fact>)> {
    let id = DeploymentRow::id_in(&record.key)?;
    if record.key == DeploymentRow::key_of(&id) {
        // A new deployment. What its own steps write wakes nobody: they arm their own wakes.
        return record.wakes.then(|| (id, Vec::new()));
    }
    let read = if HostRow::ordinal_in(&record.key).is_some() {
        rows::read::<HostRow>(record).map(|host| told_by(&host.row))
    } else if BatchRow::is_at(&record.key) {
        rows::read::<BatchRow>(record).map(|batch| batch.row.told())
    } else if OutcomeRow::is_at(&record.key) {
        rows::read::<OutcomeRow>(record).map(|told| Some(told.row.outcome.into_fact()))
    } else if record.key == StopRow::key_of(&id) {
        rows::read::<StopRow>(record).map(|stop| Some(stop.row.fact()))
    } else if HookRow::is_at(&record.key) {
        rows::read::<HookRow>(record).map(|hook| hook.row.told())
    } else if record.key == SteeringRow::key_of(&id) {
        rows::read::<SteeringRow>(record).map(|found| Some(Fact::Steered(found.row.steering)))
    } else {
        return None;
    };
    match read {
        Ok(fact) => fact.map(|fact| (id, vec![fact])),
        Err(error) => {
            warn!(deployment = %id, error = &error as &dyn std::error::Error, "a changed record is left to the sweep");
            None
        }
    }
}

/// What a host's item tells: that the host arrived, that it is down, or what is the last that will be heard of it.
fn told_by(host: &HostRow) -> Option<Fact> {
    let seen = host.seen();
    match seen.sighting {
        Sighting::Unclaimed if host.down_until.is_some() => down::told_by(host),
        Sighting::Unclaimed if host.arrived => Some(arrival_of(host)),
        Sighting::Unclaimed => None,
        Sighting::Claimed { .. } if !host.stirs => None,
        Sighting::Claimed { .. }
        | Sighting::ShutOut
        | Sighting::GivenUp
        | Sighting::Succeeded
        | Sighting::Failed
        | Sighting::Halted
        | Sighting::Leaving
        | Sighting::Gone => Some(Fact::HostsSeen(vec![seen])),
    }
}

impl DeploymentStepper {
    /// Takes a wake that was armed for `at`. A later one may have been armed since: a wake that is not the newest does
    /// nothing, and arms nothing. One that comes too early is armed again.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn wake(&self, id: &DeploymentId, at: Timestamp) -> Result<(), Error> {
        let Some(stored) = self.base.deployment(id).await? else { return Ok(()) };
        if stored.row.wake_at != Some(at) || stored.row.deployment.ended().is_some() {
            return Ok(());
        }
        if self.base.now() < at {
            self.base.waker.wake_at(id, at).await;
            return Ok(());
        }
        self.advance(id, Vec::new()).await.map(drop)
    }

    /// Looks again at the active deployments that the host `name` takes part in. For news about a host that name no
    /// deployment.
    ///
    /// # Errors
    /// Those of the table. Calling again does no harm.
    pub async fn refresh_host(&self, name: &str) -> Result<(), Error> {
        let mut query = Query::prefix(HostRow::list_of(name), "", NEWEST);
        query.descending = true;
        let places = self.base.table.query_index(Index::Listed, &query).await?.items;
        let ids = places.iter().filter_map(DeploymentRow::id_in);
        let keys: Vec<Key> = ids.map(|id| DeploymentRow::key_of(&id)).collect();
        let deployments: Vec<Stored<DeploymentRow>> =
            rows::load_many(&*self.base.table, &keys).await?;
        for stored in deployments {
            let deployment = stored.row.deployment;
            if deployment.ended().is_none() {
                self.refresh(deployment.id()).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use engine::deployment::HostSeen;
    use serde_json::json;

    use super::*;

    const ID: &str = "d-A1B2C3D4E";

    fn record(sort: &str, waking: bool, body: serde_json::Value) -> Record {
        Record {
            key: Key::new(format!("D#{ID}"), sort),
            schema: 1,
            version: 3,
            body: body.to_string(),
            listed: None,
            waking: waking
                .then(|| Key::new(DeploymentRow::WAKING, "00000000001764000000#d-A1B2C3D4E")),
            expires_at: None,
            wakes: waking,
        }
    }

    fn host(status: Option<&str>) -> Record {
        let body = json!({
            "deploymentId": ID,
            "groupId": "6f9619ff-8b86-4d01-b42d-00cf4fc964ff",
            "ordinal": 7,
            "name": "host-8",
            "enrolledAt": 1_764_000_000_000_u64,
            "before": { "healthy": true, "installed": null },
            "heardAt": 1_764_000_000_500_u64,
            "status": status,
        });
        record("HOST#000007", false, body)
    }

    fn facts_of(record: &Record) -> Option<Vec<Fact>> {
        wake_of(record).map(|(id, facts)| {
            assert_eq!(id.as_str(), ID);
            facts
        })
    }

    #[test]
    fn a_deployment_that_wants_to_be_woken_is_woken_without_reading_its_row() {
        assert_eq!(facts_of(&record("META", true, json!("of any schema"))), Some(Vec::new()));
        assert_eq!(facts_of(&record("META", false, json!("it has ended"))), None);
    }

    #[test]
    fn a_host_wakes_its_deployment_when_it_has_ended_and_not_before() {
        let seen = |sighting| Some(vec![Fact::HostsSeen(vec![HostSeen { ordinal: 7, sighting }])]);
        assert_eq!(facts_of(&host(None)), None);
        assert_eq!(facts_of(&host(Some("InProgress"))), None);
        assert_eq!(facts_of(&host(Some("Succeeded"))), seen(Sighting::Succeeded));
        assert_eq!(facts_of(&host(Some("Failed"))), seen(Sighting::Failed));
    }

    #[test]
    fn a_request_to_stop_wakes_its_deployment() {
        let body = json!({ "deploymentId": ID, "at": 5, "rollBack": true });
        let stop = Fact::StopRequested { at: Timestamp(5), roll_back: Some(true) };
        assert_eq!(facts_of(&record("STOP", false, body)), Some(vec![stop]));
    }

    #[test]
    fn what_cannot_be_read_or_is_of_another_kind_wakes_nobody() {
        let mut newer = host(Some("Failed"));
        newer.schema = 99;
        assert_eq!(facts_of(&newer), None);
        assert_eq!(facts_of(&record("HOST#000007", false, json!({}))), None);
        assert_eq!(facts_of(&record("NOTE", false, json!({}))), None);
        let mut log = host(Some("Failed"));
        log.key.partition = format!("LOG#{ID}");
        assert_eq!(wake_of(&log), None);
    }
}
