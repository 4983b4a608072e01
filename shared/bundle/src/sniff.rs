//! What an archive is by its first bytes.

use crate::kind::Kind;
use crate::tarball;

/// How many bytes of a file [`sniff`] needs.
pub const HEAD_BYTES: usize = 512;

/// The type of an archive by its first [`HEAD_BYTES`] bytes; none if it is no archive that we read.
#[must_use]
pub fn sniff(head: &[u8]) -> Option<Kind> {
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        Some(Kind::Zip)
    } else if head.starts_with(b"\x1f\x8b") {
        Some(Kind::Tgz)
    } else if head.get(257..262) == Some(b"ustar") || tarball::is_header(head) {
        Some(Kind::Tar)
    } else {
        None
    }
}
