//! Zone by zone: whose turn it is, what the rule of a zone demands besides that of the fleet, and how long a zone bakes
//! (`docs/semantics.md#zones`).
//!
//! Zones are climbed as the rungs of a ladder are: the place on the ladder is the number of the zone whose turn it is.
//! So people pause, promote and skip a bake in the same words.

use super::failure::{Failure, FailureCode};
use super::state::Deployment;
use crate::Timestamp;
use crate::health::Fleet;
use crate::zonal::{Zonal, Zone};

impl Deployment {
    /// How long the zone `number` bakes before the next one, in milliseconds; none behind the last zone.
    pub(super) fn zone_bakes_ms(&self, zonal: &Zonal, number: u32) -> Option<u64> {
        let (_, fleet) = self.hosts.zone(number)?;
        let is_last = self.hosts.zone(number + 1).is_none();
        // Where nothing was deployed, because all hosts have vanished, there is nothing to look at.
        Some(if is_last || fleet.ended() == 0 { 0 } else { zonal.bake_ms_of(number) })
    }

    /// How long all zones bake, in milliseconds.
    pub(super) fn zones_bake_ms(&self) -> u64 {
        let Some(zonal) = &self.order.zonal else { return 0 };
        let zones = u32::try_from(self.hosts.zones().len()).unwrap_or(u32::MAX);
        let bakes = (0..zones.saturating_sub(1)).map(|number| zonal.bake_ms_of(number));
        bakes.fold(0, u64::saturating_add)
    }

    /// Whether the hosts of a zone have ended, and as well as its rule demands.
    pub(super) fn is_zone_through(&self, zonal: &Zonal, number: u32) -> bool {
        let zone = self.hosts.zone(number);
        zone.is_some_and(|(_, fleet)| has_ended(&fleet) && is_good(zonal, &fleet))
    }

    /// The zone whose turn it is at `now`, if its rule is broken: then no later one is begun.
    pub(super) fn broken_zone(&self, now: Timestamp) -> Option<(&Zone, Fleet)> {
        let zonal = self.order.zonal.as_ref()?;
        let (zone, fleet) = self.hosts.zone(self.climb_at(now).rung)?;
        let is_bad = has_ended(&fleet) && !is_good(zonal, &fleet);
        (is_bad || zonal.rule().must_stop(&fleet)).then_some((zone, fleet))
    }

    /// How many more hosts the rules let start at `now`: that of the fleet, and that of the zone whose turn it is. Hosts
    /// that arrived are in no zone, and go first.
    pub(super) fn rules_allow(&self, fleet: &Fleet, now: Timestamp) -> u32 {
        let rule = &self.order.rule;
        let Some(turn) = self.turn(now) else { return rule.may_start(fleet) };
        let Turn { arrived, zone, of_zone } = turn;
        let unhealthy = arrived.saturating_add(zone.untouched_unhealthy);
        let of_fleet = rule.may_start_of(fleet, unhealthy, zone.untouched_healthy);
        of_fleet.min(arrived.saturating_add(of_zone))
    }

    /// Whether no further host may be started for the rest of the deployment.
    pub(super) fn must_stop(&self, fleet: &Fleet, now: Timestamp) -> bool {
        let rule = &self.order.rule;
        let Some(turn) = self.turn(now) else { return rule.must_stop(fleet) };
        if fleet.untouched() == 0 {
            return false;
        }
        // While a zone bakes, nobody has its turn and nobody is stuck.
        let has_turn = turn.arrived + turn.zone.untouched() > 0;
        let is_stuck = has_turn && fleet.in_flight == 0 && self.rules_allow(fleet, now) == 0;
        rule.is_broken_by(fleet) || self.broken_zone(now).is_some() || is_stuck
    }

    /// The next hosts to be started at `now`, `limit` at most.
    pub(super) fn next_hosts(&self, limit: u32, now: Timestamp) -> Vec<u32> {
        match self.turn(now) {
            Some(_) => self.hosts.next_untouched_in(self.climb_at(now).rung, limit).collect(),
            None => self.hosts.next_untouched(limit).collect(),
        }
    }

    /// Whose turn it is at `now`; none where hosts do not go zone by zone.
    fn turn(&self, now: Timestamp) -> Option<Turn> {
        let zonal = self.order.zonal.as_ref()?;
        let zone = self.hosts.zone(self.climb_at(now).rung);
        let zone = zone.map(|(_, fleet)| fleet).unwrap_or_default();
        let (arrived, of_zone) = (self.hosts.arrived_untouched(), zonal.rule().may_start(&zone));
        Some(Turn { arrived, zone, of_zone })
    }

    /// The failure of a deployment with a zone that could not be deployed to at all.
    pub(super) fn impossible_zone(&self) -> Option<Failure> {
        let rule = self.order.zonal.as_ref()?.rule();
        let fleets = (0..).map_while(|number| self.hosts.zone(number));
        let mut fleets = fleets.filter(|(_, fleet)| fleet.total() > 0);
        let (zone, fleet) = fleets.find(|(_, fleet)| !rule.admits(fleet.total()))?;
        let message = format!(
            "`{}` keeps {} hosts healthy in each zone, and there are {} {zone}: none could be deployed to there. \
             Choose a configuration that spares at least one host of each zone.",
            self.order.config,
            rule.required(fleet.total()),
            fleet.total()
        );
        Some(Failure { code: FailureCode::HealthConstraintsInvalid, message })
    }

    /// Why the hosts are not healthy enough at `now`: those of the fleet, or those of the zone whose turn it is.
    pub(super) fn unhealthy_message_at(&self, fleet: &Fleet, now: Timestamp) -> String {
        let Some((zone, of_zone)) = self.broken_zone(now) else {
            let place = self.hosts.zone(self.climb_at(now).rung);
            let place = place.map(|(zone, _)| format!(" It had come to the {zone}."));
            return self.unhealthy_message(fleet) + &place.unwrap_or_default();
        };
        let rule = self.order.zonal.unwrap_or_default().rule();
        let (failed, total) = (of_zone.failed, of_zone.total());
        let mut message = match failed {
            0 => format!("None of the {total} {zone} can be spared"),
            _ => format!("Too many {zone} failed: {failed} of {total} failed"),
        };
        message.push_str(&format!(
            ", and `{}` demands {} healthy ones in each zone.",
            self.order.config,
            rule.required(total).max(1)
        ));
        if fleet.untouched() > 0 {
            message.push_str(&format!(" {} hosts were left as they were.", fleet.untouched()));
        }
        message
    }
}

/// Whose turn it is.
struct Turn {
    /// Hosts that arrived and are not started.
    arrived: u32,
    /// The hosts of the zone.
    zone: Fleet,
    /// How many of them the zone's rule lets start.
    of_zone: u32,
}

fn has_ended(zone: &Fleet) -> bool {
    zone.untouched() == 0 && zone.in_flight == 0
}

/// Whether the hosts of a zone that have ended did so as its rule demands. Where all that are left have succeeded, they
/// did, however many have vanished.
fn is_good(zonal: &Zonal, zone: &Fleet) -> bool {
    zone.succeeded == zone.total() || zonal.rule().is_met(zone)
}
