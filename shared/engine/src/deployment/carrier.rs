//! What a deployment moves its traffic between, and the stages of that (`docs/semantics.md#blue-green`).
//!
//! What carries the traffic is kept here for whoever moves it: a deployment decides by its traits.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lifecycle::Event;

/// What a deployment moves traffic between. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", from = "StoredShift")]
pub struct Shift {
    /// What carries the traffic.
    pub carrier: Carrier,
    /// What that has, and how it takes what is asked of it.
    pub traits: CarrierTraits,
    /// How long to wait for a person before the traffic moves, in milliseconds; none goes on at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_wait_ms: Option<u64>,
    /// How long what had the traffic is kept ready after it lost it, in milliseconds.
    pub keep_ms: u64,
    /// Whether what had the traffic is ended after that, and what was made for the new side if it is not to have it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub retires: bool,
    /// The Auto Scaling group that is copied, so that the copy's instances are the new hosts; none where they are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copies: Option<ScalingCopy>,
    /// The side that the traffic goes back to, 0 or 1, where nothing is installed and it only goes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub back_to: Option<u8>,
}

/// A shift as it is stored: the version before did not write the traits.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredShift {
    carrier: Carrier,
    #[serde(default)]
    traits: Option<CarrierTraits>,
    #[serde(default)]
    ready_wait_ms: Option<u64>,
    #[serde(default)]
    keep_ms: u64,
    #[serde(default)]
    retires: bool,
    #[serde(default)]
    copies: Option<ScalingCopy>,
    #[serde(default)]
    back_to: Option<u8>,
}

impl From<StoredShift> for Shift {
    fn from(stored: StoredShift) -> Self {
        let StoredShift { carrier, traits, ready_wait_ms, keep_ms, retires, copies, back_to } =
            stored;
        let traits = traits.unwrap_or_else(|| CarrierTraits::of_earlier(&carrier));
        Self { carrier, traits, ready_wait_ms, keep_ms, retires, copies, back_to }
    }
}

impl Shift {
    /// A shift that does nothing beyond moving the traffic of a carrier.
    pub fn of(carrier: Carrier, traits: CarrierTraits) -> Self {
        let (ready_wait_ms, keep_ms, retires, copies, back_to) = (None, 0, false, None, None);
        Self { carrier, traits, ready_wait_ms, keep_ms, retires, copies, back_to }
    }

    /// Whether there are hosts that the new version is brought to.
    pub fn has_hosts(&self) -> bool {
        self.traits.hosts && self.back_to.is_none()
    }

    /// Whether there are tasks that the new version is brought up with.
    pub fn has_tasks(&self) -> bool {
        self.traits.tasks && self.back_to.is_none()
    }

    /// Whether there is test traffic that moves before the other.
    pub fn has_test_traffic(&self) -> bool {
        self.traits.test_traffic && self.back_to.is_none()
    }
}

/// An Auto Scaling group that is copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScalingCopy {
    /// The group.
    pub from: String,
    /// The name of the copy.
    pub to: String,
}

/// What carries the traffic of a shift: the name of its kind, and what that kind reads. Stored under its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, Value>", into = "BTreeMap<String, Value>")]
pub struct Carrier {
    kind: String,
    settings: Value,
}

impl Carrier {
    /// A carrier of a kind.
    ///
    /// # Errors
    /// If the settings cannot be written as JSON.
    pub fn new(kind: &str, settings: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self { kind: kind.to_owned(), settings: serde_json::to_value(settings)? })
    }

    /// The name of its kind.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What its kind reads.
    ///
    /// # Errors
    /// If they are not settings of this form.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(&self.settings)
    }
}

impl TryFrom<BTreeMap<String, Value>> for Carrier {
    type Error = &'static str;

    fn try_from(stored: BTreeMap<String, Value>) -> Result<Self, Self::Error> {
        let mut stored = stored.into_iter();
        match (stored.next(), stored.next()) {
            (Some((kind, settings)), None) => Ok(Self { kind, settings }),
            _ => Err("a carrier is stored under the name of its kind alone"),
        }
    }
}

impl From<Carrier> for BTreeMap<String, Value> {
    fn from(carrier: Carrier) -> Self {
        Self::from([(carrier.kind, carrier.settings)])
    }
}

