//! What is stored of gates, for the invariants, and gates of new deployments in a world with a time of its own.

use std::collections::BTreeMap;

use control::rows::{self, DeploymentRow, GateRow, SpecificationRow};
use control::table::{Record, Write};
use engine::DeploymentId;
use engine::deployment::Deployment;

/// What is stored of gates, and since when deployments are halted.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    /// The copies of each, with their versions.
    pub(crate) copies: BTreeMap<DeploymentId, BTreeMap<u8, (u64, GateRow)>>,
    pub(crate) specifications: BTreeMap<DeploymentId, SpecificationRow>,
    pub(crate) halted_at: BTreeMap<DeploymentId, u64>,
}

fn row_of<T: rows::Row>(record: &Record) -> Option<T> {
    rows::read(record).ok().map(|stored| stored.row)
}

/// Gives the gates of new deployments the time that these have in this world.
pub(crate) fn shorten(writes: &mut [Write]) {
    let rows = writes.iter().filter_map(|write| match write {
        Write::Put(record, _) if record.key.sort == "META" => row_of::<DeploymentRow>(record),
        Write::Put(..) | Write::Delete(..) | Write::Check(..) => None,
    });
    let deployments: Vec<Deployment> = rows.map(|row| row.deployment).collect();
    for write in writes {
        let Write::Put(record, _) = write else { continue };
        let gate = GateRow::is_at(&record.key).then(|| row_of::<GateRow>(record)).flatten();
        let Some(mut row) = gate else { continue };
        let of = deployments.iter().find(|deployment| *deployment.id() == row.deployment_id);
        if let Some(deployment) = of {
            row.gate = deployment.gate();
            if let Ok(body) = serde_json::to_string(&row) {
                record.body = body;
            }
        }
    }
}
