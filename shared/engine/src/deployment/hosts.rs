//! The hosts of a deployment, a byte each: state and attempt, in deployment order.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::health::Fleet;

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
    /// Ordinals below this were unhealthy, or new to the group, when the deployment began.
    unhealthy: u32,
    /// Ordinals from this on arrived later, and are new to the group.
    enrolled: u32,
    counts: [[u32; 10]; 2],
    first_untouched: u32,
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
        Self::counted(vec![0; hosts], unhealthy, total)
    }

    fn counted(packed: Vec<u8>, unhealthy: u32, enrolled: u32) -> Self {
        let counts = Default::default();
        let mut hosts = Self { packed, unhealthy, enrolled, counts, first_untouched: 0 };
        for ordinal in 0..hosts.len() {
            let state = hosts.get(ordinal).map_or(HostState::Untouched, |host| host.state);
            *hosts.count_mut(ordinal, state) += 1;
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
        let [arriving, _] = &mut self.counts;
        let [untouched, ..] = arriving;
        *untouched += arrived;
        true
    }

    /// How many were unhealthy, or new to the group, when the deployment began.
    pub fn unhealthy(&self) -> u32 {
        self.unhealthy
    }

    /// How many were there when the roster was sealed; those from this ordinal on arrived later.
    pub fn enrolled(&self) -> u32 {
        self.enrolled.min(self.len())
    }

    /// The host at `ordinal`.
    pub fn get(&self, ordinal: u32) -> Option<Host> {
        let byte = *self.packed.get(usize::try_from(ordinal).ok()?)?;
        Some(Host { state: *HostState::ALL.get(usize::from(byte % 10))?, attempt: byte / 10 })
    }

    /// How many hosts are in `state`.
    pub fn count(&self, state: HostState) -> u32 {
        self.counts.iter().filter_map(|side| side.get(state.index())).sum()
    }

    /// The hosts as the rule of minimum healthy hosts sees them.
    pub fn fleet(&self) -> Fleet {
        let untouched =
            |side: usize| self.counts.get(side).and_then(|s| s.first()).copied().unwrap_or(0);
        let sum = |pick: fn(HostState) -> bool| {
            HostState::ALL.into_iter().filter(|s| pick(*s)).map(|s| self.count(s)).sum()
        };
        Fleet {
            untouched_unhealthy: untouched(0),
            untouched_healthy: untouched(1),
            in_flight: sum(HostState::in_flight),
            succeeded: self.count(HostState::Succeeded),
            failed: sum(HostState::is_failure),
        }
    }

    /// The ordinals of the next `limit` untouched hosts: first those that were unhealthy, then those that arrived
    /// later, then the healthy ones.
    pub fn next_untouched(&self, limit: u32) -> impl Iterator<Item = u32> + '_ {
        let is_untouched = |ordinal: &u32| {
            self.get(*ordinal).is_some_and(|host| host.state == HostState::Untouched)
        };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let (first, enrolled) = (self.first_untouched, self.enrolled());
        let unhealthy = first..self.unhealthy.min(enrolled);
        let arrived = first.max(enrolled)..self.len();
        let healthy = first.max(self.unhealthy)..enrolled;
        unhealthy.chain(arrived).chain(healthy).filter(is_untouched).take(limit)
    }

    /// Changes one host; the only way to.
    pub(super) fn set(&mut self, ordinal: u32, host: Host) {
        let Some(before) = self.get(ordinal) else { return };
        let Ok(index) = usize::try_from(ordinal) else { return };
        let Ok(state) = u8::try_from(host.state.index()) else { return };
        if let Some(byte) = self.packed.get_mut(index) {
            *byte = host.attempt.min(Self::ATTEMPTS_MAX) * 10 + state;
        }
        let count = self.count_mut(ordinal, before.state);
        *count = count.saturating_sub(1);
        *self.count_mut(ordinal, host.state) += 1;
        self.skip_touched();
    }

    fn count_mut(&mut self, ordinal: u32, state: HostState) -> &mut u32 {
        let is_new = ordinal < self.unhealthy || ordinal >= self.enrolled;
        let [bad, good] = &mut self.counts;
        let side = if is_new { bad } else { good };
        let index = state.index();
        let [first, rest @ ..] = side;
        if index == 0 { first } else { rest.get_mut(index - 1).unwrap_or(first) }
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
struct Written {
    unhealthy: u32,
    /// How many were there when the roster was sealed, where more have arrived since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    enrolled: Option<u32>,
    states: String,
}

impl Serialize for Hosts {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let enrolled = Some(self.enrolled).filter(|enrolled| *enrolled < self.len());
        Written { unhealthy: self.unhealthy, enrolled, states: self.letters() }
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
        Ok(Self::counted(packed, written.unhealthy, written.enrolled.unwrap_or(length)))
    }
}

#[cfg(test)]
mod tests {
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
