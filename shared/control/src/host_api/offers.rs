//! What waits for a host: found by the host's name, and said by its own items and the gates of their deployments.

use wire::host::Offer;

use crate::base::NEWEST;
use crate::rows::{self, HostRow, Stored};
use crate::table::{Index, Query};
use crate::{Error, HostApi};

impl HostApi {
    /// What waits for a host, out of its newest deployments.
    pub(super) async fn offers_to(&self, name: &str) -> Result<Vec<Offer>, Error> {
        let mut query = Query::prefix(HostRow::list_of(name), "", NEWEST);
        query.descending = true;
        let places = self.base.table.query_index(Index::Listed, &query).await?.items;
        let hosts: Vec<Stored<HostRow>> = rows::load_many(&*self.base.table, &places).await?;
        let mut offers = Vec::new();
        for Stored { row: host, .. } in hosts {
            // A host that is done stays in flight in the deployment's row until the driver has heard of it.
            if host.has_ended() || host.out_of_reach.is_some() {
                continue;
            }
            // It was not sent its command, which its item says where it leaves a member behind.
            if host.generation.is_some() && !host.is_in_flight() {
                continue;
            }
            let Some(permission) = self.permission_lately(&host).await? else { continue };
            if permission.may_proceed(self.base.now()).is_ok() {
                let (deployment_id, attempt) = (host.deployment_id, permission.attempt);
                offers.push(Offer { deployment_id, ordinal: host.ordinal, attempt });
            }
        }
        Ok(offers)
    }
}
