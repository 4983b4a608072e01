//! An upload becomes a registered revision, and the deployments that subscribed to it. Once a day, kept bundles go that
//! nothing needs any more.

use std::error::Error as StdError;

use aws_lambda_events::s3::S3EventRecord;
use aws_lambda_events::sqs::SqsMessage;
use control::RevisionIntake;
use control::performing::Performs as _;
use control::ports::{RequestMessage, UploadAgain, Uploaded};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use thiserror::Error;
use tracing::error;

use crate::BatchAnswer;
use crate::batch::Receipt;

/// Notifications of a bucket, as the bucket invokes the function or as they lie in a queue.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Notification<Source>")]
pub struct Event {
    /// What to handle, in the order in which it came.
    pub records: Vec<Record>,
}

/// One record of an event.
#[derive(Debug)]
pub enum Record {
    /// The bucket's own: that an object was put.
    Put(Uploaded),
    /// That a day has gone by.
    Day,
    /// A queue's, which succeeds or fails by itself.
    Message {
        /// The message's id.
        id: String,
        /// This delivery of it.
        receipt: Option<Receipt>,
        /// What it says.
        body: Result<Body, DecodeError>,
    },
}

/// What a message says.
#[derive(Debug)]
pub enum Body {
    /// That objects were put.
    Puts(Vec<Uploaded>),
    /// That a deployment wants its revision pinned.
    Request(RequestMessage),
    /// That an upload is to be tried again.
    Again(UploadAgain),
}

/// Why a notification is none.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// The message's body is something else.
    #[error("the message is neither a notification of a bucket nor a request of a deployment")]
    Body(#[from] serde_json::Error),
    /// Something that every notification has is not there.
    #[error("the notification has no {0}")]
    Missing(&'static str),
    /// The key is not encoded as S3 encodes it.
    #[error("the object's key `{0}` is not UTF-8")]
    Key(String),
}

/// What arrives in place of records when a bucket's notifications are set up and once a day, and what arrives otherwise.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Notification<T> {
    Records {
        #[serde(rename = "Records")]
        records: Vec<T>,
    },
    Test {
        #[serde(rename = "Event")]
        _event: TestEvent,
    },
    Day {
        #[serde(rename = "detail-type")]
        _told: Schedule,
    },
}

#[derive(Debug, Deserialize)]
enum Schedule {
    #[serde(rename = "Scheduled Event")]
    Event,
}

#[derive(Debug, Deserialize)]
enum TestEvent {
    #[serde(rename = "s3:TestEvent")]
    Test,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "eventSource")]
enum Source {
    #[serde(rename = "aws:s3")]
    S3(S3EventRecord),
    #[serde(rename = "aws:sqs")]
    Sqs(SqsMessage),
}

impl<T> Notification<T> {
    fn into_records(self) -> Vec<T> {
        match self {
            Self::Records { records } => records,
            Self::Test { _event: TestEvent::Test } | Self::Day { _told: Schedule::Event } => {
                Vec::new()
            }
        }
    }
}

impl TryFrom<Notification<Source>> for Event {
    type Error = DecodeError;

    fn try_from(raw: Notification<Source>) -> Result<Self, DecodeError> {
        if matches!(raw, Notification::Day { .. }) {
            return Ok(Self { records: vec![Record::Day] });
        }
        let mut records = Vec::new();
        for source in raw.into_records() {
            match source {
                Source::S3(record) => records.extend(put_of(record)?.map(Record::Put)),
                Source::Sqs(message) => {
                    let receipt = Receipt::of(&message);
                    let id = message.message_id.ok_or(DecodeError::Missing("message id"))?;
                    let body = body_of(&message.body.unwrap_or_default());
                    records.push(Record::Message { id, receipt, body });
                }
            }
        }
        Ok(Self { records })
    }
}

fn body_of(body: &str) -> Result<Body, DecodeError> {
    if let Ok(message) = serde_json::from_str(body) {
        return Ok(Body::Request(message));
    }
    match serde_json::from_str(body) {
        Ok(again) => Ok(Body::Again(again)),
        Err(_) => puts_of(body).map(Body::Puts),
    }
}

