//! File descriptors: as many as this process may have, and who gets how many of them. Clients are given a part only, so
//! that deployments never lack any.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit};

/// What a process that this one starts is given, which counts on what is usual.
static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// The most connections of each kind. More would want more memory than descriptors.
const MOST: Shares = Shares { api: 5_000, bucket: 2_000, balancers: 20_000 };
/// The least, whatever the limit.
const LEAST: Shares = Shares { api: 64, bucket: 16, balancers: 16 };
/// What a home has open for itself: the table, what is spooled, its own clients, and what deployments need.
const OWN: u64 = 160;
/// What it has open for each host, besides the host's connections.
const OWN_PER_HOST: u64 = 4;
/// The connections of a host to the API, with those of a run before that are not closed yet.
const API_PER_HOST: u64 = 4;

/// How many connections the servers of a home take at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shares {
    /// The API.
    pub(crate) api: usize,
    /// The buckets. Each may have an object open.
    pub(crate) bucket: usize,
    /// All balancers together. Each may have one of its own to a host.
    pub(crate) balancers: usize,
}

/// Lets this process have as many descriptors as it may. Those that it starts get as many as it had before.
pub fn raise() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    BEFORE.get_or_init(|| limit);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit on file descriptors cannot be raised");
    }
}

/// The limit that a process is given which this one starts; none where the limit was not raised.
pub(crate) fn for_children() -> Option<Rlimit> {
    BEFORE.get().copied()
}

impl Shares {
    /// The shares of this process with that many hosts.
    pub(crate) fn now(hosts: u8) -> Self {
        let limit = rustix::process::getrlimit(Resource::Nofile).current;
        let (shares, is_enough) = Self::of(limit.unwrap_or(u64::MAX), hosts);
        if !is_enough {
            let limit = limit.unwrap_or_default();
            tracing::warn!(
                limit,
                hosts,
                "too few file descriptors for that many hosts: end the home, allow it more with `ulimit -n 4096`, and start it again"
            );
        }
        shares
    }

    /// The shares of that many descriptors, and whether these are enough for everything.
    fn of(limit: u64, hosts: u8) -> (Self, bool) {
        let hosts = u64::from(hosts);
        let (own, polls) = (OWN + OWN_PER_HOST * hosts, 32 + API_PER_HOST * hosts);
        let rest = limit.saturating_sub(own + polls);
        let within = |count: u64, least: usize, most: usize| {
            usize::try_from(count).unwrap_or(most).clamp(least, most)
        };
        // A fifth of what is left for the API, a fifth for the buckets, three for balancers; two descriptors make one
        // connection there.
        let shares = Self {
            api: within(polls + rest / 5, LEAST.api, MOST.api),
            bucket: within(rest / 10, LEAST.bucket, MOST.bucket),
            balancers: within(rest / 10 * 3, LEAST.balancers, MOST.balancers),
        };
        (shares, own + shares.descriptors() <= limit)
    }

    /// The descriptors that they take.
    fn descriptors(self) -> u64 {
        let count = self.api + 2 * self.bucket + 2 * self.balancers;
        u64::try_from(count).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_limit_deployments_have_descriptors_left() {
        for limit in [512, 1_024, 4_096, 65_536, 1_048_576, u64::MAX] {
            let (shares, is_enough) = Shares::of(limit, 4);
            assert!(is_enough, "{limit}");
            assert!(limit - shares.descriptors() >= OWN + 4 * OWN_PER_HOST, "{limit}: {shares:?}");
            assert!(shares.api >= 64 && shares.balancers >= 16 && shares.bucket >= 16);
        }
        let (most, _) = Shares::of(u64::MAX, 4);
        assert_eq!(most, MOST);
    }

    #[test]
    fn every_host_finds_room_at_the_api_and_a_limit_that_is_too_low_is_known() {
        for hosts in [0, 1, 4, 250] {
            let (shares, is_enough) = Shares::of(4_096, hosts);
            assert!(is_enough, "{hosts}");
            assert!(shares.api >= 4 * usize::from(hosts));
        }
        assert!(!Shares::of(1_024, 250).1);
        assert!(!Shares::of(256, 1).1);
    }
}
