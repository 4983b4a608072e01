//! Messages of a queue: each is handled by itself, and is delivered again if it fails.

use std::error::Error as StdError;
use std::future::Future;
use std::time::Duration;

use aws_lambda_events::sqs::SqsMessage;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tracing::error;

use crate::BatchAnswer;
use crate::batch::Receipt;

/// How long one message may take: less than the function may, so that what hangs has no other message delivered again.
const MESSAGE_LIMIT: Duration = Duration::from_secs(45);

/// A message took too long.
#[derive(Debug, Error)]
#[error("it took more than {} s", MESSAGE_LIMIT.as_secs())]
struct TooLong;

/// What wakes a function that has a queue: its messages, or an event of another kind.
#[derive(Debug, Deserialize)]
#[serde(untagged, bound = "M: DeserializeOwned, E: DeserializeOwned")]
pub enum Woken<M, E> {
    /// Messages.
    Queue(Messages<M>),
    /// Something else.
    Event(E),
}

/// The messages of one delivery.
#[derive(Debug, Deserialize)]
#[serde(from = "Raw", bound = "M: DeserializeOwned")]
pub struct Messages<M>(pub Vec<Message<M>>);

/// A message, with its body as what it should be.
#[derive(Debug)]
pub struct Message<M> {
    /// What a failure is reported by.
    pub id: String,
    /// This delivery of it.
    pub receipt: Option<Receipt>,
    /// What it says.
    pub body: Result<M, serde_json::Error>,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(rename = "Records")]
    records: Vec<SqsMessage>,
}

impl<M: DeserializeOwned> From<Raw> for Messages<M> {
    fn from(raw: Raw) -> Self {
        let message = |message: SqsMessage| Message {
            receipt: Receipt::of(&message),
            id: message.message_id.unwrap_or_default(),
            body: serde_json::from_str(&message.body.unwrap_or_default()),
        };
        Self(raw.records.into_iter().map(message).collect())
    }
}

impl<M> Messages<M> {
    /// Handles all messages side by side. One that is none, or that fails, is delivered again, and in the end lies with the
    /// dead letters.
    pub(crate) async fn handle<F, E>(self, handle: impl Fn(M) -> F) -> BatchAnswer
    where
        F: Future<Output = Result<(), E>>,
        E: StdError + 'static,
    {
        let one = async |Message { id, receipt, body }: Message<M>| {
            let failed: Option<Box<dyn StdError>> = match body {
                // Boxed: what a message can lead to is deep.
                Ok(body) => match tokio::time::timeout(MESSAGE_LIMIT, Box::pin(handle(body))).await
                {
                    Ok(handled) => handled.err().map(Into::into),
                    Err(_) => Some(TooLong.into()),
                },
                Err(error) => Some(error.into()),
            };
            let mut answer = BatchAnswer::default();
            if let Some(error) = failed {
                error!(message = id, error, "a message could not be handled");
                answer.fail(id, receipt);
            }
            answer
        };
        let mut all = BatchAnswer::default();
        for answer in futures::future::join_all(self.0.into_iter().map(one)).await {
            all.extend(answer);
        }
        all
    }
}
