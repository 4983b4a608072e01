//! The lifecycle events of hosts, Lambda aliases and ECS services, and their order (`docs/semantics.md#lifecycle`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::IdError;

/// A lifecycle event, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Event {
    /// Runs while the host has its traffic.
    BeforeBlockTraffic,
    /// Waits until the balancer sends nothing to the host any more; has no hooks.
    BlockTraffic,
    /// Runs when the host has no traffic.
    AfterBlockTraffic,
    /// Runs the hooks of the last successful revision, to stop it.
    ApplicationStop,
    /// Fetches and unpacks the bundle; has no hooks.
    DownloadBundle,
    /// Runs before the first file is touched.
    BeforeInstall,
    /// Puts the files in place; has no hooks.
    Install,
    /// Runs when all files are in place.
    AfterInstall,
    /// Starts the application.
    ApplicationStart,
    /// Decides whether the host has succeeded.
    ValidateService,
    /// Moves the test traffic of an ECS service to its new tasks; has no hooks.
    AllowTestTraffic,
    /// Runs when the new tasks of an ECS service have the test traffic.
    AfterAllowTestTraffic,
    /// Runs before the host gets traffic.
    BeforeAllowTraffic,
    /// Waits until the balancer has found the host healthy and sends it traffic; has no hooks.
    AllowTraffic,
    /// Runs when the host has its traffic.
    AfterAllowTraffic,
}

impl Event {
    /// All events of hosts, in order: those of an in-place deployment behind a balancer.
    pub const ALL: [Self; 13] = [
        Self::BeforeBlockTraffic,
        Self::BlockTraffic,
        Self::AfterBlockTraffic,
        Self::ApplicationStop,
        Self::DownloadBundle,
        Self::BeforeInstall,
        Self::Install,
        Self::AfterInstall,
        Self::ApplicationStart,
        Self::ValidateService,
        Self::BeforeAllowTraffic,
        Self::AllowTraffic,
        Self::AfterAllowTraffic,
    ];

    /// The events of an in-place deployment without a balancer, in order.
    pub const IN_PLACE: [Self; 7] = [
        Self::ApplicationStop,
        Self::DownloadBundle,
        Self::BeforeInstall,
        Self::Install,
        Self::AfterInstall,
        Self::ApplicationStart,
        Self::ValidateService,
    ];

    /// The events of a host that replaces another one in a blue/green deployment, in order.
    pub const REPLACEMENT: [Self; 10] = [
        Self::ApplicationStop,
        Self::DownloadBundle,
        Self::BeforeInstall,
        Self::Install,
        Self::AfterInstall,
        Self::ApplicationStart,
        Self::ValidateService,
        Self::BeforeAllowTraffic,
        Self::AllowTraffic,
        Self::AfterAllowTraffic,
    ];

    /// The events of a host that is about to leave: it stops what the last deployment started.
    pub const DEPARTURE: [Self; 1] = [Self::ApplicationStop];

    /// The events of a host that is about to leave and has traffic of a balancer.
    pub const DEPARTURE_BALANCED: [Self; 4] = [
        Self::BeforeBlockTraffic,
        Self::BlockTraffic,
        Self::AfterBlockTraffic,
        Self::ApplicationStop,
    ];

    /// CodeDeploy's name of the event.
    pub fn name(self) -> &'static str {
        match self {
            Self::BeforeBlockTraffic => "BeforeBlockTraffic",
            Self::BlockTraffic => "BlockTraffic",
            Self::AfterBlockTraffic => "AfterBlockTraffic",
            Self::ApplicationStop => "ApplicationStop",
            Self::DownloadBundle => "DownloadBundle",
            Self::BeforeInstall => "BeforeInstall",
            Self::Install => "Install",
            Self::AfterInstall => "AfterInstall",
            Self::ApplicationStart => "ApplicationStart",
            Self::ValidateService => "ValidateService",
            Self::AllowTestTraffic => "AllowTestTraffic",
            Self::AfterAllowTestTraffic => "AfterAllowTestTraffic",
            Self::BeforeAllowTraffic => "BeforeAllowTraffic",
            Self::AllowTraffic => "AllowTraffic",
            Self::AfterAllowTraffic => "AfterAllowTraffic",
        }
    }

    /// Whether an AppSpec may attach scripts to the event.
    pub fn has_hooks(self) -> bool {
        !matches!(self, Self::DownloadBundle | Self::Install) && !self.is_of_balancer()
    }

    /// Whether the event is the balancer's, and the host only waits for it.
    pub fn is_of_balancer(self) -> bool {
        matches!(self, Self::BlockTraffic | Self::AllowTestTraffic | Self::AllowTraffic)
    }

    /// Whether the scripts come from the last successful revision on the host and not from the one being deployed.
    pub fn uses_last_successful(self) -> bool {
        matches!(self, Self::BeforeBlockTraffic | Self::AfterBlockTraffic | Self::ApplicationStop)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Event {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let found = Self::ALL.into_iter().find(|event| event.name() == text);
        found.ok_or_else(|| IdError { kind: "lifecycle event", text: text.to_owned() })
    }
}
