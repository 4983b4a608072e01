//! What is found in a bundle.

use engine::appspec::{AppSpec, Position};

use crate::kind::Kind;

/// What a whole and valid bundle was found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The archive's type.
    pub kind: Kind,
    /// The single top-level folder that holds everything and is no part of the bundle's paths.
    pub strip_prefix: Option<String>,
    /// The AppSpec file's path in the archive, the stripped folder included.
    pub appspec_file: String,
    /// What it says.
    pub appspec: AppSpec,
    /// Files, directories and links, directories that are only implied included.
    pub entries: u64,
    /// The bytes of all files.
    pub unpacked_bytes: u64,
    /// What is taken, but most likely not meant, in sentences.
    pub warnings: Vec<String>,
}

/// What is wrong with the AppSpec file of an archive that is good by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where in the file, if it has a place.
    pub position: Option<Position>,
    /// What is wrong, and what to do about it.
    pub message: String,
}
