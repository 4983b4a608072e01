//! Looking at hosts, and refusing to listen any longer to those that the deployment gave up on.

use engine::deployment::{HostSeen, Ordinals};
use engine::{DeploymentId, Timestamp};

use crate::rows::{self, HostRow, OutOfReach, Row as _, Stored};
use crate::table::TableError;
use crate::{DeploymentStepper, Error};

impl DeploymentStepper {
    /// Reads the hosts and, where asked to, shuts out those that have not claimed their command and gives up those that
    /// were not heard of since `give_up_before`.
    ///
    /// Both are written on the host's own item under its version: either the host's claim or report came first, and
    /// then the host is heard of, or this did, and then the host's next word is refused. No host goes on while the
    /// deployment counts it as failed.
    pub(super) async fn check_hosts(
        &self,
        id: &DeploymentId,
        outstanding: Ordinals,
        shut_out: bool,
        give_up_before: Timestamp,
    ) -> Result<Vec<HostSeen>, Error> {
        let hosts = self.base.hosts_at(id, outstanding.iter()).await?;
        let mut seen = Vec::with_capacity(hosts.len());
        for host in hosts {
            seen.push(self.check_host(host, shut_out, give_up_before).await?.seen());
        }
        Ok(seen)
    }

    async fn check_host(
        &self,
        mut host: Stored<HostRow>,
        shut_out: bool,
        give_up_before: Timestamp,
    ) -> Result<HostRow, Error> {
        loop {
            let verdict = match (host.row.status, host.row.heard_at) {
                _ if host.row.out_of_reach.is_some() || host.row.has_ended() || host.row.gone => {
                    None
                }
                (_, None) => shut_out.then_some(OutOfReach::ShutOut),
                (_, Some(heard_at)) => (heard_at < give_up_before).then_some(OutOfReach::GivenUp),
            };
            let Some(verdict) = verdict else { return Ok(host.row) };
            host.row.out_of_reach = Some(verdict);
            host.row.reason = host.row.reason.take().or_else(|| host.row.hint.clone());
            match self.base.table.write(&self.base.host_and_member(&host).await?).await {
                Ok(()) => return Ok(host.row),
                Err(TableError::Conflict(_)) => {
                    match rows::load(&*self.base.table, &host.row.key()).await? {
                        Some(newer) => host = newer,
                        None => return Ok(host.row),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
