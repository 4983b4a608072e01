//! The lifecycle events of a host and their order (`docs/semantics.md#lifecycle`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::IdError;

/// A lifecycle event of an in-place deployment without a load balancer, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Event {
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
}

impl Event {
    /// The events of an in-place deployment without a load balancer, in order.
    pub const IN_PLACE: [Self; 7] = [
        Self::ApplicationStop,
        Self::DownloadBundle,
        Self::BeforeInstall,
        Self::Install,
        Self::AfterInstall,
        Self::ApplicationStart,
        Self::ValidateService,
    ];

    /// The events of a host that is about to leave: it stops what the last deployment started.
    pub const DEPARTURE: [Self; 1] = [Self::ApplicationStop];

    /// CodeDeploy's name of the event.
    pub fn name(self) -> &'static str {
        match self {
            Self::ApplicationStop => "ApplicationStop",
            Self::DownloadBundle => "DownloadBundle",
            Self::BeforeInstall => "BeforeInstall",
            Self::Install => "Install",
            Self::AfterInstall => "AfterInstall",
            Self::ApplicationStart => "ApplicationStart",
            Self::ValidateService => "ValidateService",
        }
    }

    /// Whether an AppSpec may attach scripts to the event.
    pub fn has_hooks(self) -> bool {
        !matches!(self, Self::DownloadBundle | Self::Install)
    }

    /// Whether the scripts come from the last successful revision on the host and not from the one being deployed.
    pub fn uses_last_successful(self) -> bool {
        self == Self::ApplicationStop
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
        let found = Self::IN_PLACE.into_iter().find(|event| event.name() == text);
        found.ok_or_else(|| IdError { kind: "lifecycle event", text: text.to_owned() })
    }
}
