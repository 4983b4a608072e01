//! Commands to EC2 hosts, and what Systems Manager tells of them.
//!
//! What it tells is a hint: a host speaks for itself, and what decides is whether it was heard of in time.

use control::HookDispatcher;
use control::performing::Performs as _;
use control::ports::RequestMessage;
use serde::Deserialize;

use crate::BatchAnswer;
use crate::queue::Woken;

/// Batches of hosts that shall get their command, or an event of Systems Manager.
pub type Event = Woken<RequestMessage, Told>;

/// An event of Systems Manager.
#[derive(Debug, Deserialize)]
#[serde(tag = "detail-type", content = "detail")]
pub enum Told {
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
    /// The state, in Systems Manager's words.
    pub status: String,
}

/// Sends commands, and notes what Systems Manager says of them.
///
/// # Errors
/// When an event cannot be noted; Lambda then delivers it again.
pub async fn handle(role: &HookDispatcher, event: Event) -> Result<BatchAnswer, control::Error> {
    match event {
        Woken::Queue(messages) => {
            Ok(messages.handle(async |message| role.take_request(&message).await).await)
        }
        Woken::Event(Told::Invocation(Invocation { command_id, instance_id, status })) => {
            role.hear_of_command(&command_id, &instance_id, &status).await?;
            Ok(BatchAnswer::default())
        }
    }
}
