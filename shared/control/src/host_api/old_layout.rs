//! Hosts of deployments that the version before has begun: they have no gate, no specification and no attempts on items, and
//! are answered by the deployment's row. The next version has none of them any more, and not this file.

use super::permission::Permission;
use crate::rows::{DeploymentRow, HostRow, Layout, SpecificationRow};
use crate::{Error, HostApi};

impl HostApi {
    /// The row of a host's deployment, where that is what its hosts are answered by.
    async fn old_row(&self, host: &HostRow) -> Result<Option<DeploymentRow>, Error> {
        let stored = self.base.deployment(&host.deployment_id).await?;
        Ok(stored.map(|stored| stored.row).filter(|row| row.layout == Layout::Row))
    }

    pub(super) async fn permission_by_row(
        &self,
        host: &HostRow,
    ) -> Result<Option<Permission>, Error> {
        let id = &host.deployment_id;
        let (row, stop) = futures::try_join!(self.old_row(host), self.base.stop_of(id))?;
        let Some(DeploymentRow { mut deployment, .. }) = row else { return Ok(None) };
        if let Some(stop) = stop {
            deployment.apply(stop.row.fact());
        }
        let known = deployment.hosts().get(host.ordinal);
        Ok(Some(Permission {
            gate: deployment.gate(),
            is_in_flight: known.is_some_and(|known| known.state.in_flight()),
            attempt: known.map_or(1, |known| known.attempt),
        }))
    }

    pub(super) async fn specification_by_row(
        &self,
        host: &HostRow,
    ) -> Result<Option<SpecificationRow>, Error> {
        let row = self.old_row(host).await?;
        Ok(row.as_ref().and_then(SpecificationRow::of))
    }
}
