//! What is set up rather than done: applications, groups, configurations, revisions, on-premises instances.

use std::collections::BTreeMap;

use engine::group::Slot;
use engine::health::Rule;
use engine::ladder::Ladder;
use engine::zonal::Zonal;
use engine::{GroupId, Pin, Revision, Timestamp};
use serde::{Deserialize, Serialize};
use wire::codedeploy::{ComputePlatform, GroupSettings, Tag, TrafficRoutingConfig};

use super::{Row, digits};
use crate::ports::Place;
use crate::table::Key;

/// The name of an application, which leads to its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Application {
    /// The id: everything that belongs to the application is under it, so that a rename changes one record.
    pub id: String,
    /// The name.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Where it runs.
    #[serde(default = "server")]
    pub compute_platform: ComputePlatform,
    /// Its tags.
    #[serde(default)]
    pub tags: Vec<Tag>,
    /// Whether it is being deleted: nobody finds it any more.
    #[serde(default)]
    pub deleting: bool,
}

fn server() -> ComputePlatform {
    ComputePlatform::Server
}

impl Application {
    /// The partition of all applications, by name.
    pub const ALL: &str = "APPLICATIONS";

    /// The application called `name`.
    pub fn key_of(name: &str) -> Key {
        Key::new(Self::ALL, name)
    }

    /// What leads from its id to its name.
    pub(crate) fn by_id(&self) -> ApplicationId {
        ApplicationId { id: self.id.clone(), name: self.name.clone() }
    }
}

impl Row for Application {
    fn key(&self) -> Key {
        Self::key_of(&self.name)
    }
}

/// The id of an application, which leads to its name: written in each transaction that changes the name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationId {
    /// The id.
    pub id: String,
    /// The name.
    pub name: String,
}

impl ApplicationId {
    /// The record of the application with `id`.
    pub fn key_of(id: &str) -> Key {
        Key::new(format!("APPLICATION#{id}"), "APPLICATION")
    }
}

impl Row for ApplicationId {
    fn key(&self) -> Key {
        Self::key_of(&self.id)
    }
}

/// The name of a group in its application, which leads to its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupName {
    /// The application's id.
    pub application_id: String,
    /// The name.
    pub name: String,
    /// The group.
    pub id: GroupId,
}

impl GroupName {
    /// The partition of an application's groups, by name.
    pub fn all_of(application_id: &str) -> String {
        format!("APPLICATION#{application_id}#GROUPS")
    }

    /// The group called `name`.
    pub fn key_of(application_id: &str, name: &str) -> Key {
        Key::new(Self::all_of(application_id), name)
    }
}

impl Row for GroupName {
    fn key(&self) -> Key {
        Self::key_of(&self.application_id, &self.name)
    }
}

/// A deployment group: its settings and what it is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// The id.
    pub id: GroupId,
    /// The application's id.
    pub application_id: String,
    /// The name.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// What the user set.
    pub settings: GroupSettings,
    /// Tags of the group itself.
    #[serde(default)]
    pub tags: Vec<Tag>,
    /// How long a host may be silent, in milliseconds.
    pub silence_ms: u64,
    /// Whether hosts run an interrupted hook again.
    pub rerun_interrupted: bool,
    /// What it is doing.
    pub slot: Slot,
    /// Where its deployments act; none is the installation's own account and region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Since which fencing number all that is known of its hosts is among its members ([`MemberRow`]); what is older may be
    /// wrong. A version before, which writes no members, does not know this number and so removes it by each of its
    /// writes: by the start of a deployment and by the end of one.
    ///
    /// [`MemberRow`]: super::MemberRow
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members_since: Option<u64>,
}

impl Group {
    /// The group with `id`.
    pub fn key_of(id: &GroupId) -> Key {
        Key::new(format!("GROUP#{id}"), "GROUP")
    }
}

impl Row for Group {
    fn key(&self) -> Key {
        Self::key_of(&self.id)
    }
}

/// A deployment configuration that a user made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// The id.
    pub id: String,
    /// The name.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Its rule.
    pub rule: Rule,
    /// Its ladder; empty for those of CodeDeploy's own form.
    #[serde(default, skip_serializing_if = "Ladder::is_empty")]
    pub ladder: Ladder,
    /// The platform and the steps in CodeDeploy's form, of one that is for no fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing: Option<(ComputePlatform, TrafficRoutingConfig)>,
    /// How it goes from one availability zone to the next, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zonal: Option<Zonal>,
}

