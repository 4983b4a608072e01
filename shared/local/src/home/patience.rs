//! How long a home waits for its parts.

use std::time::Duration;

/// How long a start waits for its hosts.
pub(super) const HOSTS_PATIENCE: Duration = Duration::from_secs(30);
/// How long hosts are given to end what they do; all of it together stays below five seconds.
pub(super) const HOSTS_GRACE: Duration = Duration::from_millis(4_200);
/// How long the servers are given after that.
pub(super) const SERVERS_GRACE: Duration = Duration::from_millis(500);
