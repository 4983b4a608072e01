//! What the parts of a home are called.

/// The bucket that revisions are uploaded to.
pub const REVISIONS: &str = "revisions";
/// The bucket that the bytes of revisions are kept in.
pub(super) const KEPT: &str = "cutover-bundles";
/// The table's name.
pub(super) const TABLE: &str = "cutover";
/// The account that a home's ARNs name.
pub(super) const ACCOUNT: &str = "000000000000";
/// The region that a home's clients sign for.
pub const REGION: &str = "us-east-1";
