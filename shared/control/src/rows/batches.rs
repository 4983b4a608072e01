//! Commands that are pushed to hosts in batches, and outcomes of requests that are performed elsewhere than they were
//! decided.

use engine::deployment::{Fact, Failure, Refusal, Request};
use engine::health::LeftAlone;
use engine::zonal::Zone;
use engine::{DeploymentId, Pin, Timestamp};
use serde::{Deserialize, Serialize};
use wire::host::BatchKey;

use super::Row;
use super::deployments::{KEPT_MS, partition};
use crate::ports::Place;
use crate::table::Key;

/// The longest that a command is on its way and runs, in milliseconds: Run Command lets one take 48 hours.
const COMMAND_MS_MAX: u64 = 48 * 3_600_000 + 120_000;

/// How long after its end it may be told how a command ended, in milliseconds.
const TOLD_MS: u64 = 24 * 3_600_000;

/// A batch of hosts that are sent their command together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchRow {
    /// The deployment, and the batch's number in it.
    pub batch: BatchKey,
    /// When it was first about to be sent.
    pub at: Timestamp,
    /// The hosts that may claim by it.
    pub hosts: Vec<BatchHost>,
    /// SHA-256 of each secret that it was sent with: one, or more if it had to be sent again.
    pub secrets: Vec<String>,
    /// The ids of the commands that brought it; empty until it was sent.
    pub commands: Vec<String>,
    /// When its secrets end: none of the commands runs any more. Those of the first versions do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// When its command was accepted for all of its hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_at: Option<Timestamp>,
    /// When it was refused last, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedBatch>,
}

/// When a batch was refused, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedBatch {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub refusal: Refusal,
}

/// A host of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchHost {
    /// Its ordinal.
    pub ordinal: u32,
    /// Its name.
    pub name: String,
}

impl BatchRow {
    const SORT: &str = "BATCH#";

    /// A batch that is about to be sent for the first time.
    pub fn new(batch: BatchKey, at: Timestamp) -> Self {
        let (hosts, secrets, commands) = (Vec::new(), Vec::new(), Vec::new());
        let (until, accepted_at, refused) = (None, None, None);
        Self { batch, at, hosts, secrets, commands, until, accepted_at, refused }
    }

    /// The row of a batch.
    pub fn key_of(batch: &BatchKey) -> Key {
        Key::new(partition(&batch.deployment_id), format!("{}{:06}", Self::SORT, batch.number))
    }

    /// Whether a key is that of a batch.
    pub fn is_at(key: &Key) -> bool {
        key.sort.starts_with(Self::SORT)
    }

    /// When its command was accepted. The first versions noted the commands alone, once all were sent.
    pub fn was_accepted_at(&self) -> Option<Timestamp> {
        self.accepted_at.or_else(|| (!self.commands.is_empty()).then_some(self.at))
    }

    /// When its secrets end.
    pub fn ends_at(&self) -> Timestamp {
        self.until.unwrap_or_else(|| self.at.plus_ms(COMMAND_MS_MAX))
    }

    /// What it tells its deployment.
    pub fn told(&self) -> Option<Fact> {
        let batch = self.batch.number;
        if let Some(at) = self.was_accepted_at() {
            return Some(Fact::BatchAccepted { batch, at });
        }
        let RefusedBatch { at, refusal } = self.refused.clone()?;
        Some(Fact::BatchRefused { batch, at, refusal })
    }
}

impl Row for BatchRow {
    fn key(&self) -> Key {
        Self::key_of(&self.batch)
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.ends_at().plus_ms(TOLD_MS))
    }

    fn wakes(&self) -> bool {
        self.accepted_at.is_some() || self.refused.is_some()
    }
}

/// Which batch a command brought, for what is told of commands later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandRow {
    /// The command's id.
    pub command: String,
    /// The batch.
    pub batch: BatchKey,
    /// When it was sent.
    pub at: Timestamp,
    /// Where; none is the installation's own account and region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

impl CommandRow {
    /// The row of a command.
    pub fn key_of(command: &str) -> Key {
        Key::new(format!("COMMAND#{command}"), "COMMAND")
    }
}

impl Row for CommandRow {
    fn key(&self) -> Key {
        Self::key_of(&self.command)
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.at.plus_ms(KEPT_MS))
    }
}

/// What came of a request that was performed elsewhere. Its writing wakes the deployment. It may be written twice, and
/// stays: the deployment knows what it has heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutcomeRow {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// When.
    pub at: Timestamp,
    /// What.
    pub outcome: Outcome,
}

