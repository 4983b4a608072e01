//! What is stored with a deployment's row: its gate, where that has changed, and its specification, once it is known.
//!
//! A stop that was answered is in the gate before the deployment has taken note of it, and nothing takes it out again:
//! - `StopDeployment` writes its request and marks all copies in one transaction, on condition of the version that it read.
//! - A commit that changes the gate reads it anew, keeps the mark, and is made on condition of that version. Marked in
//!   between, nothing of the commit happens, and it is tried again with what is there then.
//! - A commit that does not change the gate does not write it.
//! - The copies that come into being with the roster are written in one transaction with the first one, whose version
//!   changes: a request to stop that has read one copy alone does not happen, and reads again.

use engine::deployment::Gate;

use crate::rows::{self, DeploymentRow, GateRow, Layout, SpecificationRow, Stored};
use crate::table::{TableError, Write};
use crate::{DeploymentStepper, Error};

/// What hosts are told by what is stored.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    gate: Gate,
    copies: u8,
    is_specified: bool,
}

impl DeploymentStepper {
    /// What hosts are told by a row, as it is.
    pub(super) fn told_by(row: &DeploymentRow) -> Told {
        let deployment = &row.deployment;
        Told {
            gate: deployment.gate(),
            copies: GateRow::copies_of(deployment),
            is_specified: SpecificationRow::is_known(deployment),
        }
    }

    /// The writes that store a deployment's row, and with it what its hosts are told otherwise than `told`.
    pub(super) async fn writes_of(
        &self,
        stored: &Stored<DeploymentRow>,
        told: &Told,
    ) -> Result<Vec<Write>, Error> {
        let mut writes = vec![stored.replace()?];
        let now = Self::told_by(&stored.row);
        if stored.row.layout == Layout::Row || now == *told {
            return Ok(writes);
        }
        let deployment = &stored.row.deployment;
        let specification = SpecificationRow::of(&stored.row).filter(|_| !told.is_specified);
        if let Some(specification) = specification {
            writes.push(rows::create(&specification)?);
        }
        if (&now.gate, now.copies) != (&told.gate, told.copies) {
            let key = GateRow::key_of(deployment.id(), 0);
            let known = rows::load::<GateRow>(&*self.base.table, &key).await?;
            // It goes after the deployment's row, on whose version this commit depends.
            let Some(Stored { row: known, version }) = known else {
                return Err(TableError::Conflict(key).into());
            };
            let (were, Told { gate, copies, .. }) = (known.copies, now);
            writes.extend(GateRow { gate, copies, ..known }.replace_all(were, version)?);
        }
        Ok(writes)
    }
}
