//! What became of the commands that were sent to EC2 hosts. Sending them comes with the next step; until then what
//! Systems Manager tells of an instance is a reason to look at the instance's deployments again.

use control::Control;
use serde::Deserialize;

/// An event of Systems Manager.
#[derive(Debug, Deserialize)]
#[serde(tag = "detail-type", content = "detail")]
pub enum Event {
    /// A command on one instance changed its state.
    #[serde(rename = "EC2 Command Invocation Status-change Notification")]
    Invocation(Invocation),
}

/// A command on one instance.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Invocation {
    /// The command, which may run on several instances.
    pub command_id: String,
    /// The instance.
    pub instance_id: String,
    /// The state.
    pub status: InvocationStatus,
}

/// What state a command is in on one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum InvocationStatus {
    /// It was not sent yet.
    Pending,
    /// It was sent.
    InProgress,
    /// It waits for the instance.
    Delayed,
    /// It ended well.
    Success,
    /// It did not end in its time, or was not delivered in its time.
    #[serde(alias = "TimedOut", alias = "Delivery Timed Out", alias = "Execution Timed Out")]
    TimedOut,
    /// It failed.
    Failed,
    /// It was cancelled before it ended.
    Cancelled,
    /// It is being cancelled.
    Cancelling,
    /// The instance or its agent cannot be reached.
    Undeliverable,
    /// Another state, which does not matter here.
    #[serde(other)]
    Other,
}

/// Looks at the instance's deployments again.
///
/// # Errors
/// Those of the table; Lambda then delivers the event again.
pub async fn handle(control: &Control, event: Event) -> Result<(), control::Error> {
    match event {
        Event::Invocation(invocation) => control.refresh_host(&invocation.instance_id).await,
    }
}
