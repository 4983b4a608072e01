//! What was counted of both sides over the same time.

use serde::{Deserialize, Serialize};

/// Requests of both sides over the same time.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Block {
    pub(super) canary: Side,
    pub(super) baseline: Side,
}

/// Requests of one side, and those that were bad.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Side {
    pub(super) requests: u64,
    pub(super) bad: u64,
}
