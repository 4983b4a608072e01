//! Commands that are sent with the decision itself: where no request is handed over, nobody has to accept them, and hosts
//! find theirs on their own items.

use engine::deployment::{Ordinals, Request};

use crate::rows::{DeploymentRow, Layout};
use crate::table::{TRANSACTION_MAX, Write};
use crate::{DeploymentStepper, Error};

/// Most writes of a decision beside those on hosts: the row, the specification, and all copies of the gate.
const OTHERS: usize = 18;

/// What is written with a decision.
#[derive(Debug, Default)]
pub(super) struct Along {
    /// The batches whose commands are sent by that.
    pub(super) batches: Vec<u32>,
    /// The attempts, on the items of their hosts.
    pub(super) writes: Vec<Write>,
}

impl DeploymentStepper {
    /// The commands that are sent with a decision: as many as there is room for in one transaction. The others are sent as
    /// they are where requests are handed over.
    pub(super) async fn along(
        &self,
        row: &DeploymentRow,
        requests: &[Request],
    ) -> Result<Along, Error> {
        let mut along = Along::default();
        if !self.messages.accepts_at_once() {
            return Ok(along);
        }
        let mut room = TRANSACTION_MAX - OTHERS;
        for request in requests {
            let Request::Dispatch { batch, attempt, hosts } = request else { continue };
            if row.layout == Layout::Gate {
                let Some(left) = room.checked_sub(hosts.iter().count()) else { continue };
                room = left;
                along.writes.extend(self.attempts(row, *attempt, hosts).await?);
            }
            along.batches.push(*batch);
        }
        Ok(along)
    }

    /// The writes by which hosts are sent their command for the time `attempt`.
    async fn attempts(
        &self,
        row: &DeploymentRow,
        attempt: u8,
        hosts: &Ordinals,
    ) -> Result<Vec<Write>, Error> {
        let id = row.deployment.id();
        let hosts = self.base.hosts_at(id, hosts.iter()).await?;
        let writes = hosts.into_iter().map(|mut host| host.offer(row, attempt));
        Ok(writes.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }
}
