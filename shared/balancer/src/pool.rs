//! Who gets the next request: the target groups of one balancer, their shares, their hosts and how these are. Does no
//! I/O and reads no clock; one lock around it makes each change one for all that look.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use control::ports::Standing;
use engine::DeploymentId;

/// How many failed probes in a row, or failed connects, make a healthy host an unhealthy one.
const FAILURES: u32 = 3;

/// Coprime to 100, and nearest to its golden section: a hundred requests in a row visit each number below 100 once, well
/// spread, and do not follow a rhythm of the clients.
const STRIDE: u64 = 61;

/// The target groups of a balancer.
#[derive(Debug)]
pub(crate) struct Pool {
    groups: Vec<Group>,
    /// The group that a cohort gets.
    new: Option<usize>,
    /// How many requests were shared between the groups.
    shared: u64,
    /// How many requests came, from which follows where the search for a host begins.
    came: u64,
    last_epoch: u64,
}

#[derive(Debug)]
struct Group {
    name: String,
    percent: u8,
    hosts: Vec<Host>,
}

#[derive(Debug)]
struct Host {
    name: String,
    address: SocketAddr,
    version: DeploymentId,
    /// Which admission this is; probes and requests of an earlier one do not count for it.
    epoch: u64,
    wanted: Wanted,
    health: Health,
    /// Probes that failed in a row. What requests come to says nothing of them: one that answers these, and not what it
    /// is asked for its health, is as dead as it says.
    failed_probes: u32,
    /// Connects that failed in a row.
    failed_connects: u32,
    said: Option<String>,
    /// One clone is held by each request.
    ticket: Ticket,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    In,
    OutBy(Instant),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Starting,
    Healthy,
    Unhealthy,
}

/// Held while a request is on its way; the host counts those that are out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ticket(Arc<()>);

/// The host that gets a request.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What runs there.
    pub(crate) version: DeploymentId,
    /// Its admission.
    pub(crate) epoch: u64,
    /// To be held until the answer has ended.
    pub(crate) ticket: Ticket,
}

impl Host {
    fn chosen(&self) -> Chosen {
        Chosen {
            address: self.address,
            version: self.version.clone(),
            epoch: self.epoch,
            ticket: self.ticket.clone(),
        }
    }

    /// Takes note of a failure that was counted; whether it is healthy still.
    fn failed(&mut self, reason: String) -> bool {
        let failures = self.failed_probes.max(self.failed_connects);
        if self.health == Health::Healthy && failures >= FAILURES {
            self.health = Health::Unhealthy;
        }
        self.said = Some(reason);
        self.health == Health::Healthy
    }

    fn in_flight(&self) -> usize {
        Arc::strong_count(&self.ticket.0).saturating_sub(1)
    }

    fn standing(&self, now: Instant) -> Standing {
        match (self.wanted, self.health) {
            (Wanted::OutBy(deadline), _) if self.in_flight() > 0 && now < deadline => {
                Standing::Draining
            }
            (Wanted::OutBy(_), _) => Standing::Out,
            (Wanted::In, Health::Healthy) => Standing::In,
            (Wanted::In, Health::Starting | Health::Unhealthy) => {
                Standing::Starting(self.said.clone())
            }
        }
    }
}

impl Pool {
    /// Target groups with their shares of the traffic, in percent, without hosts.
    pub(crate) fn new(groups: Vec<(String, u8)>, new: Option<usize>) -> Self {
        let group = |(name, percent)| Group { name, percent, hosts: Vec::new() };
        Self {
            groups: groups.into_iter().map(group).collect(),
            new,
            shared: 0,
            came: 0,
            last_epoch: 0,
        }
    }

    /// Takes a host in that is to be probed first; its admission. None if it is in already with that version, and
    /// nothing is to be done.
    pub(crate) fn admit(
        &mut self,
        group: usize,
        name: &str,
        address: SocketAddr,
        version: &DeploymentId,
    ) -> Option<u64> {
        let group = self.groups.get_mut(group)?;
        let is_known = |host: &Host| {
            host.name == name && host.wanted == Wanted::In && host.version == *version
        };
        if group.hosts.iter().any(is_known) {
            return None;
        }
        // What an earlier admission still answers goes on being counted.
        let known = group.hosts.iter().position(|host| host.name == name);
        let ticket = known.map(|place| group.hosts.swap_remove(place).ticket).unwrap_or_default();
        self.last_epoch += 1;
        group.hosts.push(Host {
            name: name.to_owned(),
            address,
            version: version.clone(),
            epoch: self.last_epoch,
            wanted: Wanted::In,
            health: Health::Starting,
            failed_probes: 0,
            failed_connects: 0,
            said: None,
            ticket,
        });
        Some(self.last_epoch)
    }