/// What a carrier has, and how it takes what is asked of it: all that a deployment decides by.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CarrierTraits {
    /// Whether it leads to hosts that the new version is installed on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hosts: bool,
    /// Whether it leads to tasks that the new version is brought up with.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tasks: bool,
    /// Whether it has test traffic, which moves before the other.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub test_traffic: bool,
    /// The events that call a function; none where hooks are scripts on hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Vec<Event>>,
    /// Whether its traffic can go by steps.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub steps: bool,
    /// Whether the second side is the new one, whatever the traffic is when it is first read.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub second_is_new: bool,
    /// Whether it is changed only as it was read, so that a request which comes late does nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub fenced: bool,
}

impl CarrierTraits {
    /// The traits of a carrier that an earlier version stored, which knew them by its kind. Stays as long as deployments of
    /// that version may be stored.
    fn of_earlier(carrier: &Carrier) -> Self {
        let has = |key: &str| carrier.settings.get(key).is_some_and(|value| !value.is_null());
        let hooks = || -> Option<Vec<Event>> {
            let hooks = carrier.settings.get("hooks").cloned().unwrap_or_default();
            let hooks = BTreeMap::<Event, String>::deserialize(hooks).unwrap_or_default();
            Some(hooks.into_keys().collect())
        };
        match carrier.kind() {
            "groups" => Self { hosts: true, steps: true, ..Self::default() },
            "exchange" => Self { hosts: true, second_is_new: true, ..Self::default() },
            "alias" => Self {
                hooks: hooks(),
                steps: true,
                second_is_new: true,
                fenced: true,
                ..Self::default()
            },
            "service" => Self {
                tasks: true,
                test_traffic: has("testListener"),
                hooks: hooks(),
                steps: true,
                ..Self::default()
            },
            _ => Self::default(),
        }
    }
}

/// The tasks of one side of a service, as the service says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskSet {
    /// Its id.
    pub id: String,
    /// Which of the two target groups its tasks are in, 0 or 1.
    pub side: u8,
    /// How many tasks are wanted.
    pub desired: u32,
    /// How many start.
    pub pending: u32,
    /// How many run.
    pub running: u32,
    /// Whether as many run and are healthy as are wanted.
    pub is_steady: bool,
}

/// One of the two sides of a shift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Side {
    /// What had the traffic before.
    Old,
    /// What is to get it.
    New,
}

/// The stages of a shift, in order. What a carrier has not is passed at once.
#[derive(
    Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// What is to be done before the new side is made ready.
    #[default]
    BeforeInstall,
    /// The new side is made ready, and has no traffic.
    Install,
    /// What is to be done when it is ready.
    AfterInstall,
    /// The test traffic moves.
    Test,
    /// What is to be done when the test traffic has moved.
    AfterTest,
    /// It is ready, and a person may be waited for.
    Ready,
    /// What is to be done before traffic moves.
    Before,
    /// The traffic moves, as far and as fast as the ladder says.
    Move,
    /// What is to be done when all traffic has moved.
    After,
    /// The old side is kept, so that the traffic can go back.
    Keep,
    /// The old side is ended. The traffic does not go back any more.
    Retire,
    /// Nothing is left to be done.
    Over,
}

impl Stage {
    pub(super) fn next(self) -> Self {
        match self {
            Self::BeforeInstall => Self::Install,
            Self::Install => Self::AfterInstall,
            Self::AfterInstall => Self::Test,
            Self::Test => Self::AfterTest,
            Self::AfterTest => Self::Ready,
            Self::Ready => Self::Before,
            Self::Before => Self::Move,
            Self::Move => Self::After,
            Self::After => Self::Keep,
            Self::Keep => Self::Retire,
            Self::Retire | Self::Over => Self::Over,
        }
    }

    /// The event whose hook function is called in it.
    pub(super) fn hook_event(self) -> Option<Event> {
        match self {
            Self::BeforeInstall => Some(Event::BeforeInstall),
            Self::AfterInstall => Some(Event::AfterInstall),
            Self::AfterTest => Some(Event::AfterAllowTestTraffic),
            Self::Before => Some(Event::BeforeAllowTraffic),
            Self::After => Some(Event::AfterAllowTraffic),
            Self::Install | Self::Test | Self::Ready | Self::Move => None,
            Self::Keep | Self::Retire | Self::Over => None,
        }
    }
}
