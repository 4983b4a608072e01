//! What is announced of an upload.

/// An upload that became visible in a watched bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// The bucket's name.
    pub bucket: String,
    /// The object's key.
    pub key: String,
    /// The upload's number: later uploads have higher ones, also after a restart. Written with twenty digits it is the
    /// object's version id.
    pub identity: u64,
    /// The object's ETag, without quotes.
    pub etag: String,
    /// The object's size in bytes.
    pub size: u64,
}
