//! The attempt, written on the items of the hosts that are sent their command: by that they know of it, and from then on
//! they may claim it.

use crate::performing::TRIES;
use crate::rows::{self, DeploymentRow, HostRow, Stored};
use crate::table::{Key, TRANSACTION_MAX, TableError};
use crate::{Error, HookDispatcher};

impl HookDispatcher {
    /// Sends hosts their command for the time `attempt`, those that were not sent it. Returns the hosts as they are then.
    pub(super) async fn offer(
        &self,
        row: &DeploymentRow,
        attempt: u8,
        keys: &[Key],
    ) -> Result<Vec<Stored<HostRow>>, Error> {
        let mut all = Vec::with_capacity(keys.len());
        for keys in keys.chunks(TRANSACTION_MAX) {
            all.extend(self.offer_together(row, attempt, keys).await?);
        }
        Ok(all)
    }

    async fn offer_together(
        &self,
        row: &DeploymentRow,
        attempt: u8,
        keys: &[Key],
    ) -> Result<Vec<Stored<HostRow>>, Error> {
        for _ in 0..TRIES {
            let mut hosts: Vec<Stored<HostRow>> = rows::load_many(&*self.base.table, keys).await?;
            let mut writes = Vec::new();
            for host in &mut hosts {
                writes.extend(host.offer(row, attempt)?);
            }
            // One of them was heard of or lost just now, or another copy of the request does the same.
            if writes.is_empty() || self.base.write_unless_changed(&writes).await? {
                return Ok(hosts);
            }
        }
        let key = DeploymentRow::key_of(row.deployment.id());
        Err(TableError::Conflict(key).into())
    }
}
