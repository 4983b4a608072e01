//! Removing kept bundles that nothing needs any more (`docs/semantics.md#revisions`).
//!
//! A bundle is needed by a registered revision, by what a group goes back to or has waiting, and by a deployment that is
//! under way or that its group can be rolled back from. What is looked at was last put before a while ago: whoever pins
//! bytes puts them anew, or has seen that they were put a short time before, so that nothing is removed of which the record
//! is just being written.

use std::collections::BTreeSet;

use engine::deployment::Deployment;
use engine::{Pin, Timestamp};
use tracing::info;

use crate::rows::{self, Application, DeploymentRow, Group, GroupName, RegisteredRevision, Stored};
use crate::table::{Index, Key, Query};
use crate::{DAY_MS, Error, RevisionIntake};

/// The shortest time that a kept bundle may be left alone after it was put, in milliseconds.
pub const KEPT_MS_MIN: u64 = DAY_MS;

/// How many rows are asked for at once.
const PAGE: usize = 100;

/// Digests of which it is not known yet that something needs them.
struct Candidates(BTreeSet<String>);

impl Candidates {
    fn spare<'a>(&mut self, pins: impl IntoIterator<Item = &'a Pin>) {
        for pin in pins {
            self.0.remove(&pin.sha256);
        }
    }

    fn spare_those_of(&mut self, deployment: &Deployment) {
        let fallback = deployment.order().fallback.as_ref().map(|fallback| &fallback.pin);
        self.spare(deployment.pin().into_iter().chain(fallback));
    }
}

impl RevisionIntake {
    /// Removes the kept bytes that nothing needs any more and that were last put as long ago as the settings say, at least
    /// [`KEPT_MS_MIN`]. Returns how many.
    ///
    /// # Errors
    /// Those of the table and of the bucket. Nothing is removed of which something was not read.
    pub async fn remove_unneeded_bundles(&self) -> Result<usize, Error> {
        let kept_ms = self.base.settings.kept_bundles_ms.max(KEPT_MS_MIN);
        let before = Timestamp(self.base.now().0.saturating_sub(kept_ms));
        let mut unneeded = Candidates(self.bundles.kept_before(before).await?);
        // Revisions last as long as their application, and so most is found to be needed here. What leaves a group is in a
        // deployment by then, and what leaves a revision is so too: they are read in this order.
        let query = Query::prefix(Application::ALL, "", PAGE);
        let applications = rows::load_all::<Application>(&*self.base.table, query).await?;
        for application in &applications {
            self.spare_revisions(&application.row.id, &mut unneeded).await?;
        }
        for application in &applications {
            self.spare_groups(&application.row.id, &mut unneeded).await?;
        }
        self.spare_deployments(DeploymentRow::WAKING, Index::Waking, &mut unneeded).await?;
        for digest in &unneeded.0 {
            self.bundles.remove(digest, before).await?;
        }
        let removed = unneeded.0.len();
        if removed > 0 {
            info!(bundles = removed, "removed kept bundles that nothing needs any more");
        }
        Ok(removed)
    }

    async fn spare_revisions(
        &self,
        application_id: &str,
        unneeded: &mut Candidates,
    ) -> Result<(), Error> {
        let mut query = Query::prefix(RegisteredRevision::all_of(application_id), "", PAGE);
        while !unneeded.0.is_empty() {
            let page = rows::load_page::<RegisteredRevision>(&*self.base.table, &query).await?;
            unneeded.spare(page.items.iter().filter_map(|stored| stored.row.pin.as_ref()));
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        Ok(())
    }

    async fn spare_groups(
        &self,
        application_id: &str,
        unneeded: &mut Candidates,
    ) -> Result<(), Error> {
        if unneeded.0.is_empty() {
            return Ok(());
        }
        let query = Query::prefix(GroupName::all_of(application_id), "", PAGE);
        let names = rows::load_all::<GroupName>(&*self.base.table, query).await?;
        let keys: Vec<Key> = names.iter().map(|name| Group::key_of(&name.row.id)).collect();
        let groups: Vec<Stored<Group>> = rows::load_many(&*self.base.table, &keys).await?;
        for Stored { row: Group { id, slot, .. }, .. } in groups {
            unneeded.spare(slot.last_successful.iter().map(|last| &last.pin));
            unneeded.spare(slot.queued.iter().map(|upload| &upload.pin));
            self.spare_deployments(&DeploymentRow::list_of(&id), Index::Listed, unneeded).await?;
        }
        Ok(())
    }

    /// Spares what the deployments of a partition of an index have, and what they go back to.
    async fn spare_deployments(
        &self,
        partition: &str,
        index: Index,
        unneeded: &mut Candidates,
    ) -> Result<(), Error> {
        let mut query = Query::prefix(partition, "", PAGE);
        while !unneeded.0.is_empty() {
            let page = self.base.table.query_index(index, &query).await?;
            for stored in rows::load_many::<DeploymentRow>(&*self.base.table, &page.items).await? {
                unneeded.spare_those_of(&stored.row.deployment);
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        Ok(())
    }
}