impl Config {
    /// The partition of all configurations, by name.
    pub const ALL: &str = "CONFIGS";

    /// The configuration called `name`.
    pub fn key_of(name: &str) -> Key {
        Key::new(Self::ALL, name)
    }
}

impl Row for Config {
    fn key(&self) -> Key {
        Self::key_of(&self.name)
    }
}

/// A revision that an application knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisteredRevision {
    /// The application's id.
    pub application_id: String,
    /// The revision: the whole of it is its identity.
    pub revision: Revision,
    /// The user's words.
    pub description: Option<String>,
    /// When it was first registered.
    pub registered_at: Timestamp,
    /// When it was first deployed.
    pub first_used_at: Option<Timestamp>,
    /// When it was last deployed.
    pub last_used_at: Option<Timestamp>,
    /// Its bytes, where they are kept already.
    pub pin: Option<Pin>,
    /// Groups that it was last deployed to.
    #[serde(default)]
    pub groups: Vec<String>,
}

impl RegisteredRevision {
    /// The partition of an application's revisions.
    pub fn all_of(application_id: &str) -> String {
        format!("APPLICATION#{application_id}#REVISIONS")
    }

    /// The record of `revision`.
    pub fn key_of(application_id: &str, revision: &Revision) -> Key {
        let part = |text: &Option<String>| text.clone().unwrap_or_default();
        let sort = [
            revision.bucket.as_str(),
            &revision.key,
            revision.bundle_type.name(),
            &part(&revision.version),
            &part(&revision.e_tag),
        ]
        .join("\n");
        Key::new(Self::all_of(application_id), sort)
    }
}

impl Row for RegisteredRevision {
    fn key(&self) -> Key {
        Self::key_of(&self.application_id, &self.revision)
    }

    fn listed(&self) -> Option<Key> {
        Some(Key::new(Self::all_of(&self.application_id), digits(self.registered_at.0)))
    }
}

/// That an IAM user or session stands for an on-premises instance: no other one can be registered with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IamArn {
    /// The ARN.
    pub arn: String,
    /// The instance.
    pub instance: String,
}

impl IamArn {
    /// The record of `arn`.
    pub fn key_of(arn: &str) -> Key {
        Key::new("IAM-ARNS", arn)
    }
}

impl Row for IamArn {
    fn key(&self) -> Key {
        Self::key_of(&self.arn)
    }
}

/// That a target group or listener is one deployment group's: two would take each other's hosts out of their traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficClaim {
    /// What is claimed: a target group with its scheme, a backend of HAProxy, or a listener's ARN.
    pub name: String,
    /// The group.
    pub group_id: GroupId,
}

impl TrafficClaim {
    /// The partition of all claims, by name.
    pub const ALL: &str = "TRAFFIC-CLAIMS";

    /// The record of `name`.
    pub fn key_of(name: &str) -> Key {
        Key::new(Self::ALL, name)
    }
}

impl Row for TrafficClaim {
    fn key(&self) -> Key {
        Self::key_of(&self.name)
    }
}

/// A registered on-premises instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OnPremises {
    /// The name.
    pub name: String,
    /// The ARN.
    pub arn: String,
    /// The IAM user's ARN, if it was registered by one.
    pub iam_user_arn: Option<String>,
    /// The IAM session's ARN, if it was registered by one.
    pub iam_session_arn: Option<String>,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// When it was deregistered.
    pub deregistered_at: Option<Timestamp>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// SHA-256 of the key with which its runner polls and claims.
    pub key_hash: Option<String>,
    /// When it was last noted that it asked for work: later than that by as long as [`SEEN_EVERY_MS`] and a poll.
    ///
    /// [`SEEN_EVERY_MS`]: crate::host_api::SEEN_EVERY_MS
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_at: Option<Timestamp>,
}

impl OnPremises {
    /// The partition of all on-premises instances, by name.
    pub const ALL: &str = "ON-PREMISES";

    /// The instance called `name`.
    pub fn key_of(name: &str) -> Key {
        Key::new(Self::ALL, name)
    }
}

impl Row for OnPremises {
    fn key(&self) -> Key {
        Self::key_of(&self.name)
    }
}
