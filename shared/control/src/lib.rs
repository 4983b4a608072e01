//! What Cutover does: the ports that it needs, the driver of deployments, and the use cases. No AWS and no HTTP here;
//! home, the cloud and the simulator differ only in what is plugged into the ports.

mod content;
pub mod driver;
mod error;
mod exchange;
pub mod fleet;
mod functions;
pub mod hosts;
pub mod intake;
mod old_hosts;
mod operations;
pub mod ports;
pub mod rows;
mod services;
pub mod settings;
mod shift;
pub mod start;
pub mod table;
mod traffic;
mod watch;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use engine::{DeploymentId, Timestamp};
use sha2::{Digest, Sha256};

pub use error::Error;
use ports::{Bell, Bundles, Clock, Cloud, Dispatcher, Entropy, Meter, Traffic};
use table::Table;

/// The use cases, with everything that they need plugged in.
#[derive(Clone)]
pub struct Control {
    /// The table.
    pub table: Arc<dyn Table>,
    /// The bytes of revisions.
    pub bundles: Arc<dyn Bundles>,
    /// Wakes deployments.
    pub bell: Arc<dyn Bell>,
    /// Reaches hosts.
    pub dispatcher: Arc<dyn Dispatcher>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// What only a cloud installation has.
    pub cloud: Cloud,
    /// Moves traffic, and watches it.
    pub traffic: Traffic,
    /// Takes measurements.
    pub meter: Arc<dyn Meter>,
    /// What the installation is set to.
    pub settings: Settings,
    /// Where this installation is.
    pub place: Place,
    /// Deployments whose output somebody follows, and when that was last said.
    pub followed: Arc<Mutex<BTreeMap<DeploymentId, Timestamp>>>,
}

/// What an installation is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Most hosts that a deployment sends their command within a second.
    pub start_ramp: u32,
    /// How often alarms are read while a deployment is under way, in milliseconds.
    pub alarm_every_ms: u64,
    /// How soon a host asks again that waits for its balancer, in milliseconds.
    pub traffic_look_ms: u64,
    /// How much later it asks at most, when it has waited for long, in milliseconds.
    pub traffic_look_max_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            start_ramp: 500,
            alarm_every_ms: 10_000,
            traffic_look_ms: 2_000,
            traffic_look_max_ms: 10_000,
        }
    }
}

/// Where an installation is: what its ARNs name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The account's twelve digits.
    pub account: String,
    /// The region.
    pub region: String,
}

impl Control {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }

    fn new_deployment_id(&self) -> DeploymentId {
        DeploymentId::from_random(self.random())
    }

    /// An id for a request, to find it by in logs: a UUID.
    pub fn new_request_id(&self) -> String {
        engine::GroupId::from_random(self.random()).as_str().to_owned()
    }

    fn new_token(&self) -> String {
        hex::encode(self.random::<32>())
    }
}

/// SHA-256 of a secret in hex: what is stored of it.
pub fn hash_of(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}
