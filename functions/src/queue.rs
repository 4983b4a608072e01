//! Messages of a queue: each is handled by itself, and is delivered again if it fails.

use std::error::Error as StdError;
use std::future::Future;

use aws_lambda_events::sqs::SqsMessage;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tracing::error;

use crate::BatchAnswer;

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
            id: message.message_id.unwrap_or_default(),
            body: serde_json::from_str(&message.body.unwrap_or_default()),
        };
        Self(raw.records.into_iter().map(message).collect())
    }
}

impl<M> Messages<M> {
    /// Handles each message. One that is none, or that fails, is delivered again, and in the end lies with the dead
    /// letters.
    pub(crate) async fn handle<F, E>(self, mut handle: impl FnMut(M) -> F) -> BatchAnswer
    where
        F: Future<Output = Result<(), E>>,
        E: StdError + 'static,
    {
        let mut answer = BatchAnswer::default();
        for Message { id, body } in self.0 {
            let failed: Option<Box<dyn StdError>> = match body {
                // Boxed: what a message can lead to is deep.
                Ok(body) => Box::pin(handle(body)).await.err().map(Into::into),
                Err(error) => Some(error.into()),
            };
            if let Some(error) = failed {
                error!(message = id, error, "a message could not be handled");
                answer.fail(id);
            }
        }
        answer
    }
}
