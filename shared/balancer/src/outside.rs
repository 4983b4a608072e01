//! What moves and watches the traffic of a home and was there before it: the HAProxys and the Prometheus that it was told
//! of. They are tried when a home starts, so that a wrong path is known before a deployment needs it.

use std::collections::BTreeMap;
use std::io;

use control::ports::BalancerError;
use thiserror::Error;

use super::haproxy::{Haproxy, is_name};
use super::prometheus::Prometheus;

/// The HAProxys and the Prometheus that a home was told of.
#[derive(Debug, Clone, Default)]
pub struct Outside {
    /// By backend: `haproxy:BACKEND` is reached through the runtime socket of that HAProxy.
    pub haproxy: BTreeMap<String, Haproxy>,
    /// The Prometheus that `prometheus:EXPRESSION` is asked of.
    pub prometheus: Option<Prometheus>,
}

/// Why what a home was told of cannot be used.
#[derive(Debug, Error)]
pub enum OutsideError {
    /// Not the name of a backend.
    #[error(
        "`{backend}` cannot be the name of a backend of HAProxy: use letters, digits, `-`, `_`, `.` and `:`, as in --haproxy web=/run/haproxy/admin.sock"
    )]
    Backend {
        /// What was given.
        backend: String,
    },
    /// The runtime socket.
    #[error(
        "the runtime socket {socket} of HAProxy, which was given for the backend `{backend}`, cannot be used: start HAProxy before the home, give the path that stands after `stats socket` in haproxy.cfg, and let this user write to it"
    )]
    Socket {
        /// The backend.
        backend: String,
        /// The socket.
        socket: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// HAProxy lets nobody change anything through the socket.
    #[error(
        "the runtime socket {socket} of HAProxy lets nobody change servers ({level}): add `level admin` to its line `stats socket` in haproxy.cfg, and reload HAProxy"
    )]
    Level {
        /// The socket.
        socket: String,
        /// What it says of its level.
        level: String,
    },
    /// The backend.
    #[error("HAProxy at {socket} cannot be used for the backend `{backend}`")]
    Unfit {
        /// The backend.
        backend: String,
        /// The socket.
        socket: String,
        /// Why, and what to do.
        #[source]
        source: BalancerError,
    },
    /// Prometheus.
    #[error(
        "the Prometheus at {url} cannot be used: start it before the home, or correct --prometheus: {reason}"
    )]
    Prometheus {
        /// Where it was looked for.
        url: String,
        /// Why.
        reason: String,
    },
}

impl Outside {
    /// The HAProxy that has the backend which a target group's name begins with.
    pub(super) fn haproxy_of(&self, group: &str) -> Option<&Haproxy> {
        self.haproxy.get(backend_of(group))
    }

    /// What to do where none has.
    pub(super) fn hint_for(&self, group: &str) -> String {
        let backend = backend_of(group);
        let known: Vec<String> =
            self.haproxy.keys().map(|known| format!("`haproxy:{known}`")).collect();
        let start = format!("start it with `cutover up --haproxy {backend}=SOCKET`, where SOCKET");
        let start = format!("{start} is the runtime socket of the HAProxy that has the backend");
        match known.as_slice() {
            [] => format!("this home was not told of a HAProxy: {start}"),
            known => {
                let known = known.join(", ");
                format!("this home was told of {known} only: {start}")
            }
        }
    }

    /// Tries all of them.
    ///
    /// # Errors
    /// The first that cannot be used, with what to do.
    pub async fn check(&self) -> Result<(), OutsideError> {
        for (backend, haproxy) in &self.haproxy {
            if !is_name(backend) {
                return Err(OutsideError::Backend { backend: backend.clone() });
            }
            check_haproxy(backend, haproxy).await?;
        }
        if let Some(prometheus) = &self.prometheus {
            let failed = |reason| OutsideError::Prometheus { url: prometheus.url(), reason };
            prometheus.check().await.map_err(failed)?;
        }
        Ok(())
    }
}

fn backend_of(group: &str) -> &str {
    group.split_once('/').map_or(group, |(backend, _)| backend)
}

async fn check_haproxy(backend: &str, haproxy: &Haproxy) -> Result<(), OutsideError> {
    let (socket, backend) = (haproxy.socket().to_string(), backend.to_owned());
    let level = match haproxy.level().await {
        Ok(level) => level,
        Err(source) => return Err(OutsideError::Socket { backend, socket, source }),
    };
    if level != "admin" {
        return Err(OutsideError::Level { socket, level });
    }
    let checked = haproxy.check(&backend).await;
    checked.map_err(|source| OutsideError::Unfit { backend, socket, source })
}
