//! What a deployment deploys: an object in a bucket, and the bytes that were found there.

use serde::{Deserialize, Serialize};

/// A revision by its place: identity is the whole of it, exactly as registered (`docs/semantics.md#revisions`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The kind of archive, as whoever registered it said.
    pub bundle_type: BundleType,
    /// The object's version, where the bucket has versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The object's ETag, without quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e_tag: Option<String>,
    /// The AppSpec, where that is all that is deployed. One that came with the request has no object: then all of the above
    /// is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

impl Revision {
    /// An AppSpec that is deployed as it is: that of a Lambda function.
    pub fn of_content(content: String) -> Self {
        Self {
            bucket: String::new(),
            key: String::new(),
            bundle_type: BundleType::Zip,
            version: None,
            e_tag: None,
            content: Some(content),
        }
    }
}

/// CodeDeploy's bundle types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BundleType {
    /// An uncompressed tar archive.
    Tar,
    /// A tar archive compressed with gzip.
    Tgz,
    /// A zip archive.
    Zip,
    /// An AppSpec by itself, in YAML; for what goes to no hosts.
    Yaml,
    /// The same in JSON.
    Json,
}

impl BundleType {
    /// The kind of an AppSpec that is deployed by itself, by its content.
    pub fn of_content(content: &str) -> Self {
        if content.trim_start().starts_with('{') { Self::Json } else { Self::Yaml }
    }

    /// Whether it is an archive, as hosts are deployed.
    pub fn is_archive(self) -> bool {
        matches!(self, Self::Tar | Self::Tgz | Self::Zip)
    }

    /// CodeDeploy's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::Tgz => "tgz",
            Self::Zip => "zip",
            Self::Yaml => "YAML",
            Self::Json => "JSON",
        }
    }
}

/// The bytes of a revision, kept under their digest, so that they can be deployed after their key was overwritten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    /// SHA-256 of the bytes, lower-case hex.
    pub sha256: String,
    /// Their number.
    pub size: u64,
    /// The time-outs of all hooks of the revision together, in seconds; none where they were not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks_s: Option<u32>,
    /// The ETag that the object had when it was read, without quotes; none where nobody noted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e_tag: Option<String>,
    /// The version of the object that was read, where the bucket has versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl Pin {
    /// Bytes by their digest and number alone.
    pub fn of_bytes(sha256: String, size: u64) -> Self {
        Self { sha256, size, hooks_s: None, e_tag: None, version: None }
    }
}