    /// Gives no new request to any of these hosts. One that is drained already keeps its deadline.
    pub(crate) fn drain(&mut self, group: usize, names: &[String], deadline: Instant) {
        let hosts = self.groups.get_mut(group).into_iter().flat_map(|group| &mut group.hosts);
        for host in hosts.filter(|host| host.wanted == Wanted::In && names.contains(&host.name)) {
            host.wanted = Wanted::OutBy(deadline);
        }
    }

    /// How a host stands. One that has gone for good is forgotten when it is admitted again.
    pub(crate) fn standing(&self, group: usize, name: &str, now: Instant) -> Standing {
        let mut hosts = self.groups.get(group).into_iter().flat_map(|group| &group.hosts);
        hosts.find(|host| host.name == name).map_or(Standing::Out, |host| host.standing(now))
    }

    /// Gives `new` that much of the traffic, in percent, and the other group the rest.
    pub(crate) fn split(&mut self, new: usize, percent: u8) {
        self.new = Some(new);
        for (place, group) in self.groups.iter_mut().enumerate() {
            group.percent = if place == new { percent } else { 100_u8.saturating_sub(percent) };
        }
    }

    /// The share of a group, in percent.
    pub(crate) fn percent(&self, group: usize) -> Option<u8> {
        self.groups.get(group).map(|group| group.percent)
    }

    /// The names of the groups with their shares and hosts that are to get traffic.
    pub(crate) fn describe(&self) -> Vec<(String, u8, Vec<String>)> {
        let names = |group: &Group| {
            let wanted = group.hosts.iter().filter(|host| host.wanted == Wanted::In);
            wanted.map(|host| host.name.clone()).collect()
        };
        let describe = |group: &Group| (group.name.clone(), group.percent, names(group));
        self.groups.iter().map(describe).collect()
    }

    /// The group that the next request is for.
    pub(crate) fn next_group(&mut self, is_cohort: bool) -> usize {
        self.came = self.came.wrapping_add(1);
        let has_share = |place: &usize| self.percent(*place).is_some_and(|percent| percent > 0);
        if let Some(new) = self.new.filter(has_share)
            && is_cohort
        {
            return new;
        }
        // A cohort is beside the shares, so that these are exact for everybody else.
        let turn = self.shared % 100;
        self.shared = self.shared.wrapping_add(1);
        let second = self.percent(1).unwrap_or(0);
        usize::from(turn * STRIDE % 100 < u64::from(second))
    }

    /// The group that has less of the traffic, of two that have as much the second.
    pub(crate) fn lesser_group(&self) -> usize {
        usize::from(self.percent(1).is_some_and(|percent| percent <= 50))
    }

    /// The healthy host of `group` with the fewest requests, other than those that were tried; nobody helps out.
    pub(crate) fn choose_of(&self, group: usize, tried: &[u64]) -> Option<Chosen> {
        let healthy = |host: &Host| host.health == Health::Healthy;
        self.least_busy(self.groups.get(group)?, tried, healthy).map(Host::chosen)
    }

    /// The host that gets a request that is for `group`, other than those that were tried: the healthy one with the
    /// fewest requests. A group without a healthy host is helped out by the other one, if that has a share of the
    /// traffic at all; where nobody is healthy anybody is tried, because the health path may be wrong.
    pub(crate) fn choose(&self, group: usize, tried: &[u64]) -> Option<Chosen> {
        let others = (0..self.groups.len())
            .filter(|place| *place != group && self.percent(*place) != Some(0));
        let order: Vec<&Group> =
            [group].into_iter().chain(others).filter_map(|place| self.groups.get(place)).collect();
        let healthy = |host: &Host| host.health == Health::Healthy;
        let found = order.iter().find_map(|group| self.least_busy(group, tried, healthy));
        let found = found
            .or_else(|| order.iter().find_map(|group| self.least_busy(group, tried, |_| true)));
        found.map(Host::chosen)
    }

