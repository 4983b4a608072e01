//! The hosts of a deployment.

use engine::deployment::{HostSeen, Sighting};
use engine::lifecycle::Event;
use engine::{DeploymentId, GroupId, Timestamp};
use serde::{Deserialize, Serialize};
use wire::host::{EventReport, EventStatus, HostStatus};

use super::deployments::KEPT_MS;
use super::{HostShards, Row, digits, is_false};
use crate::table::Key;

/// One host of a deployment: what the host last said, and what it was before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostRow {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The group.
    pub group_id: GroupId,
    /// The place in deployment order.
    pub ordinal: u32,
    /// The host's name.
    pub name: String,
    /// When it was enrolled.
    pub enrolled_at: Timestamp,
    /// What it was before this deployment.
    pub before: Before,
    /// The attempt that was claimed; 0 before.
    #[serde(default)]
    pub attempt: u8,
    /// The attempt that it was sent; 0 before the first, and where the deployment's row alone says it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub offered: u8,
    /// The copy of its deployment's gate that it reads.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gate: u8,
    /// When the server last heard of the host, by the server's clock; none before the claim.
    #[serde(default)]
    pub heard_at: Option<Timestamp>,
    /// SHA-256 of the claim's token.
    #[serde(default)]
    pub token_hash: Option<String>,
    /// The number of the last report.
    #[serde(default)]
    pub sequence: u64,
    /// What the host says of itself.
    #[serde(default)]
    pub status: Option<HostStatus>,
    /// Its events; the output tails of those that ended well are left out.
    #[serde(default)]
    pub events: Vec<EventReport>,
    /// Whether and why the server does not listen to the host any more.
    #[serde(default)]
    pub out_of_reach: Option<OutOfReach>,
    /// Why, in words, where more is known than that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What is known of a host that has not claimed its command, in words: a hint, by which nothing is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// How long a host has to claim its command that was down when it was offered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down_until: Option<Timestamp>,
    /// Whether the host is about to vanish, on explicit evidence.
    #[serde(default, skip_serializing_if = "is_false")]
    pub leaving: bool,
    /// Whether the host does not exist any more, on explicit evidence.
    #[serde(default)]
    pub gone: bool,
    /// How it is reached.
    #[serde(default)]
    pub transport: Transport,
    /// Its availability zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Why it cannot be deployed to, where that was seen when it was enrolled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfit: Option<String>,
    /// The event of a shift in which it waits for its traffic, once its balancer found it healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_in: Option<Event>,
    /// Since when its present event is under way, by the server's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_way_since: Option<Timestamp>,
    /// Whether this write is the one that says so.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stirs: bool,
    /// Whether it had no traffic when a rollback enrolled it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub out: bool,
    /// Whether it came after the roster was sealed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub arrived: bool,
    /// The fencing number of the deployment, where the host's end is noted in its group ([`MemberRow`]). None in a
    /// deployment that a version before began, and in one by which the host leaves.
    ///
    /// [`MemberRow`]: super::MemberRow
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// SHA-256 of the bundle that its command installs, where its end is noted: known once it has claimed the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installs: Option<String>,
    /// How many partitions the hosts of the deployment lie in ([`HostShards`]).
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub shards: u32,
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_one(number: &u32) -> bool {
    *number == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(value: &u8) -> bool {
    *value == 0
}

/// How a host is reached.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Transport {
    /// It asks by itself.
    #[default]
    Poll,
    /// Its commands are pushed to it.
    Push,
}

/// What a host was before a deployment, in its group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Before {
    /// Whether the last deployment that touched it succeeded there.
    pub healthy: bool,
    /// SHA-256 of the bundle that was last installed successfully.
    pub installed: Option<String>,
}

/// Why the server does not listen to a host any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OutOfReach {
    /// It had not claimed its command when the deployment gave up waiting.
    ShutOut,
    /// It was not heard of for too long.
    GivenUp,
}

impl HostRow {
    /// The ordinal in the key of a host's row.
    pub fn ordinal_in(key: &Key) -> Option<u32> {
        key.sort.strip_prefix(HostShards::SORT)?.parse().ok()
    }

    /// The partition of the index in which a host's deployments are listed by time.
    pub fn list_of(name: &str) -> String {
        format!("HOST#{name}#DEPLOYMENTS")
    }

    /// The place of a deployment in that partition, where the host was enrolled at `enrolled_at`.
    pub fn place_in_list(enrolled_at: Timestamp, id: &DeploymentId) -> String {
        format!("{}#{id}", digits(enrolled_at.0))
    }

