//! What Cutover does: the ports that it needs, the driver of deployments, and the use cases. No AWS and no HTTP here;
//! home, the cloud and the simulator differ only in what is plugged into the ports.

mod base;
mod content;
pub mod deployment_stepper;
mod error;
pub mod fleet_watcher;
pub mod hook_dispatcher;
pub mod host_api;
pub mod operator_api;
pub mod performing;
pub mod ports;
pub mod revision_intake;
pub mod rows;
pub mod settings;
pub mod steady;
pub mod table;
pub mod traffic_evaluator;

use std::sync::Arc;

use sha2::{Digest, Sha256};

pub use base::{Base, start};
pub use deployment_stepper::DeploymentStepper;
pub use error::Error;
pub use fleet_watcher::FleetWatcher;
pub use hook_dispatcher::HookDispatcher;
pub use host_api::{Followed, Gates, HostApi};
pub use operator_api::OperatorApi;
use performing::Handover;
use ports::{Bundles, Cloud, Dispatcher, Traffic};
pub use revision_intake::RevisionIntake;
pub use traffic_evaluator::TrafficEvaluator;

/// Every role with all that they need plugged in, as a home and the simulator have them in one process. A function has
/// one role, with the ports of that alone.
#[derive(Clone)]
pub struct Control {
    /// What every role works on.
    pub base: Base,
    /// The bytes of revisions.
    pub bundles: Arc<dyn Bundles>,
    /// Reaches hosts.
    pub dispatcher: Arc<dyn Dispatcher>,
    /// What only a cloud installation has.
    pub cloud: Cloud,
    /// Moves traffic, and watches it.
    pub traffic: Traffic,
    /// Where this installation is.
    pub place: Place,
    /// Deployments whose output somebody follows.
    pub followed: Followed,
    /// Gates as they were a moment ago.
    pub gates: Gates,
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
            kept_bundles_ms: 30 * revision_intake::bundles::DAY_MS,
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
    /// Takes uploads and pins revisions.
    pub fn revision_intake(&self) -> RevisionIntake {
        RevisionIntake { base: self.base.clone(), bundles: self.bundles.clone() }
    }

    /// Decides for deployments. What it decides is performed here, unless it can be handed over.
    pub fn deployment_stepper(&self) -> DeploymentStepper {
        DeploymentStepper {
            base: self.base.clone(),
            errands: self.cloud.errands.clone(),
            handover: Handover::Here(Box::new(self.clone())),
        }
    }

    /// Brings hosts their commands.
    pub fn hook_dispatcher(&self) -> HookDispatcher {
        HookDispatcher {
            base: self.base.clone(),
            dispatcher: self.dispatcher.clone(),
            push: self.cloud.push.clone(),
            fleet: self.cloud.fleet.clone(),
        }
    }

    /// Moves traffic, reads alarms, and sweeps.
    pub fn traffic_evaluator(&self) -> TrafficEvaluator {
        TrafficEvaluator {
            base: self.base.clone(),
            traffic: self.traffic.clone(),
            cloud: self.cloud.clone(),
            handover: Handover::Here(Box::new(self.clone())),
        }
    }

    /// Finds hosts, and looks after those that come and go.
    pub fn fleet_watcher(&self) -> FleetWatcher {
        FleetWatcher {
            base: self.base.clone(),
            cloud: self.cloud.clone(),
            balancers: self.traffic.balancers.clone(),
        }
    }

    /// Answers hosts.
    pub fn host_api(&self) -> HostApi {
        HostApi {
            base: self.base.clone(),
            bundles: self.bundles.clone(),
            dispatcher: self.dispatcher.clone(),
            balancers: self.traffic.balancers.clone(),
            followed: self.followed.clone(),
            gates: self.gates.clone(),
        }
    }

    /// Answers operators.
    pub fn operator_api(&self) -> OperatorApi {
        OperatorApi {
            base: self.base.clone(),
            bundles: self.bundles.clone(),
            errands: self.cloud.errands.clone(),
            keeper: self.traffic.keeper.clone(),
            balancers: self.traffic.balancers.clone(),
            alarms: self.traffic.alarms.clone(),
            place: self.place.clone(),
            followed: self.followed.clone(),
        }
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
