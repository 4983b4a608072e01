//! The functions of a cloud installation.

/// The functions, in the order of the template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Function {
    /// Uploads become revisions.
    RevisionIntake,
    /// Advances deployments.
    DeploymentStepper,
    /// Sends commands to hosts.
    HookDispatcher,
    /// Moves traffic, reads alarms, and sweeps.
    TrafficEvaluator,
    /// Hosts that come and go.
    FleetWatcher,
    /// HTTP.
    Api,
}

impl Function {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::RevisionIntake,
        Self::DeploymentStepper,
        Self::HookDispatcher,
        Self::TrafficEvaluator,
        Self::FleetWatcher,
        Self::Api,
    ];

    /// The name of its resource in the template.
    pub fn resource(self) -> &'static str {
        match self {
            Self::RevisionIntake => "RevisionIntake",
            Self::DeploymentStepper => "DeploymentStepper",
            Self::HookDispatcher => "HookDispatcher",
            Self::TrafficEvaluator => "TrafficEvaluator",
            Self::FleetWatcher => "FleetWatcher",
            Self::Api => "Api",
        }
    }
}
