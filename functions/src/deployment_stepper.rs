//! What was written about deployments, and wakes whose time has come, advance the deployments.

use std::collections::{BTreeMap, BTreeSet};

use aws::{QueueWaker, WakeMessage};
use aws_lambda_events::dynamodb::EventRecord;
use aws_lambda_events::sqs::SqsMessage;
use control::DeploymentStepper;
use control::deployment_stepper::wake_of;
use control::ports::Measure;
use engine::deployment::Fact;
use engine::{DeploymentId, Timestamp};
use futures::future::join_all;
use serde::Deserialize;
use store::{Item, Scope, record_of};
use thiserror::Error;
use tracing::{error, warn};

use crate::BatchAnswer;
use crate::batch::Receipt;

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
    /// The delivery, of a message of the queue.
    pub receipt: Option<Receipt>,
    /// What it brings.
    pub news: News,
}

/// What a record brings.
#[derive(Debug)]
pub enum News {
    /// An item of the table as it is after a change; empty after its removal.
    Changed(Item),
    /// A wake whose time has come.
    Wake(Result<WakeMessage, serde_json::Error>),
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
                let news = News::Changed(record.change.new_image.into());
                Ok(Record { id, receipt: None, news })
            }
            Source::Queue(message) => {
                let receipt = Receipt::of(&message);
                let id = message.message_id.ok_or(DecodeError("message id"))?;
                let wake = serde_json::from_str(&message.body.unwrap_or_default());
                Ok(Record { id, receipt, news: News::Wake(wake) })
            }
        };
        Ok(Self { records: raw.records.into_iter().map(record).collect::<Result<_, _>>()? })
    }
}

/// What a batch tells one deployment, and the records of a queue that told it.
#[derive(Default)]
struct Told {
    facts: Vec<Fact>,
    /// Timers of the deployment that have run out.
    timers: BTreeSet<Timestamp>,
    /// Whether everything about it shall be read again.
    read_again: bool,
    /// Whether what was written wakes it.
    is_woken: bool,
    messages: Vec<(String, Option<Receipt>)>,
}

/// How long a deployment that could not be advanced is left alone, in seconds.
const PARKED_S: u64 = 10;

/// Advances each deployment once, with all that the batch tells it.
///
/// One that cannot be advanced must not hold up the others, which come through the same part of the stream: it is parked,
/// and the batch succeeds. Messages of the queue that fail are delivered again by themselves.
pub async fn handle(
    role: &DeploymentStepper,
    waker: &QueueWaker,
    scope: &Scope,
    event: Event,
) -> BatchAnswer {
    let mut answer = BatchAnswer::default();
    let mut told: BTreeMap<DeploymentId, Told> = BTreeMap::new();
    for Record { id, receipt, news } in event.records {
        match news {
            News::Changed(item) => {
                if let Some((deployment, facts)) = changed(scope, &item) {
                    let told = told.entry(deployment).or_default();
                    told.facts.extend(facts);
                    told.is_woken = true;
                }
            }
            News::Wake(Ok(WakeMessage { deployment_id, at })) => {
                let told = told.entry(deployment_id).or_default();
                told.read_again |= at.is_none();
                told.timers.extend(at);
                told.messages.push((id, receipt));
            }
            News::Wake(Err(error)) => {
                error!(message = id, %error, "the message is no wake");
                answer.fail(id, receipt);
            }
        }
    }
    role.base.meter.take(Measure::Wakes(u32::try_from(told.len()).unwrap_or(u32::MAX)));
    // Side by side: none waits for another one's commit.
    let steps = told.into_iter().map(async |(deployment, told)| {
        let (messages, is_woken) = (told.messages.clone(), told.is_woken);
        (Box::pin(advance(role, &deployment, told)).await, deployment, messages, is_woken)
    });
    for (advanced, deployment, messages, is_woken) in join_all(steps).await {
        let Err(error) = advanced else { continue };
        error!(%deployment, error = &error as &dyn std::error::Error, "a deployment could not be advanced");
        if is_woken && let Err(error) = waker.park(&deployment, PARKED_S).await {
            // The sweep finds it: what was written stays written.
            error!(%deployment, error = &error as &dyn std::error::Error, "nor could it be parked");
        }
        messages.into_iter().for_each(|(id, receipt)| answer.fail(id, receipt));
    }
    answer
}

async fn advance(
    role: &DeploymentStepper,
    deployment: &DeploymentId,
    told: Told,
) -> Result<(), control::Error> {
    if told.read_again {
        role.refresh(deployment).await?;
    }
    if told.is_woken {
        role.advance(deployment, told.facts).await?;
    }
    for at in told.timers {
        role.wake(deployment, at).await?;
    }
    Ok(())
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
