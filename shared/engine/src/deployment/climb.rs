//! Climbing a ladder, or going from zone to zone: how many hosts may be reached now, and what people may say about it
//! (`docs/semantics.md#ladders`).

use super::state::{Climb, Deployment, Steering};
use crate::Timestamp;
use crate::health::Fleet;
use crate::ladder::{Rung, Share};

impl Deployment {
    /// Where the deployment stands on its ladder.
    pub fn climb(&self) -> Climb {
        self.climb
    }

    /// What people want of it.
    pub fn steering(&self) -> Steering {
        self.steering
    }

    /// When the rung or the zone that bakes has baked, if nothing comes between; none while it is paused.
    pub fn bakes_until(&self) -> Option<Timestamp> {
        self.has_baked_at(self.climb, self.latest)
    }

    /// When what bakes at `now` has baked.
    pub(super) fn has_baked_at(&self, climb: Climb, now: Timestamp) -> Option<Timestamp> {
        let since = climb.baking_since.filter(|_| !self.steering.paused)?;
        Some(self.without_pause(since, now).plus_ms(self.bake_ms(climb.rung)?))
    }

    /// How long the rung or the zone `number` bakes, in milliseconds; none behind the last one.
    fn bake_ms(&self, number: u32) -> Option<u64> {
        match &self.order.zonal {
            Some(zonal) => self.zone_bakes_ms(zonal, number),
            None => self.order.ladder.get(number).map(|rung| rung.bake_ms),
        }
    }

    /// Whether time alone has changed where the deployment stands, on its ladder or in a shift.
    pub fn moves_at(&self, now: Timestamp) -> bool {
        let now = now.max(self.latest);
        self.pause_changes()
            || self.climb_at(now) != self.climb
            || self.shifting_at(now) != self.shifting
    }

    /// Where the deployment stands on its ladder or among its zones at `now`.
    pub(super) fn climb_at(&self, now: Timestamp) -> Climb {
        let mut climb = self.climb;
        while let Some(bake_ms) = self.bake_ms(climb.rung) {
            let is_full = match &self.order.zonal {
                Some(zonal) => self.is_zone_through(zonal, climb.rung),
                None => {
                    self.order.ladder.get(climb.rung).is_some_and(|rung| self.has_reached(rung))
                }
            };
            let since = match climb.baking_since {
                Some(since) => since,
                None if is_full => now,
                None => break,
            };
            climb.baking_since = Some(since);
            let bakes_no_more = self.steering.promoted || climb.rung < self.steering.baked_below;
            let has_baked = bakes_no_more || now >= self.without_pause(since, now).plus_ms(bake_ms);
            if !has_baked || self.steering.paused {
                break;
            }
            climb = Climb { rung: climb.rung + 1, baking_since: None };
        }
        climb
    }

    /// Whether as much has the new version as a rung says.
    fn has_reached(&self, rung: Rung) -> bool {
        match self.percent() {
            // Before it is to have any traffic, the new side has none.
            Some(percent) => percent >= percent_of(rung),
            None => {
                let fleet = self.hosts.fleet();
                self.sealed && fleet.ended() >= rung.share.of_hosts(fleet.total()).max(1)
            }
        }
    }

    /// Whether no rung is left to be climbed at `now`, and no zone to be gone to.
    pub(super) fn has_climbed(&self, now: Timestamp) -> bool {
        self.bake_ms(self.climb_at(now).rung).is_none()
    }

    /// How many more hosts the ladder and people let start at `now`.
    pub(super) fn ladder_allows(&self, fleet: &Fleet, now: Timestamp) -> u32 {
        if self.steering.paused {
            return 0;
        }
        match self.order.ladder.get(self.climb_at(now).rung) {
            Some(rung) if !self.steering.promoted && self.order.shift.is_none() => {
                let started = fleet.total() - fleet.untouched();
                rung.share.of_hosts(fleet.total()).saturating_sub(started)
            }
            Some(_) | None => u32::MAX,
        }
    }

    /// Takes what people want, if it is newer than what is known.
    pub(super) fn steer(&mut self, steering: Steering) -> bool {
        let is_new = steering.version > self.steering.version;
        if is_new {
            self.steering = steering;
        }
        is_new
    }
}

/// How much of the traffic a rung is, in percent.
pub(super) fn percent_of(rung: Rung) -> u8 {
    match rung.share {
        Share::Percent(percent) => percent,
        // Refused where the order is made: traffic is not counted in hosts.
        Share::Hosts(_) => 1,
    }
}
