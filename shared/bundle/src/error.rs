//! What can be wrong with a bundle, in words that say what to do about it.

use std::io;

use engine::appspec::Position;

use crate::kind::Kind;

/// Why a bundle was refused.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Neither zip nor tar nor tar.gz.
    #[error(
        "the file is no zip, tar or tar.gz archive; pack the revision again (the type is read from the content, not from the name)"
    )]
    UnknownType,
    /// An archive, but neither zip nor tar nor tar.gz.
    #[error(
        "the file is {what}; Cutover takes zip, tar and tar.gz: pack it anew, as `cutover push` does from its directory"
    )]
    OtherType {
        /// What it is, with its article.
        what: &'static str,
    },
    /// The archive ends too early, or a checksum does not fit.
    #[error("the {kind} archive is cut off or damaged{}: {source}; pack it again, or upload it again", at(.entry.as_deref()))]
    Damaged {
        /// What the archive claims to be.
        kind: Kind,
        /// The entry that was read, if one was.
        entry: Option<String>,
        /// What the reader said.
        source: io::Error,
    },
    /// The file itself could not be read.
    #[error("reading the archive failed: {0}; try again")]
    Read(#[source] io::Error),
    /// An entry that must not be in a bundle.
    #[error("the entry `{entry}` {problem}")]
    Entry {
        /// The entry's name as the archive has it, made printable.
        entry: String,
        /// What is wrong with it.
        problem: Problem,
    },
    /// More entries than allowed.
    #[error(
        "the bundle has more than {limit} files and directories; leave out what the hosts do not need, or pack it into one file"
    )]
    TooManyEntries {
        /// How many are allowed.
        limit: u64,
    },
    /// Larger than allowed when unpacked.
    #[error(
        "the bundle is larger than {limit} bytes when unpacked; leave out what the hosts do not need"
    )]
    TooLarge {
        /// How many bytes are allowed.
        limit: u64,
    },
    /// Suspiciously well compressed.
    #[error(
        "the bundle unpacks to more than {ratio} times its packed size, as a decompression bomb does; if it is honest, pack it without compression"
    )]
    Bomb {
        /// How many times its packed size a bundle may have.
        ratio: u64,
    },
    /// No AppSpec file where one must be.
    #[error(
        "the bundle has no `appspec.yml` or `appspec.yaml` at its root or in its single top-level folder: {there}"
    )]
    NoAppSpec {
        /// What lies there instead, and what to do.
        there: String,
    },
    /// Both names at once.
    #[error("the bundle has both `{first}` and `{second}`; keep one of them")]
    TwoAppSpecs {
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// The AppSpec file is wrong, or names what is not in the bundle.
    #[error("{file}{}: {message}", place(.position.as_ref()))]
    AppSpec {
        /// Its path in the archive.
        file: String,
        /// Where in it.
        position: Option<Position>,
        /// What is wrong.
        message: String,
    },
    /// The receiver of the entries gave up.
    #[error("writing `{entry}` failed: {source}")]
    Sink {
        /// The entry.
        entry: String,
        /// The receiver's error.
        source: io::Error,
    },
}

impl BundleError {
    /// The AppSpec file that is wrong, as a path in the archive, if that is what is wrong.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        if let Self::AppSpec { file, .. } = self { Some(file) } else { None }
    }

    /// Where in the AppSpec file the error is, if it is there and the place is known.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        if let Self::AppSpec { position, .. } = self { *position } else { None }
    }

    /// Wraps what a reader of `kind` said while it was at `entry`.
    pub(crate) fn from_read(kind: Kind, entry: Option<&str>, source: io::Error) -> Self {
        if let Some(violation) =
            source.get_ref().and_then(|inner| inner.downcast_ref::<Violation>())
        {
            return match *violation {
                Violation::TooLarge { limit } => Self::TooLarge { limit },
                Violation::Bomb { ratio } => Self::Bomb { ratio },
            };
        }
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the standard library's list is open; all else is the medium's"
        )]
        match source.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::Other => {
                Self::Damaged { kind, entry: entry.map(str::to_owned), source }
            }
            _ => Self::Read(source),
        }
    }
}

/// What is wrong with one entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Absolute.
    #[error("is an absolute path; entries must be relative to the bundle's root")]
    Absolute,
    /// Contains `..`.
    #[error("leads upwards with `..`; entries must stay below the bundle's root")]
    Upwards,
    /// Contains a NUL byte or is empty.
    #[error("has no usable name; rename it")]
    Nameless,
    /// Too long.
    #[error("has a path longer than {limit} bytes, or a name in it longer than 255; shorten it")]
    PathTooLong {
        /// How many bytes are allowed.
        limit: usize,
    },
    /// A file where there is a directory, or the other way round.
    #[error("is in the bundle both as a file and as a directory; keep one")]
    Collides,
    /// Below something that is no directory.
    #[error("lies below `{parent}`, which is no directory in this bundle; keep one of them")]
    BelowNonDirectory {
        /// What it lies below.
        parent: String,
    },
    /// Too long or empty symlink.
    #[error("is a symbolic link whose target is empty, or longer than {limit} bytes; correct it")]
    LinkTarget {
        /// How many bytes are allowed.
        limit: usize,
    },
    /// Hard link to something that is no earlier file of the bundle.
    #[error(
        "is a hard link to `{target}`, which is no earlier file of this bundle; pack the file itself"
    )]
    HardLink {
        /// Where it points.
        target: String,
    },
    /// Device, FIFO, socket and whatever else is neither file, directory nor link.
    #[error("is {what}; a bundle may only have files, directories and symbolic links")]
    Special {
        /// What it is, with its article.
        what: &'static str,
    },
    /// Setuid or setgid.
    #[error(
        "has the setuid or setgid bit; take it off, and set the mode in the AppSpec's `permissions` if it is meant"
    )]
    SetId,
    /// Encrypted.
    #[error("is encrypted; pack the bundle without a password")]
    Encrypted,
    /// A compression we do not read.
    #[error("is compressed with a method that is not supported ({method}); use deflate")]
    Compression {
        /// The method's name.
        method: String,
    },
    /// An archive feature that has two readings.
    #[error("has contradicting or unsupported headers ({what}); pack it with a common tool")]
    Header {
        /// Which.
        what: &'static str,
    },
}

/// A limit that was crossed while data was read; travels inside an [`io::Error`].
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(crate) enum Violation {
    #[error("larger than {limit} bytes when unpacked")]
    TooLarge { limit: u64 },
    #[error("more than {ratio} times the packed size")]
    Bomb { ratio: u64 },
}

/// The error of an archive that contradicts itself.
pub(crate) fn damaged(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

fn at(entry: Option<&str>) -> String {
    entry.map_or_else(String::new, |entry| format!(" at `{entry}`"))
}

fn place(position: Option<&Position>) -> String {
    position.map_or_else(String::new, |position| format!(":{}:{}", position.line, position.column))
}
