//! CodeDeploy's words for how a deployment stands.

use serde::{Deserialize, Serialize};

/// CodeDeploy's status of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// Accepted, and not begun.
    Created,
    /// Under way.
    InProgress,
    /// Waits for a person before its traffic moves.
    Ready,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Ended because somebody asked for it.
    Stopped,
}

impl Status {
    /// Whether nothing will change any more.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Stopped)
    }

    /// CodeDeploy's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::InProgress => "InProgress",
            Self::Ready => "Ready",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Stopped => "Stopped",
        }
    }
}
