//! The Auto Scaling groups that deployment groups name.

use engine::GroupId;

use super::Base;
use crate::Error;
use crate::rows::{self, Group, ScalingGroupRow, Stored};
use crate::table::{Query, Write};

impl Base {
    /// The writes that note which Auto Scaling groups a deployment group names. One that it names no more stays noted
    /// until its hooks are removed.
    pub(crate) fn note_scaling_groups(&self, group: &Group) -> Result<Vec<Write>, Error> {
        let named = group.settings.auto_scaling_groups.iter().flatten();
        named
            .map(|name| {
                rows::put(&ScalingGroupRow {
                    scaling_group: name.clone(),
                    group_id: group.id.clone(),
                    place: group.place.clone(),
                })
            })
            .collect()
    }

    /// The Auto Scaling groups that a deployment group names, or named.
    pub(crate) async fn scaling_groups_of(
        &self,
        id: &GroupId,
    ) -> Result<Vec<Stored<ScalingGroupRow>>, Error> {
        let query = Query::prefix(ScalingGroupRow::list_of(id), "", 100);
        rows::load_listed(&*self.table, query).await
    }
}
