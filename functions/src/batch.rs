//! The answer to a batch: which of its records Lambda shall deliver again.

use serde::Serialize;

/// The records of a batch that failed. Lambda delivers these again, and the others not; for a stream it delivers all
/// from the first that failed on, which does no harm.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchAnswer {
    batch_item_failures: Vec<Failure>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    item_identifier: String,
}

impl BatchAnswer {
    /// Notes that a record failed: a message by its id, a stream's record by its sequence number.
    pub(crate) fn fail(&mut self, record: impl Into<String>) {
        self.batch_item_failures.push(Failure { item_identifier: record.into() });
    }
}
