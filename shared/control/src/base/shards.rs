//! Where the hosts of deployments lie: read once, for it never changes.

use engine::DeploymentId;

use crate::rows::{self, DeploymentRow, HostShards, Row as _, ShardsRow, Stored};
use crate::table::TableError;
use crate::{Base, Error};

impl Base {
    /// Where the hosts of a deployment lie. As long as nobody is enrolled that may not be decided, and nothing is kept.
    pub(crate) async fn shards(&self, id: &DeploymentId) -> Result<HostShards, Error> {
        if let Some(known) = self.shards.of(id) {
            return Ok(known);
        }
        match rows::load::<ShardsRow>(&*self.table, &ShardsRow::key_of(id)).await? {
            Some(stored) => {
                let shards = stored.row.shards();
                self.shards.keep(&shards);
                Ok(shards)
            }
            None => Ok(HostShards::undivided(id)),
        }
    }

    /// Decides where the hosts of a deployment lie, before the first of so many is enrolled. An enrolment that was
    /// interrupted has decided for those that come after it.
    pub(crate) async fn decide_shards(
        &self,
        deployment: &Stored<DeploymentRow>,
        hosts: usize,
    ) -> Result<HostShards, Error> {
        let order = deployment.row.deployment.order();
        if !deployment.row.keeps_members() {
            return Ok(HostShards::undivided(&order.id));
        }
        let key = ShardsRow::key_of(&order.id);
        while rows::load::<ShardsRow>(&*self.table, &key).await?.is_none() {
            let shards = HostShards::of(&order.id, hosts, self.settings.hosts_of_shard).shards;
            let (deployment_id, created_at) = (order.id.clone(), order.created_at);
            let row = ShardsRow { deployment_id, shards, created_at };
            match self.table.write(&[deployment.unchanged(), rows::create(&row)?]).await {
                // Another enrolment may have decided, or tried to: nobody goes on until there is a row.
                Err(TableError::Conflict(key)) if key == row.key() => {}
                written => written?,
            }
        }
        self.shards(&order.id).await
    }
}
