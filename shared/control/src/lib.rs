//! What Cutover does: the ports that it needs, the driver of deployments, and the use cases. No AWS and no HTTP here;
//! home, the cloud and the simulator differ only in what is plugged into the ports.

mod before;
pub mod bundles;
mod content;
pub mod driver;
mod error;
mod exchange;
pub mod fleet;
mod functions;
pub mod hosts;
pub mod intake;
mod looks;
mod old_hosts;
mod operations;
pub mod ports;
pub mod rows;
mod services;
pub mod settings;
mod shift;
pub mod start;
pub mod steady;
pub mod table;
mod traffic;
pub mod unhandled;
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
    /// How long the bytes of a bundle that nothing needs any more are kept after they were last put, in milliseconds; a day
    /// at least.
    pub kept_bundles_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            start_ramp: 500,
            alarm_every_ms: 10_000,
            traffic_look_ms: 2_000,
            traffic_look_max_ms: 10_000,
            kept_bundles_ms: 30 * bundles::DAY_MS,
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

impl Place {
    /// The partition of AWS that the region is in, as ARNs name it.
    fn partition(&self) -> &'static str {
        const PARTITIONS: [(&str, &str); 8] = [
            ("cn-", "aws-cn"),
            ("us-gov-", "aws-us-gov"),
            ("us-isob-", "aws-iso-b"),
            ("us-isof-", "aws-iso-f"),
            ("us-iso-", "aws-iso"),
            ("eu-isoe-", "aws-iso-e"),
            ("eusc-", "aws-eusc"),
            ("", "aws"),
        ];
        let is_of = |(prefix, _): &&(&str, &str)| self.region.starts_with(prefix);
        PARTITIONS.iter().find(is_of).map_or("aws", |(_, partition)| partition)
    }

    /// The ARN of something of a service in this account and region.
    fn arn(&self, service: &str, resource: &str) -> String {
        let Self { account, region } = self;
        format!("arn:{}:{service}:{region}:{account}:{resource}", self.partition())
    }
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

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn an_arn_names_the_partition_that_its_region_is_in() {
        for (region, expected) in [
            ("eu-central-1", "arn:aws:ecs:eu-central-1:123456789012:service/a/b"),
            ("us-east-1", "arn:aws:ecs:us-east-1:123456789012:service/a/b"),
            ("cn-north-1", "arn:aws-cn:ecs:cn-north-1:123456789012:service/a/b"),
            ("us-gov-west-1", "arn:aws-us-gov:ecs:us-gov-west-1:123456789012:service/a/b"),
            ("us-iso-east-1", "arn:aws-iso:ecs:us-iso-east-1:123456789012:service/a/b"),
            ("us-isob-east-1", "arn:aws-iso-b:ecs:us-isob-east-1:123456789012:service/a/b"),
            ("eusc-de-east-1", "arn:aws-eusc:ecs:eusc-de-east-1:123456789012:service/a/b"),
        ] {
            let place = Place { account: "123456789012".to_owned(), region: region.to_owned() };
            assert_eq!(place.arn("ecs", "service/a/b"), expected);
        }
    }
}