fn puts_of(body: &str) -> Result<Vec<Uploaded>, DecodeError> {
    let notification: Notification<S3EventRecord> = serde_json::from_str(body)?;
    notification
        .into_records()
        .into_iter()
        .filter_map(|record| put_of(record).transpose())
        .collect()
}

/// The upload that a record tells of; nothing if it tells of something else, such as a deletion.
fn put_of(record: S3EventRecord) -> Result<Option<Uploaded>, DecodeError> {
    let is_put = |name: &str| name.trim_start_matches("s3:").starts_with("ObjectCreated:");
    if !record.event_name.as_deref().is_some_and(is_put) {
        return Ok(None);
    }
    let object = record.s3.object;
    let version = object.version_id.filter(|version| !version.is_empty() && version != "null");
    let rank = object.sequencer.as_deref().map(rank_of).unwrap_or_default();
    let identity = version.clone().or(object.sequencer);
    let identity = identity.ok_or(DecodeError::Missing("version and no sequencer"))?;
    let put_at = u64::try_from(record.event_time.timestamp_millis()).unwrap_or(0);
    Ok(Some(Uploaded {
        bucket: record.s3.bucket.name.ok_or(DecodeError::Missing("bucket"))?,
        key: decode_key(&object.key.ok_or(DecodeError::Missing("key"))?)?,
        order: number_in(version.as_deref()).unwrap_or(put_at),
        rank,
        identity,
        version,
        e_tag: object.e_tag.map(|e_tag| e_tag.trim_matches('"').to_owned()),
        size: object.size.and_then(|size| u64::try_from(size).ok()),
    }))
}

/// The number that a home gives each PUT, twenty digits in place of a version. S3's own versions are no numbers; there
/// the time of the PUT is its order.
fn number_in(version: Option<&str>) -> Option<u64> {
    version.filter(|version| version.len() == 20)?.parse().ok()
}

/// S3 tells the order of PUTs that came within a millisecond by their sequencers: hexadecimal digits, of which a shorter one
/// is continued by zeros.
fn rank_of(sequencer: &str) -> String {
    format!("{sequencer:0<32}")
}

/// S3 encodes keys in notifications as forms are: a space is a plus.
fn decode_key(key: &str) -> Result<String, DecodeError> {
    let spaced = key.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(Into::into).map_err(|_| DecodeError::Key(key.to_owned()))
}

/// Handles each upload. A message whose uploads cannot all be handled is delivered again, and when the queue gives it up,
/// the sweep goes on with them.
///
/// # Errors
/// When an upload that the bucket itself notified of cannot be handled: Lambda then delivers the event again.
pub async fn handle(role: &RevisionIntake, event: Event) -> Result<BatchAnswer, control::Error> {
    let mut answer = BatchAnswer::default();
    for record in event.records {
        match record {
            Record::Put(put) => role.take_upload(&put).await?,
            Record::Day => drop(role.remove_unneeded_bundles().await?),
            Record::Message { id, receipt, body } => {
                let is_again = receipt.as_ref().is_some_and(|receipt| receipt.received > 1);
                if let Err(error) = take(role, body, is_again).await {
                    error!(message = id, error, "a notification could not be handled");
                    answer.fail(id, receipt);
                }
            }
        }
    }
    Ok(answer)
}

async fn take(
    role: &RevisionIntake,
    body: Result<Body, DecodeError>,
    is_again: bool,
) -> Result<(), Box<dyn StdError + 'static>> {
    match body? {
        Body::Request(message) => role.take_request(&message).await?,
        Body::Again(UploadAgain { again }) => {
            // Who asked for it asks again, so that the queue need not.
            if let Err(error) = role.take_announced(&again, true).await {
                let error = &error as &dyn StdError;
                error!(
                    key = again.key,
                    error, "an upload cannot be handled; the sweep has it tried again"
                );
            }
        }
        Body::Puts(puts) => {
            for put in puts {
                role.take_announced(&put, is_again).await?;
            }
        }
    }
    Ok(())
}
