//! What was written about deployments, and wakes whose time has come, advance the deployments.

use std::collections::BTreeMap;

use aws_lambda_events::dynamodb::EventRecord;
use aws_lambda_events::sqs::SqsMessage;
use control::Control;
use control::driver::wake_of;
use engine::DeploymentId;
use engine::deployment::Fact;
use serde::{Deserialize, Serialize};
use store::{Item, Scope, record_of};
use thiserror::Error;
use tracing::{error, warn};

use crate::BatchAnswer;

/// Records of the table's stream, or messages of the queue of wakes.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Raw")]
pub struct Event {
    /// What to handle, in the order in which it came.
    pub records: Vec<Record>,
}

/// One record of an event.
#[derive(Debug)]
pub struct Record {
    /// What a failure is reported by.
    pub id: String,
    /// What it brings.
    pub news: News,
}

/// What a record brings.
#[derive(Debug)]
pub enum News {
    /// An item of the table as it is after a change; empty after its removal.
    Changed(Item),
    /// A wake whose time has come.
    Wake(Result<Wake, serde_json::Error>),
}

/// The body of a message that wakes a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wake {
    /// Which.
    pub deployment_id: DeploymentId,
}

/// Why an event is none.
#[derive(Debug, Error)]
#[error("a record of the event has no {0}")]
pub struct DecodeError(&'static str);

#[derive(Debug, Deserialize)]
struct Raw {
    #[serde(rename = "Records")]
    records: Vec<Source>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "eventSource")]
enum Source {
    #[serde(rename = "aws:dynamodb")]
    Stream(EventRecord),
    #[serde(rename = "aws:sqs")]
    Queue(SqsMessage),
}

impl TryFrom<Raw> for Event {
    type Error = DecodeError;

    fn try_from(raw: Raw) -> Result<Self, DecodeError> {
        let record = |source| match source {
            Source::Stream(record) => {
                let id = record.change.sequence_number.ok_or(DecodeError("sequence number"))?;
                Ok(Record { id, news: News::Changed(record.change.new_image.into()) })
            }
            Source::Queue(message) => {
                let id = message.message_id.ok_or(DecodeError("message id"))?;
                let wake = serde_json::from_str(&message.body.unwrap_or_default());
                Ok(Record { id, news: News::Wake(wake) })
            }
        };
        Ok(Self { records: raw.records.into_iter().map(record).collect::<Result<_, _>>()? })
    }
}

/// What a batch tells one deployment, and the records that told it.
#[derive(Default)]
struct Told {
    facts: Vec<Fact>,
    by: Vec<String>,
}

/// Advances each deployment once, with all that the batch tells it. The records of one that fails are delivered again.
pub async fn handle(control: &Control, scope: &Scope, event: Event) -> BatchAnswer {
    let mut answer = BatchAnswer::default();
    let mut told: BTreeMap<DeploymentId, Told> = BTreeMap::new();
    for Record { id, news } in event.records {
        let wake = match news {
            News::Changed(item) => changed(scope, &item),
            News::Wake(Ok(wake)) => Some((wake.deployment_id, Vec::new())),
            News::Wake(Err(error)) => {
                error!(message = id, %error, "the message is no wake");
                answer.fail(id);
                continue;
            }
        };
        if let Some((deployment, facts)) = wake {
            let told = told.entry(deployment).or_default();
            told.facts.extend(facts);
            told.by.push(id);
        }
    }
    for (deployment, Told { facts, by }) in told {
        if let Err(error) = control.advance(&deployment, facts).await {
            error!(%deployment, error = &error as &dyn std::error::Error, "a deployment could not be advanced");
            by.into_iter().for_each(|id| answer.fail(id));
        }
    }
    answer
}

/// Whom a changed item wakes. One that is not ours holds nothing up: delivering it again would not make it ours.
fn changed(scope: &Scope, item: &Item) -> Option<(DeploymentId, Vec<Fact>)> {
    if item.is_empty() {
        return None;
    }
    match record_of(scope, item) {
        Ok(record) => wake_of(&record),
        Err(error) => {
            warn!(%error, "an item of the stream is passed over");
            None
        }
    }
}
