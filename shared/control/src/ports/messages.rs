//! What one function asks another one for, and the port that it goes through.

use async_trait::async_trait;
use engine::deployment::{Performer, Request};
use engine::{DeploymentId, GroupId};
use serde::{Deserialize, Serialize};

use super::{CloudError, NoCloud};

/// Performs requests elsewhere: in the cloud, each kind is the affair of one function.
#[async_trait]
pub trait Messages: Send + Sync {
    /// Hands a request to whoever performs it; false if it is to be performed where it was decided. It may be performed
    /// twice, late, or not at all.
    async fn hand_over(&self, to: Performer, message: &RequestMessage) -> Result<bool, CloudError>;

    /// Whether no command is handed over, so that none has to be accepted: hosts find theirs in the table.
    fn accepts_at_once(&self) -> bool {
        false
    }

    /// Asks for upkeep of the fleet in `delay_s` seconds, at most 900. May be lost: all upkeep is looked through every
    /// minute.
    async fn keep_up(&self, upkeep: &Upkeep, delay_s: u32) -> Result<(), CloudError>;

    /// Has an upload handled that could not be. May be lost: a later sweep asks again.
    async fn handle_again(&self, upload: &UploadAgain) -> Result<(), CloudError>;
}

/// A request of a deployment, as one function hands it to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestMessage {
    /// The deployment that decided it.
    pub deployment_id: DeploymentId,
    /// What is to be done.
    #[serde(rename = "effect")]
    pub request: Request,
}

/// Upkeep of the fleet that is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Upkeep {
    /// A host that comes or goes is looked after.
    #[serde(rename = "passage", rename_all = "camelCase")]
    Transition {
        /// The instance.
        instance: String,
    },
    /// The hooks of a deployment group on its Auto Scaling groups are made as its settings want them.
    #[serde(rename_all = "camelCase")]
    Hooks {
        /// The deployment group.
        group_id: GroupId,
    },
    /// Processes that were suspended for deployments that have ended are resumed.
    Suspensions,
}

/// An object that was put into a bucket, once or again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Uploaded {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The identity of the PUT: the object's version where the bucket has versions.
    pub identity: String,
    /// The place in the order of uploads: later ones have higher numbers.
    pub order: u64,
    /// The rank among uploads with the same place, where a place is no more than a moment: a later one has a later text.
    pub rank: String,
    /// The object's version, where the bucket has versions.
    pub version: Option<String>,
    /// The ETag, without quotes.
    pub e_tag: Option<String>,
    /// The size in bytes.
    pub size: Option<u64>,
}

/// What the sweep sends to whoever handles uploads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UploadAgain {
    /// The upload.
    pub again: Uploaded,
}

#[async_trait]
impl Messages for NoCloud {
    async fn hand_over(&self, _: Performer, _: &RequestMessage) -> Result<bool, CloudError> {
        Ok(false)
    }

    fn accepts_at_once(&self) -> bool {
        true
    }

    async fn keep_up(&self, _: &Upkeep, _: u32) -> Result<(), CloudError> {
        Ok(())
    }

    async fn handle_again(&self, _: &UploadAgain) -> Result<(), CloudError> {
        Ok(())
    }
}
