//! The hosts of a deployment, a byte each: state and attempt, in deployment order.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::health::{Fleet, LeftAlone};
use crate::zonal::Zone;

/// Where one host stands, as far as the deployment has to know. Everything else is on the host's own item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HostState {
    /// Nothing was sent to it yet.
    Untouched,
    /// A command is on its way.
    Sent,
    /// Half of the silence time-out went by and nobody claimed the command: it will be sent once more.
    Unclaimed,
    /// It claimed its command.
    Running,
    /// All its events ended well.
    Succeeded,
    /// One of its events failed.
    Failed,
    /// It claimed its command and was not heard of again.
    Silent,
    /// It never claimed its command.
    NotStarted,
    /// The deployment ended before it came to this host.
    Skipped,
    /// It does not exist any more, on explicit evidence, and is counted no more.
    Gone,
}

impl HostState {
    const ALL: [Self; 10] = [
        Self::Untouched,
        Self::Sent,
        Self::Unclaimed,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Silent,
        Self::NotStarted,
        Self::Skipped,
        Self::Gone,
    ];

    /// Whether a command for the host is out and has not ended.
    pub fn in_flight(self) -> bool {
        matches!(self, Self::Sent | Self::Unclaimed | Self::Running)
    }

    /// Whether a command was claimed, or there will be none.
    pub(super) fn is_running_or_over(self) -> bool {
        !matches!(self, Self::Untouched | Self::Sent | Self::Unclaimed)
    }

    /// Whether the host ended badly.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Silent | Self::NotStarted)
    }

    fn index(self) -> usize {
        Self::ALL.iter().position(|state| *state == self).unwrap_or(0)
    }
}

/// One host: its state and the attempt that it belongs to (0 before the first).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// Where it stands.
    pub state: HostState,
    /// The attempt, up to [`Hosts::ATTEMPTS_MAX`].
    pub attempt: u8,
}

/// All hosts, by ordinal. Written as one letter per host; the counts beside it are derived from the letters whenever
/// they are read, and kept by the only function that changes a host.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Hosts {
    packed: Vec<u8>,
    /// Ordinals below this were unhealthy, or new to the group, when the deployment began. Where there are zones, so
    /// many were in all of them.
    unhealthy: u32,
    /// Ordinals from this on arrived later, and are new to the group.
    enrolled: u32,
    /// Ordinals below this had no traffic when the deployment began. They are among the unhealthy.
    out: u32,
    /// How many of them are untouched.
    out_untouched: u32,
    counts: Counts,
    /// The zones that the enrolled hosts are in, where they are gone through one after another.
    zones: Vec<Tally>,
    first_untouched: u32,
    left_alone: LeftAlone,
}

/// How many hosts are in each state: first those that were unhealthy or are new, then the others.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Counts([[u32; 10]; 2]);

impl Counts {
    fn of(&self, state: HostState) -> u32 {
        self.0.iter().filter_map(|side| side.get(state.index())).sum()
    }

    fn slot(&mut self, is_new: bool, state: HostState) -> &mut u32 {
        let [bad, good] = &mut self.0;
        let index = state.index();
        let [first, rest @ ..] = if is_new { bad } else { good };
        if index == 0 { first } else { rest.get_mut(index - 1).unwrap_or(first) }
    }

    fn fleet(&self) -> Fleet {
        let [[untouched_unhealthy, ..], [untouched_healthy, ..]] = self.0;
        let sum = |pick: fn(HostState) -> bool| {
            HostState::ALL.into_iter().filter(|s| pick(*s)).map(|s| self.of(s)).sum()
        };
        Fleet {
            untouched_unhealthy,
            untouched_out: 0,
            untouched_healthy,
            in_flight: sum(HostState::in_flight),
            succeeded: self.of(HostState::Succeeded),
            failed: sum(HostState::is_failure),
            left_alone: LeftAlone::default(),
        }
    }
}

/// A zone with its hosts, counted.
#[derive(Clone, PartialEq, Eq)]
struct Tally {
    zone: Zone,
    /// The ordinal of its first host.
    first: u32,
    counts: Counts,
}

