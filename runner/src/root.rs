//! Where the destinations of an AppSpec lie.

use std::path::PathBuf;

/// The root of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostRoot {
    /// The machine's own.
    Whole,
    /// A directory that stands for it.
    Prefix(PathBuf),
}
