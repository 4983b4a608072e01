//! The answer to a batch: which of its records Lambda shall deliver again.

use aws_lambda_events::sqs::SqsMessage;
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
    #[serde(skip)]
    receipt: Option<Receipt>,
}

/// One delivery of a queue's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// What the queue knows this delivery by.
    pub handle: String,
    /// How often the message was delivered, this time included.
    pub received: u32,
}

impl Receipt {
    /// That of a message, if it says one.
    pub(crate) fn of(message: &SqsMessage) -> Option<Self> {
        let handle = message.receipt_handle.clone()?;
        let received = message.attributes.get("ApproximateReceiveCount");
        let received = received.and_then(|count| count.parse().ok()).unwrap_or(1);
        Some(Self { handle, received })
    }
}

impl BatchAnswer {
    /// Notes that a record failed: a message by its id, a stream's record by its sequence number.
    pub(crate) fn fail(&mut self, record: impl Into<String>, receipt: Option<Receipt>) {
        self.batch_item_failures.push(Failure { item_identifier: record.into(), receipt });
    }

    /// Notes all that another answer does.
    pub(crate) fn extend(&mut self, other: Self) {
        self.batch_item_failures.extend(other.batch_item_failures);
    }

    /// The deliveries of messages that failed.
    pub(crate) fn receipts(&self) -> impl Iterator<Item = &Receipt> {
        self.batch_item_failures.iter().filter_map(|failure| failure.receipt.as_ref())
    }
}
