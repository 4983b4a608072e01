//! Subscriptions of groups to uploads, and what became of each upload.

use engine::appspec::Position;
use engine::{DeploymentId, GroupId, Timestamp};
use serde::{Deserialize, Serialize};
use wire::codedeploy::ApiError;

use super::{Row, digits};
use crate::ports::Uploaded;
use crate::table::Key;

/// That a group wants what is uploaded under a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// The bucket.
    pub bucket: String,
    /// The beginning of the keys: a plain text, not a folder.
    pub prefix: String,
    /// The group.
    pub group_id: GroupId,
    /// Uploads with a higher place in the order of uploads than this are deployed; earlier ones are not.
    pub since: u64,
}

impl Subscription {
    /// The partition of a bucket's subscriptions.
    pub fn all_of(bucket: &str) -> String {
        format!("SUBSCRIPTIONS#{bucket}")
    }

    /// The partition of the index in which a group's subscriptions are listed.
    pub fn list_of(group: &GroupId) -> String {
        format!("GROUP#{group}#SUBSCRIPTIONS")
    }
}

impl Row for Subscription {
    fn key(&self) -> Key {
        Key::new(Self::all_of(&self.bucket), format!("{}#{}", self.group_id, self.prefix))
    }

    fn listed(&self) -> Option<Key> {
        Some(Key::new(Self::list_of(&self.group_id), format!("{}/{}", self.bucket, self.prefix)))
    }
}

/// What became of an upload in one group. Its existence is what makes a second notification do nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UploadRow {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The identity of the PUT.
    pub identity: String,
    /// Its place in the order of uploads.
    pub order: u64,
    /// The ETag, without quotes.
    pub e_tag: Option<String>,
    /// The size in bytes.
    pub size: Option<u64>,
    /// The group.
    pub group_id: GroupId,
    /// When it was handled.
    pub at: Timestamp,
    /// What became of it.
    pub state: UploadState,
}

/// What became of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum UploadState {
    /// It waits for the active deployment to end.
    Waiting,
    /// It is deployed, or was.
    Started(DeploymentId),
    /// It is no valid bundle.
    Refused {
        /// Why.
        reason: String,
        /// In which file.
        file: Option<String>,
        /// Where in that file.
        position: Option<Position>,
    },
    /// A newer one came before it could be deployed.
    Superseded,
}

impl UploadState {
    /// An upload that cannot be deployed the way its group asks for.
    pub(crate) fn refused(why: &ApiError) -> Self {
        Self::Refused { reason: why.message.clone(), file: None, position: None }
    }
}

impl UploadRow {
    /// What became of an upload in a group.
    pub fn key_of(bucket: &str, identity: &str, group: &GroupId) -> Key {
        Key::new(format!("UPLOAD#{bucket}#{identity}"), group.as_str())
    }

    /// The partition of the index in which a group's uploads are listed in order.
    pub fn list_of(group: &GroupId) -> String {
        format!("GROUP#{group}#UPLOADS")
    }
}

impl Row for UploadRow {
    fn key(&self) -> Key {
        Self::key_of(&self.bucket, &self.identity, &self.group_id)
    }

    fn listed(&self) -> Option<Key> {
        Some(Key::new(
            Self::list_of(&self.group_id),
            format!("{}#{}", digits(self.order), self.identity),
        ))
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.at.plus_ms(90 * 24 * 3_600_000))
    }
}

/// An upload that was announced and could not be handled, until it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnhandledUpload {
    /// The upload.
    pub uploaded: Uploaded,
    /// When it could not be handled for the first time.
    pub since: Timestamp,
    /// How often the sweep has had it tried again.
    pub tries: u32,
    /// From when on it is to be tried again.
    pub next_at: Timestamp,
}

impl UnhandledUpload {
    /// The partition of all of them.
    pub const ALL: &str = "UNHANDLED-UPLOADS";

    /// The row of an upload.
    pub fn key_of(uploaded: &Uploaded) -> Key {
        Key::new(Self::ALL, format!("{}#{}", uploaded.bucket, uploaded.identity))
    }
}

impl Row for UnhandledUpload {
    fn key(&self) -> Key {
        Self::key_of(&self.uploaded)
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.since.plus_ms(90 * 24 * 3_600_000))
    }
}
