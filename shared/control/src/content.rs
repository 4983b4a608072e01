//! An AppSpec that is deployed by itself: what it is known by, and how its one target stands (`docs/semantics.md#lambda`,
//! `docs/semantics.md#ecs`).

use engine::Pin;
use engine::deployment::{Deployment, Stage, Status};
use wire::codedeploy::TargetStatus;

use crate::hash_of;

/// What an AppSpec is known by: its own bytes, which are kept with the deployment.
pub(crate) fn pin_of(content: &str) -> Pin {
    let size = u64::try_from(content.len()).unwrap_or(0);
    Pin::of_bytes(hash_of(content), size)
}

/// How the one target of a deployment stands. Its events are over when what had the traffic is only kept.
pub(crate) fn target_status(deployment: &Deployment) -> TargetStatus {
    let is_through = deployment.stage().is_some_and(|stage| stage >= Stage::Keep);
    match deployment.status() {
        Status::Created => TargetStatus::Pending,
        Status::InProgress if is_through => TargetStatus::Succeeded,
        Status::InProgress => TargetStatus::InProgress,
        Status::Ready => TargetStatus::Ready,
        Status::Succeeded => TargetStatus::Succeeded,
        Status::Failed => TargetStatus::Failed,
        Status::Stopped => TargetStatus::Skipped,
    }
}