impl Tally {
    /// The ordinals of the hosts that were unhealthy, and those of the others.
    fn ordinals(&self) -> [Range<u32>; 2] {
        let healthy = self.first.saturating_add(self.zone.unhealthy.min(self.zone.hosts));
        [self.first..healthy, healthy..self.first.saturating_add(self.zone.hosts)]
    }
}

impl Hosts {
    /// The highest attempt that can be kept.
    pub const ATTEMPTS_MAX: u8 = 3;

    /// Most hosts of a deployment, those that arrive later included.
    pub const MAX: u32 = 50_000;

    const LETTERS: &[u8; 40] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmn";

    /// `total` untouched hosts, of which the first `unhealthy` were unhealthy or new.
    pub fn untouched(total: u32, unhealthy: u32) -> Self {
        let hosts = usize::try_from(total).unwrap_or(0);
        Self::counted(vec![0; hosts], unhealthy, total, Vec::new())
    }

    /// The same hosts, of which the first `out` have no traffic. Those are unhealthy ones.
    #[must_use]
    pub fn with_out(self, out: u32) -> Self {
        let out = out.min(self.unhealthy).min(self.enrolled());
        let untouched = (0..out).filter(|ordinal| self.is_untouched(*ordinal)).count();
        Self { out, out_untouched: u32::try_from(untouched).unwrap_or(out), ..self }
    }

    /// The untouched hosts of these zones.
    pub fn untouched_in(zones: Vec<Zone>) -> Self {
        let sum = |of: fn(&Zone) -> u32| zones.iter().map(of).fold(0, u32::saturating_add);
        let (total, unhealthy) = (sum(|zone| zone.hosts), sum(|zone| zone.unhealthy));
        let hosts = usize::try_from(total).unwrap_or(0);
        Self::counted(vec![0; hosts], unhealthy, total, zones)
    }

    /// The same beside hosts of the group that are left alone.
    #[must_use]
    pub fn beside(self, left_alone: LeftAlone) -> Self {
        Self { left_alone, ..self }
    }

    fn counted(packed: Vec<u8>, unhealthy: u32, enrolled: u32, zones: Vec<Zone>) -> Self {
        let mut first = 0;
        let tally = |zone: Zone| {
            let tally = Tally { first, zone, counts: Counts::default() };
            first = first.saturating_add(tally.zone.hosts);
            tally
        };
        let zones = zones.into_iter().map(tally).collect();
        let counts = Counts::default();
        let (out, out_untouched, first_untouched) = (0, 0, 0);
        let left_alone = LeftAlone::default();
        let mut hosts = Self {
            packed,
            unhealthy,
            enrolled,
            out,
            out_untouched,
            counts,
            zones,
            first_untouched,
            left_alone,
        };
        for ordinal in 0..hosts.len() {
            let state = hosts.get(ordinal).map_or(HostState::Untouched, |host| host.state);
            hosts.recount(ordinal, |counts, is_new| *counts.slot(is_new, state) += 1);
        }
        hosts.skip_touched();
        hosts
    }

    /// The number of hosts, gone ones included.
    pub fn len(&self) -> u32 {
        u32::try_from(self.packed.len()).unwrap_or(u32::MAX)
    }

