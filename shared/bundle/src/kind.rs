//! The types of archives.

use std::fmt;

/// The type of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A zip archive.
    Zip,
    /// A tar archive, not compressed.
    Tar,
    /// A tar archive compressed with gzip.
    Tgz,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zip => "zip",
            Self::Tar => "tar",
            Self::Tgz => "tar.gz",
        })
    }
}