    /// What the engine shall know of the host.
    pub fn seen(&self) -> HostSeen {
        let sighting = match (self.status, self.out_of_reach, self.heard_at) {
            (Some(HostStatus::Succeeded), ..) => Sighting::Succeeded,
            (Some(HostStatus::Failed), ..) if self.was_halted() => Sighting::Halted,
            (Some(HostStatus::Failed), ..) => Sighting::Failed,
            _ if self.gone => Sighting::Gone,
            // A host that has not claimed its command cannot any more, and is spared.
            (None, None, None) if self.leaving => Sighting::Leaving,
            (_, Some(OutOfReach::ShutOut), _) => Sighting::ShutOut,
            (_, Some(OutOfReach::GivenUp), _) => Sighting::GivenUp,
            (_, None, Some(heard_at)) => Sighting::Claimed { heard_at, waits_in: self.waits_in },
            (_, None, None) => Sighting::Unclaimed,
        };
        HostSeen { ordinal: self.ordinal, sighting }
    }

    /// Whether the deployment waits for what the host has to say, as far as its item tells: it was sent its command, and
    /// neither has it ended nor is it listened to no more.
    pub fn is_in_flight(&self) -> bool {
        let may_speak = match self.seen().sighting {
            Sighting::Unclaimed | Sighting::Claimed { .. } => true,
            Sighting::ShutOut
            | Sighting::GivenUp
            | Sighting::Succeeded
            | Sighting::Failed
            | Sighting::Halted
            | Sighting::Leaving
            | Sighting::Gone => false,
        };
        self.offered > 0 && may_speak
    }

    /// Whether the host is to be sent its command for the time `attempt`: it was not, and has claimed none.
    pub fn lacks(&self, attempt: u8) -> bool {
        self.offered < attempt && self.seen().sighting == Sighting::Unclaimed
    }

    /// How long the host has to claim its command, where it was down when it was offered it and has not.
    pub fn is_down_until(&self) -> Option<Timestamp> {
        let is_unclaimed = self.seen().sighting == Sighting::Unclaimed;
        self.down_until.filter(|_| is_unclaimed)
    }

    /// Whether the host says that it was told to begin nothing more. An event that it then left out carries the reason;
    /// one that is left out after a failure carries none.
    pub fn was_halted(&self) -> bool {
        let is_told = |report: &EventReport| {
            report.status == EventStatus::Skipped && report.diagnostics.is_some()
        };
        self.status == Some(HostStatus::Failed) && self.events.iter().any(is_told)
    }

    /// A host that is enrolled and was not heard of.
    pub fn enrolled(
        id: &DeploymentId,
        group: &GroupId,
        ordinal: u32,
        name: String,
        enrolled_at: Timestamp,
        before: Before,
    ) -> Self {
        Self {
            deployment_id: id.clone(),
            group_id: group.clone(),
            ordinal,
            name,
            enrolled_at,
            before,
            attempt: 0,
            offered: 0,
            gate: 0,
            heard_at: None,
            token_hash: None,
            sequence: 0,
            status: None,
            events: Vec::new(),
            out_of_reach: None,
            reason: None,
            hint: None,
            down_until: None,
            leaving: false,
            gone: false,
            transport: Transport::Poll,
            zone: None,
            unfit: None,
            waits_in: None,
            under_way_since: None,
            stirs: false,
            out: false,
            arrived: false,
            generation: None,
            installs: None,
            shards: 1,
        }
    }
}

impl Row for HostRow {
    const SCHEMA: u32 = 3;

    /// A version before would lose the attempt when it writes the item, and note the end of a host and forget its group.
    fn schema(&self) -> u32 {
        if self.offered > 0 || self.generation.is_some() { Self::SCHEMA } else { 2 }
    }

    fn key(&self) -> Key {
        HostShards { id: self.deployment_id.clone(), shards: self.shards }.key_of(self.ordinal)
    }

    fn listed(&self) -> Option<Key> {
        let sort = Self::place_in_list(self.enrolled_at, &self.deployment_id);
        Some(Key::new(Self::list_of(&self.name), sort))
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.enrolled_at.plus_ms(KEPT_MS))
    }

    /// One that has ended, that is about to vanish or did, that came late, that is down, or that now waits for its traffic.
    /// A report in between wakes nobody.
    fn wakes(&self) -> bool {
        let has_news = match self.seen().sighting {
            Sighting::Unclaimed | Sighting::Claimed { .. } => false,
            Sighting::ShutOut
            | Sighting::GivenUp
            | Sighting::Succeeded
            | Sighting::Failed
            | Sighting::Halted
            | Sighting::Leaving
            | Sighting::Gone => true,
        };
        let is_new = self.arrived && self.heard_at.is_none() && self.offered == 0;
        has_news || self.stirs || is_new || self.is_down_until().is_some()
    }
}
