//! The hosts that had the traffic before a deployment, when they are to be ended.

use engine::{DeploymentId, Timestamp};
use serde::{Deserialize, Serialize};

use super::Row;
use super::deployments::{KEPT_MS, partition};
use crate::table::Key;

/// The old hosts of a deployment. Found out once and written before anything is done to them: when they have lost their
/// traffic, the target group does not tell any more who they were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OldHostsRow {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// When they were found out.
    pub at: Timestamp,
    /// Instances that are to be terminated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<String>,
    /// Those of them that Auto Scaling has taken on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken_on: Vec<String>,
    /// Hosts on premises: they lose their traffic, and go on running.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_premises: Vec<String>,
    /// Instances that lose their traffic as well, and are never terminated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spared: Vec<String>,
    /// Instances that go on running, the first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Kept>,
    /// How many more do.
    #[serde(default)]
    pub more_kept: u32,
}

/// An instance that is not terminated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// The instance.
    pub instance: String,
    /// Why not.
    pub why: String,
}

/// Most instances that are named as kept: a record is limited in its size.
const KEPT_MAX: usize = 50;

/// Most letters of a reason.
const WHY_MAX: usize = 300;

/// Most on-premises hosts that a message names.
const NAMES_MAX: usize = 10;

impl OldHostsRow {
    /// None, as of now.
    pub(crate) fn none(deployment_id: DeploymentId, at: Timestamp) -> Self {
        Self {
            deployment_id,
            at,
            instances: Vec::new(),
            taken_on: Vec::new(),
            on_premises: Vec::new(),
            spared: Vec::new(),
            kept: Vec::new(),
            more_kept: 0,
        }
    }

    /// The old hosts of deployment `id`.
    pub fn key_of(id: &DeploymentId) -> Key {
        Key::new(partition(id), "OLD")
    }

    /// All hosts that have to lose their traffic.
    pub(crate) fn with_traffic(&self) -> Vec<String> {
        [self.instances.as_slice(), self.on_premises.as_slice(), self.spared.as_slice()].concat()
    }

    /// Leaves an instance as it is.
    pub(crate) fn keep(&mut self, instance: &str, why: &str) {
        self.instances.retain(|known| known != instance);
        self.taken_on.retain(|known| known != instance);
        if self.kept.len() < KEPT_MAX {
            let why = why.chars().take(WHY_MAX).collect();
            self.kept.push(Kept { instance: instance.to_owned(), why });
        } else {
            self.more_kept += 1;
        }
    }

    /// What people should know of hosts that go on running.
    pub(crate) fn messages(&self) -> Vec<String> {
        let mut messages = Vec::new();
        if !self.on_premises.is_empty() {
            let some: Vec<&str> =
                self.on_premises.iter().take(NAMES_MAX).map(String::as_str).collect();
            let (some, more) = (some.join(", "), self.on_premises.len().saturating_sub(NAMES_MAX));
            let more = if more == 0 { String::new() } else { format!(", and {more} more") };
            messages.push(format!(
                "These on-premises hosts had the traffic before, and are taken out of their target group. They go on \
                 running, because nothing can terminate them from here: {some}{more}."
            ));
        }
        let kept = self.kept.iter();
        messages.extend(kept.map(|Kept { instance, why }| {
            format!("The instance {instance} had the traffic before, and goes on running: {why}")
        }));
        if self.more_kept > 0 {
            let more = self.more_kept;
            messages.push(format!("So do {more} more instances. The log has the reasons."));
        }
        messages
    }
}

impl Row for OldHostsRow {
    fn key(&self) -> Key {
        Self::key_of(&self.deployment_id)
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.at.plus_ms(KEPT_MS))
    }
}
