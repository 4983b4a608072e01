//! The queues between functions: wakes at a moment, and requests for whoever performs them.

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use control::ports::{Clock, CloudError, Messages, RequestMessage, Upkeep, UploadAgain, Waker};
use engine::deployment::{Fact, Performer};
use engine::{DeploymentId, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tracing::warn;

use crate::error::cloud_error;

/// The longest that SQS delays a message, in seconds.
const DELAY_S_MAX: u64 = 900;

/// The URLs of the queues that a function sends to; none where it has no business with one. A request whose queue
/// is not said is performed where it was decided, if that is its role's, or if the function is tried on a running home.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Queues {
    /// That of `revision_intake`.
    pub uploads: Option<String>,
    /// That of `deployment_stepper`.
    pub wakes: Option<String>,
    /// That of `hook_dispatcher`.
    pub commands: Option<String>,
    /// That of `fleet_watcher`.
    pub fleet: Option<String>,
    /// That of `traffic_evaluator`.
    pub traffic: Option<String>,
}

/// The body of a message that wakes a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WakeMessage {
    /// Which.
    pub deployment_id: DeploymentId,
    /// The moment that the wake was armed for. None for a deployment that could not be advanced: everything about it is
    /// read again.
    pub at: Option<Timestamp>,
}

/// Sends to queues.
#[derive(Debug, Clone)]
struct Sender {
    client: Client,
    queues: Queues,
}

impl Sender {
    async fn send(
        &self,
        queue: &str,
        body: &impl Serialize,
        delay_s: u64,
    ) -> Result<(), CloudError> {
        let body = serde_json::to_string(body).map_err(|error| {
            let message = error.to_string();
            CloudError::Refused { service: "SQS", operation: "SendMessage", message }
        })?;
        let delay_s = i32::try_from(delay_s.min(DELAY_S_MAX)).unwrap_or(0);
        let request = self.client.send_message().queue_url(queue).message_body(body);
        let sent = request.delay_seconds(delay_s).send().await;
        sent.map(drop).map_err(|error| cloud_error("SQS", "SendMessage", error))
    }
}

/// Wakes deployments. What is written wakes them by the table's stream, so that no wake can be lost between the two; a
/// moment is a delayed message.
pub struct QueueWaker {
    sender: Sender,
    clock: Arc<dyn Clock>,
}

impl QueueWaker {
    /// A waker that sends its wakes to the queue `wakes`.
    pub fn new(client: Client, queues: Queues, clock: Arc<dyn Clock>) -> Self {
        Self { sender: Sender { client, queues }, clock }
    }

    /// Parks a deployment that could not be advanced: it is read again after a while.
    ///
    /// # Errors
    /// SQS does not answer, or refuses.
    pub async fn park(&self, deployment_id: &DeploymentId, delay_s: u64) -> Result<(), CloudError> {
        let wake = WakeMessage { deployment_id: deployment_id.clone(), at: None };
        let Some(queue) = &self.sender.queues.wakes else { return Ok(()) };
        self.sender.send(queue, &wake, delay_s).await
    }
}

#[async_trait]
impl Waker for QueueWaker {
    fn wake(&self, _: &DeploymentId, _: Vec<Fact>) {}

    async fn wake_at(&self, deployment: &DeploymentId, at: Timestamp) {
        let Some(queue) = &self.sender.queues.wakes else { return };
        let delay_s = at.since_ms(self.clock.now()).div_ceil(1_000);
        let wake = WakeMessage { deployment_id: deployment.clone(), at: Some(at) };
        let sent = self.sender.send(queue, &wake, delay_s).await;
        if let Err(error) = sent {
            // The moment is in the deployment's row, by which the sweep finds it up to a minute late.
            warn!(%deployment, error = &error as &dyn std::error::Error, "a wake could not be armed");
        }
    }
}

/// Hands requests to the functions that perform them.
#[derive(Debug, Clone)]
pub struct QueuedMessages {
    sender: Sender,
}

impl QueuedMessages {
    /// Sends to `queues`.
    pub fn new(client: Client, queues: Queues) -> Self {
        Self { sender: Sender { client, queues } }
    }
}

#[async_trait]
impl Messages for QueuedMessages {
    async fn hand_over(&self, to: Performer, message: &RequestMessage) -> Result<bool, CloudError> {
        let queues = &self.sender.queues;
        let queue = match to {
            Performer::DeploymentStepper => &None,
            Performer::RevisionIntake => &queues.uploads,
            Performer::HookDispatcher => &queues.commands,
            Performer::TrafficEvaluator => &queues.traffic,
            Performer::FleetWatcher => &queues.fleet,
        };
        let Some(queue) = queue else { return Ok(false) };
        self.sender.send(queue, message, 0).await?;
        Ok(true)
    }

    fn accepts_at_once(&self) -> bool {
        self.sender.queues.commands.is_none()
    }

    async fn keep_up(&self, upkeep: &Upkeep, delay_s: u32) -> Result<(), CloudError> {
        // Without a queue, all upkeep waits for the next minute.
        let Some(queue) = &self.sender.queues.fleet else { return Ok(()) };
        self.sender.send(queue, upkeep, u64::from(delay_s)).await
    }

    async fn handle_again(&self, upload: &UploadAgain) -> Result<(), CloudError> {
        let Some(queue) = &self.sender.queues.uploads else { return Ok(()) };
        self.sender.send(queue, upload, 0).await
    }
}

/// For which deliveries of a message the next one comes sooner than its queue would have it. After that, whatever goes wrong
/// is left the time that the queue gives it.
const HASTENED: u32 = 5;

/// How long after its first delivery has failed a message is delivered again, in seconds; each time it is twice as long.
const AGAIN_S: u32 = 5;

/// Has messages of a queue that failed delivered again in seconds. A queue delivers what was taken and not done only when it
/// is sure that whoever took it has died.
#[derive(Debug, Clone)]
pub struct Redelivery {
    client: Client,
    queue: Option<String>,
}

impl Redelivery {
    /// For messages of the queue with this URL.
    pub fn new(client: Client, queue: Option<String>) -> Self {
        Self { client, queue }
    }

    /// Has the message of a delivery delivered again soon; it was `received` times, this one included. Where that cannot be
    /// had, it comes when the queue would have it.
    pub async fn hasten(&self, receipt: &str, received: u32) {
        let Some(queue) = self.queue.as_ref().filter(|_| received <= HASTENED) else { return };
        let seconds = AGAIN_S << received.saturating_sub(1);
        let request = self.client.change_message_visibility().queue_url(queue);
        let request = request.receipt_handle(receipt).visibility_timeout(seconds.cast_signed());
        if let Err(error) = request.send().await {
            let error = cloud_error("SQS", "ChangeMessageVisibility", error);
            warn!(
                error = &error as &dyn std::error::Error,
                "a message that failed comes later than it could"
            );
        }
    }
}