/// An outcome that is a fact of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// [`Fact::RevisionPinned`].
    RevisionPinned(Pin),
    /// [`Fact::RevisionRefused`].
    RevisionRefused(Failure),
    /// [`Fact::RosterSealed`].
    RosterSealed {
        /// The number of hosts.
        total: u32,
        /// How many of them come first.
        unhealthy: u32,
        /// How many of those come before all others.
        #[serde(default, skip_serializing_if = "is_zero")]
        out: u32,
    },
    /// [`Fact::PartSealed`].
    #[serde(rename_all = "camelCase")]
    PartSealed {
        /// The number of hosts that a rollback goes to.
        total: u32,
        /// How many of them come first.
        unhealthy: u32,
        /// How many of those come before all others.
        #[serde(default, skip_serializing_if = "is_zero")]
        out: u32,
        /// The other hosts of the group.
        left_alone: LeftAlone,
    },
    /// [`Fact::ZonesSealed`].
    ZonesSealed {
        /// The zones, in order.
        zones: Vec<Zone>,
    },
    /// [`Fact::GroupCopied`].
    GroupCopied,
    /// [`Fact::ShiftRefused`] of [`Request::CopyGroup`].
    CopyRefused(Failure),
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

impl Outcome {
    /// The outcome that is told by a fact; none if it is no outcome of a request that may be performed elsewhere.
    pub fn of(fact: Fact) -> Option<Self> {
        match fact {
            Fact::RevisionPinned(pin) => Some(Self::RevisionPinned(pin)),
            Fact::RevisionRefused(failure) => Some(Self::RevisionRefused(failure)),
            Fact::RosterSealed { total, unhealthy, out } => {
                Some(Self::RosterSealed { total, unhealthy, out })
            }
            Fact::PartSealed { total, unhealthy, out, left_alone } => {
                Some(Self::PartSealed { total, unhealthy, out, left_alone })
            }
            Fact::ZonesSealed(zones) => Some(Self::ZonesSealed { zones }),
            Fact::GroupCopied => Some(Self::GroupCopied),
            Fact::ShiftRefused { request: Request::CopyGroup, why } => Some(Self::CopyRefused(why)),
            Fact::HostsArrived { .. }
            | Fact::HostsSeen(_)
            | Fact::BatchChecked { .. }
            | Fact::HostsGone(_)
            | Fact::HostsDown { .. }
            | Fact::StopRequested { .. }
            | Fact::AlarmsRead { .. }
            | Fact::Withdrawn { .. }
            | Fact::SidesFound { .. }
            | Fact::ShiftRefused { .. }
            | Fact::TasksSeen(_)
            | Fact::TestTrafficMoved
            | Fact::Retired { .. }
            | Fact::TrafficMoved { .. }
            | Fact::HookEnded { .. }
            | Fact::Steered(_)
            | Fact::Decided { .. }
            | Fact::Ended { .. }
            | Fact::BatchAccepted { .. }
            | Fact::BatchRefused { .. } => None,
        }
    }

    /// The fact that it tells.
    pub fn into_fact(self) -> Fact {
        match self {
            Self::RevisionPinned(pin) => Fact::RevisionPinned(pin),
            Self::RevisionRefused(failure) => Fact::RevisionRefused(failure),
            Self::RosterSealed { total, unhealthy, out } => {
                Fact::RosterSealed { total, unhealthy, out }
            }
            Self::PartSealed { total, unhealthy, out, left_alone } => {
                Fact::PartSealed { total, unhealthy, out, left_alone }
            }
            Self::ZonesSealed { zones } => Fact::ZonesSealed(zones),
            Self::GroupCopied => Fact::GroupCopied,
            Self::CopyRefused(why) => Fact::ShiftRefused { request: Request::CopyGroup, why },
        }
    }
}

impl OutcomeRow {
    const SORT: &str = "OUTCOME#";
    const REVISION: &str = "OUTCOME#REVISION";
    const ROSTER: &str = "OUTCOME#ROSTER";
    const COPY: &str = "OUTCOME#COPY";

    /// The outcome of pinning the revision of a deployment, of enrolling its hosts, and of making them come up.
    pub fn keys_of(id: &DeploymentId) -> [Key; 3] {
        [Self::REVISION, Self::ROSTER, Self::COPY].map(|sort| Key::new(partition(id), sort))
    }

    /// Whether a key is that of an outcome.
    pub fn is_at(key: &Key) -> bool {
        key.sort.starts_with(Self::SORT)
    }
}

impl Row for OutcomeRow {
    fn key(&self) -> Key {
        let what = match self.outcome {
            Outcome::RevisionPinned(_) | Outcome::RevisionRefused(_) => Self::REVISION,
            Outcome::RosterSealed { .. }
            | Outcome::PartSealed { .. }
            | Outcome::ZonesSealed { .. } => Self::ROSTER,
            Outcome::GroupCopied | Outcome::CopyRefused(_) => Self::COPY,
        };
        Key::new(partition(&self.deployment_id), what)
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.at.plus_ms(KEPT_MS))
    }

    fn wakes(&self) -> bool {
        true
    }
}
