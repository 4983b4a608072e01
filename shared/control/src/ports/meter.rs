//! Measurements of what goes on, for whoever runs the installation.

use engine::deployment::Status;

/// Something that was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// A deployment ended.
    Deployment(Status),
    /// So many hosts of a deployment that ended came to this.
    Hosts(HostOutcome, u32),
    /// A step of a deployment took so long, in milliseconds, its requests included.
    Step(u64),
    /// So many deployments were woken.
    Wakes(u32),
    /// The deployment that should have been woken longest ago should have been so many milliseconds ago; 0 if none is
    /// overdue.
    OldestOverdue(u64),
}

/// What a host came to in a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostOutcome {
    /// All its events ended well.
    Succeeded,
    /// One of its events failed.
    Failed,
    /// It was not heard of again, or never.
    Silent,
    /// The deployment ended before it came to the host.
    Skipped,
    /// It vanished.
    Gone,
}

/// Takes measurements.
pub trait Meter: Send + Sync {
    /// Takes one.
    fn take(&self, measure: Measure);
}

/// Takes none.
#[derive(Debug, Clone, Copy)]
pub struct NoMeter;

impl Meter for NoMeter {
    fn take(&self, _: Measure) {}
}
