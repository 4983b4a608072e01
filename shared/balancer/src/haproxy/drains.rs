//! For how long servers have been drained that still have connections. HAProxy waits for these for ever; a deployment does
//! not: some connections, like those of WebSockets or of a client that never reads, would hold it for ever.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::servers::Server;

/// How long connections may take to end on a server that is drained, unless said.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);

/// The drains of one HAProxy. Clones are the same ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Drains(Arc<Mutex<BTreeMap<String, Drain>>>);

#[derive(Debug, Clone, Copy)]
struct Drain {
    since: Instant,
    was_told: bool,
}

impl Drains {
    /// Whether a server has been drained for longer than `patience`, and is not waited for any more; says so once. A home
    /// that starts in the middle counts from its first look.
    pub(super) fn is_given_up(
        &self,
        backend: &str,
        server: &Server,
        patience: Duration,
        now: Instant,
    ) -> bool {
        let name = format!("{backend}/{}", server.name);
        let mut drains = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if server.is_ready || server.busy == 0 {
            drains.remove(&name);
            return false;
        }
        let drain = drains.entry(name.clone()).or_insert(Drain { since: now, was_told: false });
        let is_given_up = now.saturating_duration_since(drain.since) >= patience;
        if is_given_up && !drain.was_told {
            drain.was_told = true;
            tracing::warn!(
                server = name,
                connections = server.busy,
                "HAProxy has drained this server for {} s, and it still has connections: the deployment goes on, and may break them off; `show sess` on its socket lists them, `cutover up --haproxy-drain SECONDS` waits longer",
                patience.as_secs()
            );
        }
        is_given_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(is_ready: bool, busy: u64) -> Server {
        let (name, weight, has_check) = ("host-1".to_owned(), 1, true);
        Server { name, is_up: true, is_ready, busy, weight, has_check, said: None }
    }

    #[test]
    fn a_drain_is_given_up_after_its_time_and_begins_anew_after_the_server_was_ready() {
        let (drains, began) = (Drains::default(), Instant::now());
        let after = |seconds| began + Duration::from_secs(seconds);
        let look =
            |server, seconds| drains.clone().is_given_up("web", &server, PATIENCE, after(seconds));
        assert!(!look(server(false, 3), 0));
        assert!(!look(server(false, 1), 299));
        assert!(look(server(false, 1), 300));
        assert!(look(server(false, 1), 301));
        assert!(!look(server(true, 5), 302), "it has traffic again");
        assert!(!look(server(false, 1), 303));
        assert!(!look(server(false, 0), 700), "they have ended by themselves");
        assert!(!look(server(false, 1), 701));
        assert!(look(server(false, 1), 1_001));
    }
}
