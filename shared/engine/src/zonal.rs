//! Zonal configurations: availability zones are deployed to one after another, and each is watched before the next
//! (`docs/semantics.md#zones`).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::health::{Minimum, Rule};

/// Longest that one zone may bake, in milliseconds: as long as a whole ladder may.
pub const BAKE_MS_MAX: u64 = crate::ladder::BAKE_MS_MAX;

/// Most zones of a deployment: what there is beyond them goes together as the last one. Each is a record in the row.
pub const ZONES_MAX: usize = 40;

/// Most bytes of a zone's name.
pub const NAME_BYTES_MAX: usize = 64;

/// How zones are gone through. What is absent was not said.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Zonal {
    /// How long the first zone bakes, in milliseconds; as long as the others unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_bake_ms: Option<u64>,
    /// How long each other zone bakes, in milliseconds; not at all unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake_ms: Option<u64>,
    /// How many hosts of each zone stay healthy, besides what the rule of the fleet demands; none unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<Minimum>,
}

impl Zonal {
    /// How long the zone `number`, from 0, bakes before the next one, in milliseconds.
    pub fn bake_ms_of(&self, number: u32) -> u64 {
        let first = self.first_bake_ms.filter(|_| number == 0);
        first.or(self.bake_ms).unwrap_or(0)
    }

    /// The rule that each zone has for itself.
    pub fn rule(&self) -> Rule {
        Rule { minimum: self.minimum.unwrap_or(Minimum::FleetPercent(0)), predefined: false }
    }
}

/// A zone of a deployment. Its hosts have ordinals that follow each other, and so have the zones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Zone {
    /// Its name; none of the last one, where the hosts are of which no zone is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How many hosts it has.
    pub hosts: u32,
    /// How many of them were unhealthy, or new to the group, and come first.
    pub unhealthy: u32,
}

/// As `hosts of the zone a`, after a number or an article.
impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "hosts of the zone `{name}`"),
            None => f.write_str("hosts without a zone"),
        }
    }
}

/// The zone that a tag names, if it can be the name of one.
pub fn name_in(tag: &str) -> Option<&str> {
    Some(tag.trim()).filter(|name| (1..=NAME_BYTES_MAX).contains(&name.len()))
}

/// What zones are sorted by: their names, and last the hosts without one.
pub fn place(name: Option<&str>) -> (bool, &str) {
    (name.is_none(), name.unwrap_or_default())
}

/// The zones of hosts that are in the order of their deployment, each host with its zone and whether it is unhealthy.
///
/// A host that comes after those of a later zone goes with these: it was found when the hosts of its own zone had their
/// places already. So no host goes before its zone does.
pub fn zones_of<'a>(hosts: impl IntoIterator<Item = (Option<&'a str>, bool)>) -> Vec<Zone> {
    let mut zones: Vec<Zone> = Vec::new();
    for (name, is_unhealthy) in hosts {
        let is_full = zones.len() + 1 >= ZONES_MAX;
        match zones.last_mut() {
            Some(last) if place(name) <= place(last.name.as_deref()) => {
                last.hosts += 1;
                last.unhealthy += u32::from(is_unhealthy);
            }
            _ => zones.push(Zone {
                name: name.filter(|_| !is_full).map(str::to_owned),
                hosts: 1,
                unhealthy: u32::from(is_unhealthy),
            }),
        }
    }
    zones
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(zones: &[Zone]) -> Vec<String> {
        zones.iter().map(|zone| format!("{zone}: {} of {}", zone.unhealthy, zone.hosts)).collect()
    }

    #[test]
    fn zones_are_counted_in_their_order_and_hosts_without_one_come_last() {
        let hosts = [(Some("a"), true), (Some("a"), false), (Some("c"), false), (None, true)];
        let expected = [
            "hosts of the zone `a`: 1 of 2",
            "hosts of the zone `c`: 0 of 1",
            "hosts without a zone: 1 of 1",
        ];
        assert_eq!(told(&zones_of(hosts)), expected);
        assert!(zones_of([]).is_empty());
    }

    #[test]
    fn a_host_that_was_found_too_late_for_its_zone_goes_with_a_later_one() {
        let hosts = [(Some("a"), false), (Some("b"), false), (Some("a"), true), (Some("c"), false)];
        let expected = [
            "hosts of the zone `a`: 0 of 1",
            "hosts of the zone `b`: 1 of 2",
            "hosts of the zone `c`: 0 of 1",
        ];
        assert_eq!(told(&zones_of(hosts)), expected);
    }

    #[test]
    fn there_are_never_more_zones_than_the_row_can_hold() {
        let names: Vec<String> = (0..100).map(|number| format!("zone-{number:03}")).collect();
        let zones = zones_of(names.iter().map(|name| (Some(name.as_str()), false)));
        assert_eq!(zones.len(), ZONES_MAX);
        let last = zones.last().unwrap();
        assert_eq!((last.name.as_deref(), last.hosts), (None, 61));
        assert_eq!(zones.iter().map(|zone| zone.hosts).sum::<u32>(), 100);
    }

    #[test]
    fn the_first_zone_bakes_as_the_others_unless_it_is_said() {
        let mut zonal = Zonal { bake_ms: Some(5), ..Zonal::default() };
        assert_eq!([0, 1].map(|number| zonal.bake_ms_of(number)), [5, 5]);
        zonal.first_bake_ms = Some(9);
        assert_eq!([0, 1].map(|number| zonal.bake_ms_of(number)), [9, 5]);
        assert_eq!(Zonal::default().bake_ms_of(0), 0);
    }

    #[test]
    fn a_tag_names_a_zone_if_it_is_neither_empty_nor_too_long() {
        assert_eq!(name_in(" rack-1 "), Some("rack-1"));
        assert_eq!(name_in("  "), None);
        assert_eq!(name_in(&"z".repeat(65)), None);
    }
}
