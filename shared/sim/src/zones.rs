//! Availability zones of the simulated world, and what must hold of deployments that go from one to the next.

use engine::deployment::{Deployment, HostState, Hosts};
use engine::health::Minimum;
use engine::zonal::{self, Zonal};

use crate::checks::{Checks, demand};
use crate::random::Random;
use crate::rule;

/// What a seed decides about zones.
#[derive(Debug, Clone)]
pub(crate) struct ZoneStory {
    zones: usize,
    /// What the configurations of users say about them.
    pub(crate) zonal: Zonal,
}

impl ZoneStory {
    /// Every third world has zones. Its chance is its own, so that other worlds stay what they are.
    pub(crate) fn by_chance(seed: u64) -> Option<Self> {
        let mut random = Random::new(seed ^ 0x007a_6f6e_6573);
        if !random.of_ten_thousand(3_333) {
            return None;
        }
        let zones = usize::try_from(random.between(1, 4)).unwrap_or(1);
        let mut some = |most: u64| random.of_ten_thousand(6_000).then(|| random.between(0, most));
        let (first_bake_ms, bake_ms, count) = (some(60_000), some(60_000), some(2));
        let percent = some(60);
        let count = count.and_then(|count| u32::try_from(count).ok()).map(Minimum::HostCount);
        let percent = percent.and_then(|share| u8::try_from(share).ok()).map(Minimum::FleetPercent);
        Some(Self { zones, zonal: Zonal { first_bake_ms, bake_ms, minimum: percent.or(count) } })
    }

    /// The zone of a host; every fifth one has none.
    pub(crate) fn zone_of(&self, host: usize) -> Option<String> {
        (host % 5 != 4).then(|| format!("zone-{}", host * 7 % self.zones))
    }
}

/// The number of the zone of a host that was enrolled, where hosts go zone by zone.
fn zone_at(hosts: &Hosts, ordinal: u32) -> Option<u32> {
    if ordinal >= hosts.enrolled() {
        return None;
    }
    let mut first = 0;
    (0..).zip(hosts.zones()).find_map(|(number, zone)| {
        first += zone.hosts;
        (ordinal < first).then_some(number)
    })
}

/// Whether a host is in the zone `number`.
pub(crate) fn is_in(hosts: &Hosts, number: u32, ordinal: u32) -> bool {
    zone_at(hosts, ordinal) == Some(number)
}

/// A host's place in the order of deployment: its zone, what it was, and its ordinal. Hosts that arrived are in no zone,
/// and go before others that wait; else they come after those that were unhealthy. What was healthy is of the kind 2.
pub(crate) fn place(hosts: &Hosts, ordinal: u32) -> (u32, u8, u32) {
    let Some(number) = zone_at(hosts, ordinal) else {
        let kind = match ordinal {
            _ if ordinal >= hosts.enrolled() => 1,
            _ if ordinal < hosts.unhealthy() => 0,
            _ => 2,
        };
        return (0, kind, ordinal);
    };
    let before = hosts.zones().zip(0..number);
    let first: u32 = before.map(|(zone, _)| zone.hosts).sum();
    let is_unhealthy = hosts.zone(number).is_some_and(|(zone, _)| ordinal < first + zone.unhealthy);
    (number + 1, if is_unhealthy { 0 } else { 2 }, ordinal)
}

/// How many steps a deployment has to climb: rungs, or zones.
pub(crate) fn top(deployment: &Deployment) -> u32 {
    match deployment.order().zonal {
        Some(_) => u32::try_from(deployment.hosts().zones().len()).unwrap_or(u32::MAX),
        None => deployment.order().ladder.len(),
    }
}

/// The zones are those that the rows of the hosts name, in their order, and nobody goes before its own zone.
pub(crate) fn roster_holds(checks: &Checks, deployment: &Deployment) -> Result<(), String> {
    let (id, hosts) = (deployment.id(), deployment.hosts());
    if deployment.order().zonal.is_none() {
        demand!(hosts.zones().len() == 0, "{id} has zones and was not asked to");
        return Ok(());
    }
    let names: Vec<Option<&str>> = hosts.zones().map(|zone| zone.name.as_deref()).collect();
    let is_sorted = names.is_sorted_by_key(|name| zonal::place(*name));
    demand!(is_sorted, "{id} has its zones in a wrong order: {names:?}");
    for ordinal in 0..hosts.enrolled() {
        let row = checks.hosts.get(id).and_then(|rows| rows.get(&ordinal));
        let number = zone_at(hosts, ordinal).and_then(|number| usize::try_from(number).ok());
        let name = number.and_then(|number| names.get(number));
        let (Some(row), Some(name)) = (row, name) else {
            return Err(format!("host {ordinal} of {id} is in none of {names:?}"));
        };
        let own = row.zone.as_deref();
        let is_early = zonal::place(own) > zonal::place(*name);
        demand!(!is_early, "host {ordinal} of {id} is in {own:?} and goes with {name:?}");
    }
    Ok(())
}

/// Who was started in a step has its turn: the zones before its own are through, and were watched.
pub(crate) fn turns_hold(old: &Deployment, new: &Deployment) -> Result<(), String> {
    let (id, hosts, now) = (new.id(), new.hosts(), new.latest());
    let Some(zonal) = new.order().zonal else { return Ok(()) };
    let (was, is, steering) = (old.climb(), new.climb(), new.steering());
    let states = |number: u32| {
        let ordinals = (0..hosts.enrolled()).filter(move |at| is_in(hosts, number, *at));
        ordinals.filter_map(|at| hosts.get(at)).map(|host| host.state)
    };
    let is_open = |state: HostState| state == HostState::Untouched || state.in_flight();
    demand!(is.rung <= top(new), "{id} is at the zone {} of {}", is.rung, top(new));
    for number in was.rung..is.rung {
        demand!(!states(number).any(is_open), "{id} leaves the zone {number} behind unfinished");
        demand!(rule::zone_is_good(new, number), "{id} leaves the broken zone {number} behind");
        let is_watched = number + 1 < top(new)
            && states(number).any(|state| state == HostState::Succeeded || state.is_failure());
        let since = was.baking_since.filter(|_| number == was.rung).unwrap_or(now);
        let is_excused = steering.promoted || number < steering.baked_below || !is_watched;
        let has_baked = now >= since.plus_ms(zonal.bake_ms_of(number));
        demand!(is_excused || has_baked, "{id} does not watch the zone {number}: {was:?}");
    }
    let newly = |at: &u32| {
        let attempt = |hosts: &Hosts| hosts.get(*at).map_or(0, |host| host.attempt);
        attempt(old.hosts()) == 0 && attempt(hosts) > 0
    };
    let started: Vec<u32> = (0..hosts.enrolled()).filter(newly).collect();
    let out_of_turn = started.iter().find(|at| zone_at(hosts, **at) != Some(is.rung));
    demand!(out_of_turn.is_none(), "{id} starts {out_of_turn:?} out of its turn: {is:?}");
    let open = (0..is.rung).find(|number| !started.is_empty() && states(*number).any(is_open));
    demand!(open.is_none(), "{id} starts {started:?} before the zone {open:?} is through");
    Ok(())
}
