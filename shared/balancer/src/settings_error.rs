//! What can be wrong with the settings of a balancer, and their limits.

use thiserror::Error;

/// The longest name of a balancer or target group, in bytes.
pub(super) const NAME_MAX: usize = 64;
/// The longest time that requests may take to end on a host that is drained.
pub(super) const DRAIN_TIMEOUT_MAX_MS: u64 = 3_600_000;
/// The longest value of a cohort's header or cookie, in bytes.
pub(super) const COHORT_VALUE_MAX: usize = 1_024;

/// What is wrong with settings.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// A name cannot be one.
    #[error(
        "`{name}` cannot be the name of a balancer or target group: use 1 to {NAME_MAX} letters, digits, `-`, `_` and `.`"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// Too many groups.
    #[error("{count} target groups cannot share the traffic of one balancer: give one or two")]
    Groups {
        /// How many.
        count: usize,
    },
    /// Both groups have the same name.
    #[error("the target group `{name}` is named twice: give the two of a balancer different names")]
    SameGroup {
        /// The name.
        name: String,
    },
    /// No port of the hosts.
    #[error("0 cannot be the target port: give the port that the application listens on")]
    TargetPort,
    /// Not a path.
    #[error("`{path}` cannot be the health path: give one like `/health`")]
    HealthPath {
        /// The path.
        path: String,
    },
    /// No statuses.
    #[error(
        "`{given}` cannot be the statuses that are healthy: give ranges of 100 to 599, like `200-399` or `200,204`"
    )]
    HealthStatus {
        /// What was given.
        given: String,
    },
    /// Too long.
    #[error(
        "a drain time-out of {ms} ms is too long: give at most {DRAIN_TIMEOUT_MAX_MS} ms (an hour)"
    )]
    DrainTimeout {
        /// The time-out, in milliseconds.
        ms: u64,
    },
    /// No header or cookie.
    #[error(
        "`{name}` with that value cannot mark a cohort: give the name of a header or cookie, and a value of 1 to {COHORT_VALUE_MAX} visible characters without `;`"
    )]
    Cohort {
        /// The name of the header or cookie.
        name: String,
    },
}