    /// Whether there is no host.
    pub fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }

    /// Appends untouched hosts until there are `total`; false if there are so many already.
    pub(super) fn grow(&mut self, total: u32) -> bool {
        let Ok(length) = usize::try_from(total) else { return false };
        if total <= self.len() || total > Self::MAX {
            return false;
        }
        let arrived = total - self.len();
        self.packed.resize(length, 0);
        *self.counts.slot(true, HostState::Untouched) += arrived;
        true
    }

    /// How many were unhealthy, or new to the group, when the deployment began.
    pub fn unhealthy(&self) -> u32 {
        self.unhealthy
    }

    /// How many had no traffic when the deployment began; they come before all others.
    pub fn out(&self) -> u32 {
        self.out
    }

    /// How many were there when the roster was sealed; those from this ordinal on arrived later.
    pub fn enrolled(&self) -> u32 {
        self.enrolled.min(self.len())
    }

    /// The zones that the enrolled hosts are in, in order; none where they are not gone through one after another.
    pub fn zones(&self) -> impl ExactSizeIterator<Item = &Zone> {
        self.zones.iter().map(|tally| &tally.zone)
    }

    /// The zone `number`, from 0, and its hosts as its own rule sees them.
    pub fn zone(&self, number: u32) -> Option<(&Zone, Fleet)> {
        let tally = self.zones.get(usize::try_from(number).ok()?)?;
        Some((&tally.zone, tally.counts.fleet()))
    }

    /// The host at `ordinal`.
    pub fn get(&self, ordinal: u32) -> Option<Host> {
        let byte = *self.packed.get(usize::try_from(ordinal).ok()?)?;
        Some(Host { state: *HostState::ALL.get(usize::from(byte % 10))?, attempt: byte / 10 })
    }

    /// How many hosts are in `state`.
    pub fn count(&self, state: HostState) -> u32 {
        self.counts.of(state)
    }

    /// The hosts as the rule of minimum healthy hosts sees them.
    pub fn fleet(&self) -> Fleet {
        let (untouched_out, left_alone) = (self.out_untouched, self.left_alone);
        Fleet { untouched_out, left_alone, ..self.counts.fleet() }
    }

    /// The hosts of the group that the deployment does not go to.
    pub fn left_alone(&self) -> LeftAlone {
        self.left_alone
    }

    /// How many hosts that arrived later are untouched, where there are zones. They are in none of them.
    pub(super) fn arrived_untouched(&self) -> u32 {
        let in_zones = self.zones.iter().map(|tally| tally.counts.fleet().untouched_unhealthy);
        self.fleet().untouched_unhealthy.saturating_sub(in_zones.sum())
    }

    /// The ordinals of the next `limit` untouched hosts: first those that were unhealthy, then those that arrived
    /// later, then the healthy ones.
    pub fn next_untouched(&self, limit: u32) -> impl Iterator<Item = u32> + '_ {
        let enrolled = self.enrolled();
        let unhealthy = 0..self.unhealthy.min(enrolled);
        self.untouched_of([unhealthy, enrolled..self.len(), self.unhealthy..enrolled], limit)
    }

    /// The same where the zone `number` has its turn, of which only its own hosts and those that arrived can be next.
    pub(super) fn next_untouched_in(
        &self,
        number: u32,
        limit: u32,
    ) -> impl Iterator<Item = u32> + '_ {
        let zone = usize::try_from(number).ok().and_then(|number| self.zones.get(number));
        let [unhealthy, healthy] = zone.map_or([0..0, 0..0], Tally::ordinals);
        self.untouched_of([self.enrolled()..self.len(), unhealthy, healthy], limit)
    }

    fn untouched_of(
        &self,
        ordinals: [Range<u32>; 3],
        limit: u32,
    ) -> impl Iterator<Item = u32> + '_ {
        let is_untouched = |ordinal: &u32| self.is_untouched(*ordinal);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let first = self.first_untouched;
        let left = move |range: Range<u32>| range.start.max(first)..range.end;
        ordinals.into_iter().flat_map(left).filter(is_untouched).take(limit)
    }

    fn is_untouched(&self, ordinal: u32) -> bool {
        self.get(ordinal).is_some_and(|host| host.state == HostState::Untouched)
    }

    /// Changes one host; the only way to.
    pub(super) fn set(&mut self, ordinal: u32, host: Host) {
        let Some(before) = self.get(ordinal) else { return };
        let Ok(index) = usize::try_from(ordinal) else { return };
        let Ok(state) = u8::try_from(host.state.index()) else { return };
        if let Some(byte) = self.packed.get_mut(index) {
            *byte = host.attempt.min(Self::ATTEMPTS_MAX) * 10 + state;
        }
        let is_begun = before.state == HostState::Untouched && host.state != before.state;
        self.out_untouched -= u32::from(is_begun && ordinal < self.out).min(self.out_untouched);
        self.recount(ordinal, |counts, is_new| {
            let count = counts.slot(is_new, before.state);
            *count = count.saturating_sub(1);
            *counts.slot(is_new, host.state) += 1;
        });
        self.skip_touched();
    }

    /// Changes the counts that a host is in: those of all hosts, and those of its zone.
    fn recount(&mut self, ordinal: u32, change: impl Fn(&mut Counts, bool)) {
        let after = self.zones.partition_point(|tally| tally.first <= ordinal);
        let has_arrived = ordinal >= self.enrolled;
        let zone = after.checked_sub(1).filter(|_| !has_arrived);
        let is_new = match zone.and_then(|at| self.zones.get_mut(at)) {
            Some(tally) => {
                let [unhealthy, _] = tally.ordinals();
                let is_new = unhealthy.contains(&ordinal);
                change(&mut tally.counts, is_new);
                is_new
            }
            None => ordinal < self.unhealthy || has_arrived,
        };
        change(&mut self.counts, is_new);
    }

    fn skip_touched(&mut self) {
        while self.get(self.first_untouched).is_some_and(|host| host.state != HostState::Untouched)
        {
            self.first_untouched += 1;
        }
    }
}

