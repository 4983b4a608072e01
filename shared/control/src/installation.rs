//! What a whole installation is set to.

/// A day, in milliseconds.
pub const DAY_MS: u64 = 24 * 3_600 * 1_000;

/// How many units commits that can wait may take of a deployment's row in a second, where the table is `DynamoDB`: a quarter of
/// what one partition takes. The rest is for what cannot wait, and for commits that met a conflict.
pub const ROW_UNITS: u32 = 250;

/// What an installation is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Most hosts that a deployment sends their command within a second.
    pub start_ramp: u32,
    /// How often alarms are read while a deployment is under way, in milliseconds.
    pub alarm_every_ms: u64,
    /// How soon a host asks again that waits for its balancer, in milliseconds.
    pub traffic_check_ms: u64,
    /// How much later it asks at most, when it has waited for long, in milliseconds.
    pub traffic_check_max_ms: u64,
    /// How long the bytes of a bundle that nothing needs any more are kept after they were last put, in milliseconds; a day
    /// at least.
    pub kept_bundles_ms: u64,
    /// Most units of 1 KB that a deployment's row may take in a second by commits that can wait; none where the table does not
    /// mind.
    pub row_units: Option<u32>,
    /// Most hosts that lie in one partition of the table, of those that a deployment begins with.
    pub hosts_of_shard: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            start_ramp: 500,
            alarm_every_ms: 10_000,
            traffic_check_ms: 2_000,
            traffic_check_max_ms: 10_000,
            kept_bundles_ms: 30 * DAY_MS,
            row_units: None,
            hosts_of_shard: 256,
        }
    }
}
