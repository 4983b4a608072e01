//! Requests to stop a deployment: the request, and the mark by which hosts hear of it, in one transaction.

use engine::deployment::either_roll_back;

use crate::rows::{self, DeploymentRow, GateRow, Layout, StopRow};
use crate::table::Write;
use crate::{Error, OperatorApi};

impl OperatorApi {
    /// Writes down that a deployment shall stop, with what all requests so far want together.
    pub(super) async fn request_stop(
        &self,
        row: &DeploymentRow,
        roll_back: Option<bool>,
    ) -> Result<StopRow, Error> {
        let id = row.deployment.id();
        loop {
            let known = self.base.stop_of(id).await?;
            let write = match known {
                None => {
                    let at = self.base.now();
                    rows::create(&StopRow { deployment_id: id.clone(), at, roll_back })?
                }
                Some(mut known) => {
                    let both = either_roll_back(known.row.roll_back, roll_back);
                    if known.row.roll_back == both {
                        return Ok(known.row);
                    }
                    known.row.roll_back = both;
                    known.replace()?
                }
            };
            let mut writes = self.mark_stop(row).await?;
            writes.push(write);
            // Another request may have been written, or the deployment's step: then all of it is read again.
            self.base.write_unless_changed(&writes).await?;
        }
    }

    /// The writes by which all copies of the gate say that a stop was asked for, if they do not yet. Why that holds from then
    /// on is told where the deployment's commits write the gate.
    async fn mark_stop(&self, row: &DeploymentRow) -> Result<Vec<Write>, Error> {
        if row.layout == Layout::Row {
            return Ok(Vec::new());
        }
        let key = GateRow::key_of(row.deployment.id(), 0);
        let gate = rows::load::<GateRow>(&*self.base.table, &key).await?;
        let Some(mut gate) = gate.filter(|gate| !gate.row.stop_requested) else {
            return Ok(Vec::new());
        };
        gate.row.stop_requested = true;
        gate.row.replace_all(gate.row.copies, gate.version)
    }
}