    fn least_busy<'a>(
        &self,
        group: &'a Group,
        tried: &[u64],
        may: impl Fn(&Host) -> bool,
    ) -> Option<&'a Host> {
        let count = group.hosts.len().max(1);
        // Among equals the first one found wins, so the search begins at another place each time.
        let begin = usize::try_from(self.came % count as u64).unwrap_or(0);
        let (before, after) = group.hosts.split_at_checked(begin)?;
        let open =
            |host: &&Host| host.wanted == Wanted::In && !tried.contains(&host.epoch) && may(host);
        after.iter().chain(before).filter(open).min_by_key(|host| host.in_flight())
    }

    /// A probe succeeded. Whether the host is healthy now; none if the admission is over.
    pub(crate) fn healthy(&mut self, epoch: u64) -> Option<bool> {
        let host = self.host(epoch)?;
        (host.failed_probes, host.failed_connects) = (0, 0);
        host.health = Health::Healthy;
        host.said = None;
        Some(true)
    }

    /// A probe failed, for that reason. Whether the host is healthy still; none if the admission is over.
    pub(crate) fn unhealthy(&mut self, epoch: u64, reason: String) -> Option<bool> {
        let host = self.host(epoch)?;
        host.failed_probes = host.failed_probes.saturating_add(1);
        Some(host.failed(reason))
    }

    /// The host answered a request.
    pub(crate) fn reached(&mut self, epoch: u64) {
        if let Some(host) = self.host(epoch) {
            host.failed_connects = 0;
        }
    }

    /// The host did not take a connection for a request, for that reason.
    pub(crate) fn unreached(&mut self, epoch: u64, reason: String) {
        if let Some(host) = self.host(epoch) {
            host.failed_connects = host.failed_connects.saturating_add(1);
            host.failed(reason);
        }
    }

    fn host(&mut self, epoch: u64) -> Option<&mut Host> {
        let mut hosts = self.groups.iter_mut().flat_map(|group| &mut group.hosts);
        hosts.find(|host| host.epoch == epoch && host.wanted == Wanted::In)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn address() -> SocketAddr {
        "127.0.0.1:9".parse().unwrap()
    }

    fn version() -> DeploymentId {
        "d-AAAAAAAAA".parse().unwrap()
    }

    fn pool(percent: u8) -> Pool {
        Pool::new(vec![("old".into(), 100 - percent), ("new".into(), percent)], Some(1))
    }

    fn healthy(pool: &mut Pool, group: usize, name: &str) -> u64 {
        let epoch = pool.admit(group, name, address(), &version()).unwrap();
        pool.healthy(epoch);
        epoch
    }

    #[test]
    fn any_hundred_requests_in_a_row_are_shared_to_the_percent() {
        for percent in 0..=100 {
            let mut pool = pool(percent);
            for _ in 0..37 {
                pool.next_group(false);
            }
            let new = (0..100).filter(|_| pool.next_group(false) == 1).count();
            assert_eq!(new, usize::from(percent));
        }
    }

    #[test]
    fn a_share_is_spread_and_follows_no_rhythm() {
        let mut pool = pool(10);
        let places: Vec<u32> = (0..300).filter(|_| pool.next_group(false) == 1).collect();
        let gaps: Vec<u32> = places.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|gap| (4..=18).contains(gap)), "{gaps:?}");
        let odd = places.iter().filter(|place| *place % 2 == 1).count();
        assert!(
            (5..=25).contains(&odd),
            "of clients that take turns one would get all: {places:?}"
        );
    }

    #[test]
    fn a_cohort_gets_the_new_group_unless_that_gets_nothing() {
        let mut pool = pool(1);
        assert!((0..200).all(|_| pool.next_group(true) == 1));
        pool.split(1, 0);
        assert!((0..200).all(|_| pool.next_group(true) == 0));
    }

    #[test]
    fn the_host_with_the_fewest_requests_is_next_and_equals_take_turns() {
        let mut pool = pool(0);
        let hosts = ["a", "b", "c"].map(|name| healthy(&mut pool, 0, name));
        let mut held = Vec::new();
        for _ in 0..9 {
            let group = pool.next_group(false);
            held.push(pool.choose(group, &[]).unwrap());
        }
        for host in hosts {
            assert_eq!(held.iter().filter(|chosen| chosen.epoch == host).count(), 3);
        }
        held.retain(|chosen| chosen.epoch != hosts[1]);
        assert_eq!(pool.choose(0, &[]).unwrap().epoch, hosts[1]);
        drop(held);
        let mut idle = Vec::new();
        for _ in 0..6 {
            let group = pool.next_group(false);
            idle.push(pool.choose(group, &[]).unwrap().epoch);
        }
        idle.sort_unstable();
        assert_eq!(idle, [hosts[0], hosts[0], hosts[1], hosts[1], hosts[2], hosts[2]]);
    }

    #[test]
    fn a_host_is_out_when_its_last_request_has_ended_or_its_time_is_over() {
        let mut pool = pool(0);
        let now = Instant::now();
        healthy(&mut pool, 0, "a");
        let held = pool.choose(0, &[]).unwrap();
        pool.drain(0, &["a".into()], now + Duration::from_secs(30));
        assert!(pool.choose(0, &[]).is_none());
        assert_eq!(pool.standing(0, "a", now), Standing::Draining);
        assert_eq!(pool.standing(0, "a", now + Duration::from_secs(30)), Standing::Out);
        pool.drain(0, &["a".into()], now + Duration::from_secs(90));
        assert_eq!(pool.standing(0, "a", now + Duration::from_secs(31)), Standing::Out);
        drop(held);
        assert_eq!(pool.standing(0, "a", now), Standing::Out);
        assert_eq!(pool.standing(0, "never-seen", now), Standing::Out);
    }

    #[test]
    fn three_failures_in_a_row_make_a_host_unhealthy_and_one_probe_heals_it() {
        let mut pool = pool(0);
        let (a, b) = (healthy(&mut pool, 0, "a"), healthy(&mut pool, 0, "b"));
        let now = Instant::now();
        for _ in 0..2 {
            pool.unreached(a, "refused".into());
            pool.unreached(a, "refused".into());
            pool.reached(a);
        }
        assert_eq!(pool.unhealthy(a, "refused".into()), Some(true));
        assert_eq!(pool.unhealthy(a, "refused".into()), Some(true));
        assert_eq!(pool.unhealthy(a, "refused".into()), Some(false));
        assert_eq!(pool.standing(0, "a", now), Standing::Starting(Some("refused".into())));
        assert_eq!(pool.choose(0, &[]).unwrap().epoch, b);
        assert_eq!(pool.choose(0, &[b]).unwrap().epoch, a, "where nobody else is left it is tried");
        pool.healthy(a);
        assert_eq!(pool.standing(0, "a", now), Standing::In);
        for _ in 0..3 {
            pool.unreached(a, "refused".into());
        }
        assert_eq!(pool.standing(0, "a", now), Standing::Starting(Some("refused".into())));
    }

    #[test]
    fn probes_that_fail_count_whatever_requests_are_answered_between_them() {
        let mut pool = pool(0);
        let a = healthy(&mut pool, 0, "a");
        for _ in 0..3 {
            pool.reached(a);
            pool.unhealthy(a, "it answered 503".into());
            pool.reached(a);
        }
        let standing = pool.standing(0, "a", Instant::now());
        assert_eq!(standing, Standing::Starting(Some("it answered 503".into())));
    }

    #[test]
    fn a_group_without_a_share_never_helps_out() {
        let mut pool = pool(0);
        healthy(&mut pool, 1, "new");
        assert!(pool.choose(0, &[]).is_none());
        pool.split(1, 1);
        assert!(pool.choose(0, &[]).is_some());
    }

    #[test]
    fn what_an_earlier_admission_did_does_not_count_for_a_later_one() {
        let mut pool = pool(0);
        let first = healthy(&mut pool, 0, "a");
        assert_eq!(pool.admit(0, "a", address(), &version()), None, "it is in already");
        let second = pool.admit(0, "a", address(), &"d-BBBBBBBBB".parse().unwrap()).unwrap();
        assert_eq!(pool.healthy(first), None);
        assert_eq!(pool.standing(0, "a", Instant::now()), Standing::Starting(None));
        pool.healthy(second);
        assert_eq!(pool.choose(0, &[]).unwrap().version.as_str(), "d-BBBBBBBBB");
    }
}
