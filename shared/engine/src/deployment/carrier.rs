//! What a deployment moves its traffic between, and the stages of that (`docs/semantics.md#blue-green`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::lifecycle::Event;

/// What a deployment moves traffic between. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shift {
    /// What carries the traffic.
    pub carrier: Carrier,
    /// How long to wait for a person before the traffic moves, in milliseconds; none goes on at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_wait_ms: Option<u64>,
    /// How long what had the traffic is kept ready after it lost it, in milliseconds.
    #[serde(default)]
    pub keep_ms: u64,
    /// The side that the traffic goes back to, 0 or 1, where nothing is installed and it only goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_to: Option<u8>,
}

impl Shift {
    /// Whether there are hosts that the new version is brought to.
    pub fn has_hosts(&self) -> bool {
        matches!(self.carrier, Carrier::Groups(_)) && self.back_to.is_none()
    }
}

/// What carries the traffic of a shift.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Carrier {
    /// Two target groups of one listener or rule, in the group's order. Which of them has the traffic is read.
    Groups([String; 2]),
    /// An alias of a Lambda function.
    Alias(Alias),
}

/// An alias of a Lambda function, and the versions that its traffic moves between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alias {
    /// The function's name or ARN.
    pub function: String,
    /// The alias.
    pub alias: String,
    /// The version that has the traffic.
    pub old: String,
    /// The version that is to get it.
    pub new: String,
    /// The function that each event calls.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hooks: BTreeMap<Event, String>,
}

/// The stages of a shift, in order.
#[derive(
    Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// The new side is made ready, and has no traffic.
    #[default]
    Install,
    /// It is ready, and a person may be waited for.
    Ready,
    /// What is to be done before traffic moves.
    Before,
    /// The traffic moves, as far and as fast as the ladder says.
    Move,
    /// What is to be done when all traffic has moved.
    After,
    /// The old side is kept, so that the traffic can go back.
    Keep,
    /// Nothing is left to be done.
    Over,
}

impl Stage {
    pub(super) fn next(self) -> Self {
        match self {
            Self::Install => Self::Ready,
            Self::Ready => Self::Before,
            Self::Before => Self::Move,
            Self::Move => Self::After,
            Self::After => Self::Keep,
            Self::Keep | Self::Over => Self::Over,
        }
    }
}
