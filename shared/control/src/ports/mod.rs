//! What the use cases need of the world besides the table. Named for what they are here, not for who provides them.

mod cloud;
mod functions;
mod messages;
mod meter;
mod places;
mod services;
mod traffic;

use std::collections::BTreeSet;

use async_trait::async_trait;
use engine::appspec::Position;
use engine::deployment::Fact;
use engine::{BundleType, DeploymentId, Pin, Timestamp};
use thiserror::Error;
use wire::host::Offer;

pub use cloud::{
    CloudError, Command, CopyStanding, Fleet, GroupCopy, Hooks, Instance, InstanceState, Instances,
    LifecycleAction, NoCloud, Push, Reach, Scaling, Selection, SendError,
};
pub use functions::{AliasStanding, FunctionError, Functions, NoFunctions};
pub use messages::{Messages, RequestMessage, Upkeep, UploadAgain, Uploaded};
pub use meter::{HostOutcome, Measure, Meter, NoMeter};
pub use places::{Place, Placed, Site};
pub use services::{NoServices, Service, ServiceError, Services};
pub use traffic::{
    Alarms, BalancerAdmin, BalancerError, Balancers, NoTraffic, Pair, Reading, Standing, Traffic,
    Wanted,
};

/// Reads the time.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Now. May stand still or jump; nothing relies on more.
    fn now(&self) -> Timestamp;

    /// Lets so many milliseconds go by.
    async fn sleep(&self, ms: u64);
}

/// Draws random bytes.
pub trait Entropy: Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// Keeps the bytes of revisions under their digest.
#[async_trait]
pub trait Bundles: Send + Sync {
    /// Reads `object`, checks that it is a valid bundle, and keeps its bytes under their digest. They were then put less
    /// than [`KEPT_MS_MIN`](crate::revision_intake::bundles::KEPT_MS_MIN) before, however long they are kept already.
    async fn pin(&self, object: &Object) -> Result<Pinned, PinError>;

    /// The bucket whose uploads are heard of, where it is known to be that one alone.
    fn announced(&self) -> Option<&str> {
        None
    }

    /// Looks whether `object` is there. Only [`PinError::Missing`] says that it is not.
    async fn find(&self, _object: &Object) -> Result<(), PinError> {
        Ok(())
    }

    /// Reads `object` as text of at most `limit` bytes.
    async fn read(&self, object: &Object, limit: usize) -> Result<String, PinError>;

    /// A URL at which a host can fetch the kept bytes with a plain GET for some minutes.
    async fn url(&self, pin: &Pin) -> Result<String, PinError>;

    /// The digests of all bytes that are kept and were last put before `before`.
    async fn kept_before(&self, _before: Timestamp) -> Result<BTreeSet<String>, PinError> {
        Ok(BTreeSet::new())
    }

    /// Removes the kept bytes of `digest`, unless they were put again since `before`.
    async fn remove(&self, _digest: &str, _before: Timestamp) -> Result<(), PinError> {
        Ok(())
    }

    /// A URL at which a host can fetch the runner whose SHA-256 is `digest`, in lower-case hex, likewise.
    async fn runner_url(&self, digest: &str) -> Result<String, PinError>;
}

/// An object in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The version that is wanted, where the bucket has versions.
    pub version: Option<String>,
    /// The ETag that the object must have, without quotes.
    pub e_tag: Option<String>,
}

/// A revision whose bytes are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// The bytes, and which object they were read from.
    pub pin: Pin,
    /// What kind of archive they are, by their content.
    pub bundle_type: BundleType,
}

/// Why a revision could not be pinned.
#[derive(Debug, Error)]
pub enum PinError {
    /// There is no such object.
    #[error("there is no object `{key}` in bucket `{bucket}`")]
    Missing {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
    },
    /// The object is not what was registered, or no valid bundle.
    #[error(transparent)]
    Refused(Refused),
    /// The bucket cannot be reached; try again.
    #[error("the bucket did not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What is wrong with an object that should have been a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Refused {
    /// What, and what to do.
    pub message: String,
    /// In which file of the archive.
    pub file: Option<String>,
    /// Where in that file.
    pub position: Option<Position>,
}

/// Wakes deployments. A wake may be lost, doubled or late: whatever it tells can be read from the table again.
#[async_trait]
pub trait Waker: Send + Sync {
    /// Something happened to the deployment.
    fn wake(&self, deployment: &DeploymentId, facts: Vec<Fact>);

    /// The deployment wants to be advanced at `at`; replaces what was asked for before.
    async fn wake_at(&self, deployment: &DeploymentId, at: Timestamp);
}

/// Lets hosts know that there is something to claim.
#[async_trait]
pub trait Dispatcher: Send + Sync {
    /// Offers a command to each host, by name. May be lost: hosts also ask by themselves.
    async fn dispatch(&self, offers: &[(String, Offer)]);

    /// Where the host `name` stands in the stream of its offers; to be taken before the table is asked.
    fn ticket(&self, name: &str) -> u64;

    /// How long a host whose poll brought nothing shall wait before the next one, in milliseconds; none if polls are held
    /// until there is something.
    fn again_after_ms(&self) -> Option<u64> {
        None
    }

    /// How long the host `name` has not asked for work while this process listened; none where others listen as well, so
    /// that only the table can tell.
    fn unheard(&self, _name: &str) -> Option<Unheard> {
        None
    }

    /// Waits up to `wait_ms` for offers to `name` that came after `ticket`.
    async fn wait(&self, name: &str, ticket: u64, wait_ms: u64) -> Vec<Offer>;
}

/// How long a host was not heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unheard {
    /// In milliseconds; 0 while a question of it is held.
    pub ms: u64,
    /// Whether it was heard of before, since this process listens.
    pub was_heard: bool,
}
