//! What a line says at a glance.

/// What a line says at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Not yet.
    Waiting,
    /// Under way.
    Working,
    /// Done well.
    Good,
    /// Done badly.
    Bad,
}
