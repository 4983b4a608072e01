//! Where the hosts of deployments lie: read once, for it never changes. Small ones, which have one partition, need no row that
//! says so.

use engine::DeploymentId;

use crate::rows::{self, DeploymentRow, HostRow, HostShards, ShardsRow, Stored};
use crate::table::{Condition, TableError, Write};
use crate::{Base, Error};

impl Base {
    /// Where the hosts of a deployment lie. As long as nobody is known to be enrolled that may not be decided, and nothing is
    /// kept.
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
    /// interrupted has decided for those that come after it: by a row that says so, or, where there is one partition, by the
    /// first host, on condition that there is no such row. Returns also that condition, which goes with the hosts.
    pub(crate) async fn decide_shards(
        &self,
        deployment: &Stored<DeploymentRow>,
        hosts: usize,
    ) -> Result<(HostShards, Option<Write>), Error> {
        let order = deployment.row.deployment.order();
        let (key, undivided) = (ShardsRow::key_of(&order.id), HostShards::undivided(&order.id));
        if !deployment.row.keeps_members() {
            return Ok((undivided, None));
        }
        let shards = HostShards::of(&order.id, hosts, self.settings.hosts_of_shard).shards;
        while rows::load::<ShardsRow>(&*self.table, &key).await?.is_none() {
            let is_new = Write::Check(key.clone(), Condition::Absent);
            if shards == 1 {
                return Ok((undivided, Some(is_new)));
            }
            let (deployment_id, created_at) = (order.id.clone(), order.created_at);
            let row = ShardsRow { deployment_id, shards, created_at };
            let nobody = Write::Check(undivided.key_of(0), Condition::Absent);
            let first = nobody.key().clone();
            match self.table.write(&[deployment.unchanged(), rows::create(&row)?, nobody]).await {
                // Another enrolment may have decided, or tried to: nobody goes on until it is known.
                Err(TableError::Conflict(at)) if at == first => {
                    return Ok((undivided, Some(is_new)));
                }
                Err(TableError::Conflict(at)) if at == key => {}
                written => written?,
            }
        }
        Ok((self.shards(&order.id).await?, None))
    }

    /// Keeps where the hosts of a deployment lie, of which one was found.
    pub(crate) fn keep_shards(&self, host: &HostRow) {
        if self.shards.of(&host.deployment_id).is_none() {
            let id = host.deployment_id.clone();
            self.shards.keep(&HostShards { id, shards: host.shards });
        }
    }
}
