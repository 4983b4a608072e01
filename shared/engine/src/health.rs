//! The rule of minimum healthy hosts: how many hosts may be in flight, when a deployment stops, and whether it has
//! succeeded (`docs/semantics.md#minimum-healthy-hosts`).

use serde::{Deserialize, Serialize};

/// What a deployment configuration demands of a fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// How many hosts stay healthy.
    pub minimum: Minimum,
    /// Whether the configuration is one of CodeDeploy's own; those also run on fleets that they could not spare a host
    /// of, such as a single host.
    pub predefined: bool,
}

/// How many hosts stay healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Minimum {
    /// One host is in flight at most, and all but the last one must succeed.
    OneAtATime,
    /// This many hosts.
    HostCount(u32),
    /// This share of the fleet in percent, rounded up.
    FleetPercent(u8),
}

/// A fleet in the middle of a deployment, counted. Hosts that vanished are in none of the counts.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Fleet {
    /// Hosts not started that were unhealthy, or new to the group, when the deployment began.
    pub untouched_unhealthy: u32,
    /// Those of them that have no traffic: starting them takes nothing out of service.
    pub untouched_out: u32,
    /// Hosts not started that were healthy when the deployment began.
    pub untouched_healthy: u32,
    /// Hosts that were sent a command and have not ended.
    pub in_flight: u32,
    /// Hosts that ended well.
    pub succeeded: u32,
    /// Hosts that ended badly or fell silent.
    pub failed: u32,
    /// Hosts that the deployment does not go to.
    pub left_alone: LeftAlone,
}

/// Hosts of a group that a rollback leaves alone, because what it rolls back never started on them. They count as what
/// they are, and stay it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftAlone {
    /// Those that are healthy.
    pub healthy: u32,
    /// Those that are unhealthy, or new to the group.
    pub unhealthy: u32,
}

impl LeftAlone {
    /// Whether there are none.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Fleet {
    /// All hosts.
    pub fn total(&self) -> u32 {
        self.own() + self.left_alone.healthy + self.left_alone.unhealthy
    }

    /// The hosts that the deployment goes to.
    pub fn own(&self) -> u32 {
        self.untouched() + self.in_flight + self.succeeded + self.failed
    }

    /// Hosts that were started and have ended.
    pub fn ended(&self) -> u32 {
        self.succeeded + self.failed
    }

    /// Hosts not started.
    pub fn untouched(&self) -> u32 {
        self.untouched_unhealthy + self.untouched_healthy
    }
}

impl Rule {
    /// How many of `total` hosts must stay, or end, healthy.
    pub fn required(&self, total: u32) -> u32 {
        match self.minimum {
            Minimum::OneAtATime => total.saturating_sub(1).max(1),
            Minimum::HostCount(count) => count,
            Minimum::FleetPercent(percent) => {
                let share = (u64::from(total) * u64::from(percent)).div_ceil(100);
                u32::try_from(share).unwrap_or(u32::MAX)
            }
        }
    }

    /// Whether a fleet of `total` hosts can be deployed to at all: at least one host must be spared.
    pub fn admits(&self, total: u32) -> bool {
        total > 0 && (self.predefined || self.required(total) < total)
    }

    /// How many more hosts may start now: first of those that were unhealthy, then of the healthy ones.
    pub fn may_start(&self, fleet: &Fleet) -> u32 {
        self.may_start_of(fleet, fleet.untouched_unhealthy, fleet.untouched_healthy)
    }

    /// The same where only so many of the hosts that are not started have their turn.
    pub fn may_start_of(&self, fleet: &Fleet, unhealthy: u32, healthy: u32) -> u32 {
        let total = fleet.total();
        let spared = total.saturating_sub(self.required(total)).max(1);
        let concurrent = if self.minimum == Minimum::OneAtATime { 1 } else { spared };
        let slots = concurrent.saturating_sub(fleet.in_flight);
        let unhealthy = slots.max(fleet.untouched_out).min(unhealthy);
        let left = slots.saturating_sub(unhealthy);
        unhealthy + left.min(self.healthy_to_spare(fleet)).min(healthy)
    }

    /// How many healthy hosts may be taken out without falling below the minimum.
    fn healthy_to_spare(&self, fleet: &Fleet) -> u32 {
        let total = fleet.total();
        let mut minimum = self.minimum(total);
        let LeftAlone { healthy: others, unhealthy } = fleet.left_alone;
        if unhealthy > 0 {
            // No host of this deployment can make up for them, and one at a time has to go on all the same.
            minimum = minimum.min((total - unhealthy).saturating_sub(1));
        }
        (fleet.untouched_healthy + fleet.succeeded + others).saturating_sub(minimum)
    }

    /// How many of `total` hosts have to stay in service. A predefined rule always spares one.
    pub fn minimum(&self, total: u32) -> u32 {
        let required = self.required(total);
        if self.predefined { required.min(total.saturating_sub(1)) } else { required }
    }

    /// Whether no further host may be started for the rest of the deployment: too many failed, or none can be spared
    /// and nothing in flight will change that.
    pub fn must_stop(&self, fleet: &Fleet) -> bool {
        if fleet.untouched() == 0 {
            return false;
        }
        self.is_broken_by(fleet) || (fleet.in_flight == 0 && self.may_start(fleet) == 0)
    }

    /// Whether so many hosts have failed that no other one may.
    pub fn is_broken_by(&self, fleet: &Fleet) -> bool {
        let total = fleet.total();
        let unhealthy = fleet.failed + fleet.left_alone.unhealthy;
        fleet.failed > 0 && total - unhealthy <= self.required(total)
    }

    /// Whether a fleet with nothing in flight and nothing left to start has been deployed to successfully. Where all
    /// hosts are left alone there was nothing to do.
    pub fn is_met(&self, fleet: &Fleet) -> bool {
        if fleet.own() == 0 {
            return fleet.total() > 0;
        }
        fleet.succeeded > 0
            && fleet.untouched() == 0
            && fleet.succeeded + fleet.left_alone.healthy >= self.required(fleet.total())
    }
}

#[cfg(test)]
mod tests;