impl fmt::Debug for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hosts({} unhealthy of \"{}\")", self.unhealthy, self.letters())
    }
}

impl Hosts {
    fn letters(&self) -> String {
        let letter =
            |byte: &u8| char::from(Self::LETTERS.get(usize::from(*byte)).copied().unwrap_or(b'A'));
        self.packed.iter().map(letter).collect()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    unhealthy: u32,
    /// How many had no traffic when the deployment began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    out: Option<u32>,
    /// How many were there when the roster was sealed, where more have arrived since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    enrolled: Option<u32>,
    /// The zones that they are in, where they are gone through one after another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    zones: Vec<Zone>,
    /// The hosts of the group that are left alone.
    #[serde(default, skip_serializing_if = "LeftAlone::is_none")]
    left_alone: LeftAlone,
    states: String,
}

impl Serialize for Hosts {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let enrolled = Some(self.enrolled).filter(|enrolled| *enrolled < self.len());
        let zones = self.zones().cloned().collect();
        let out = Some(self.out).filter(|out| *out > 0);
        let (unhealthy, left_alone) = (self.unhealthy, self.left_alone);
        Written { unhealthy, out, enrolled, zones, left_alone, states: self.letters() }
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Hosts {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        let number = |letter: u8| match letter {
            b'A'..=b'Z' => Ok(letter - b'A'),
            b'a'..=b'n' => Ok(letter - b'a' + 26),
            _ => Err(serde::de::Error::custom("a letter that stands for no host state")),
        };
        let packed = written.states.bytes().map(number).collect::<Result<Vec<u8>, D::Error>>()?;
        let length = u32::try_from(packed.len()).unwrap_or(u32::MAX);
        let enrolled = written.enrolled.unwrap_or(length);
        let hosts = Self::counted(packed, written.unhealthy, enrolled, written.zones);
        Ok(hosts.beside(written.left_alone).with_out(written.out.unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn hosts_are_read_back_as_they_are_written() {
        let mut hosts = Hosts::untouched(40, 3);
        for (ordinal, state) in (0..).zip(HostState::ALL) {
            hosts.set(ordinal, Host { state, attempt: 3 });
        }
        let written = serde_json::to_string(&hosts).unwrap();
        let read: Hosts = serde_json::from_str(&written).unwrap();
        assert_eq!(read, hosts, "{written}");
        assert_eq!(read.get(9), Some(Host { state: HostState::Gone, attempt: 3 }));
    }

    #[test]
    fn counts_follow_every_change() {
        let mut hosts = Hosts::untouched(4, 1);
        hosts.set(0, Host { state: HostState::Sent, attempt: 1 });
        hosts.set(1, Host { state: HostState::Gone, attempt: 0 });
        let fleet = Fleet { untouched_healthy: 2, in_flight: 1, ..Fleet::default() };
        assert_eq!(hosts.fleet(), fleet);
        assert_eq!(hosts.next_untouched(9).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn hosts_that_arrived_are_still_new_when_they_are_read_back() {
        let mut hosts = Hosts::untouched(3, 1);
        assert!(hosts.grow(5));
        hosts.set(0, Host { state: HostState::Succeeded, attempt: 1 });
        hosts.set(3, Host { state: HostState::Sent, attempt: 1 });
        let written = serde_json::to_string(&hosts).unwrap();
        let read: Hosts = serde_json::from_str(&written).unwrap();
        assert_eq!(read, hosts, "{written}");
        assert_eq!(read.next_untouched(9).collect::<Vec<_>>(), [4, 1, 2]);
        let fleet = read.fleet();
        assert_eq!((fleet.untouched_unhealthy, fleet.untouched_healthy), (1, 2));
    }

    #[test]
    fn zones_are_counted_and_come_next_one_by_one_also_when_they_are_read_back() {
        let zone =
            |name: &str, hosts, unhealthy| Zone { name: Some(name.to_owned()), hosts, unhealthy };
        let mut hosts = Hosts::untouched_in(vec![zone("a", 3, 1), zone("b", 2, 2)]);
        assert!(hosts.grow(6));
        hosts.set(1, Host { state: HostState::Failed, attempt: 1 });
        hosts.set(3, Host { state: HostState::Sent, attempt: 1 });
        let written = serde_json::to_string(&hosts).unwrap();
        let read: Hosts = serde_json::from_str(&written).unwrap();
        assert_eq!(read, hosts, "{written}");
        let next = |zone| read.next_untouched_in(zone, 9).collect::<Vec<_>>();
        assert_eq!([next(0), next(1), next(2)], [vec![5, 0, 2], vec![5, 4], vec![5]]);
        let all: BTreeSet<u32> = read.next_untouched(9).collect();
        assert_eq!(all, [0, 2, 4, 5].into());
        let first =
            Fleet { untouched_unhealthy: 1, untouched_healthy: 1, failed: 1, ..Fleet::default() };
        assert_eq!(read.zone(0).unwrap().1, first);
        let second = Fleet { untouched_unhealthy: 1, in_flight: 1, ..Fleet::default() };
        assert_eq!(read.zone(1).unwrap().1, second);
        assert_eq!((read.fleet().untouched_unhealthy, read.arrived_untouched()), (3, 1));
    }

    #[test]
    fn hosts_without_zones_are_written_as_they_always_were() {
        let written = serde_json::to_string(&Hosts::untouched(3, 1)).unwrap();
        assert_eq!(written, r#"{"unhealthy":1,"states":"AAA"}"#);
    }

    #[test]
    fn hosts_without_traffic_are_counted_also_when_they_are_read_back() {
        let mut hosts = Hosts::untouched(5, 3).with_out(2);
        assert_eq!(hosts.fleet().untouched_out, 2);
        hosts.set(0, Host { state: HostState::Sent, attempt: 1 });
        hosts.set(2, Host { state: HostState::Sent, attempt: 1 });
        let written = serde_json::to_string(&hosts).unwrap();
        let read: Hosts = serde_json::from_str(&written).unwrap();
        assert_eq!(read, hosts, "{written}");
        let fleet = read.fleet();
        assert_eq!((fleet.untouched_out, fleet.untouched_unhealthy, fleet.in_flight), (1, 1, 2));
        assert_eq!(Hosts::untouched(5, 3).with_out(4).out(), 3, "they are among the unhealthy");
    }

    #[test]
    fn no_more_hosts_arrive_than_a_deployment_can_have() {
        let mut hosts = Hosts::untouched(2, 0);
        assert!(!hosts.grow(Hosts::MAX + 1));
        assert_eq!(hosts, Hosts::untouched(2, 0));
        assert!(hosts.grow(Hosts::MAX));
    }

    #[test]
    fn letters_that_stand_for_nothing_are_refused() {
        assert!(serde_json::from_str::<Hosts>(r#"{"unhealthy":0,"states":"Az"}"#).is_err());
    }
}
