//! The permission to start events (`docs/semantics.md#hosts`).
//!
//! A permission counts from the moment its question was *sent*, on a clock that goes on while the machine sleeps. It is
//! never longer here than the server thinks. Who asks for it, and when, is not decided here.

use std::time::Duration;

use tokio::sync::watch;

use crate::clock::awake;

/// Whether an event may start.
#[derive(Debug, Clone)]
pub(super) enum Permission {
    /// Until then, on the clock of [`awake`].
    Until(Duration),
    /// Not any more, and why.
    Withdrawn(String),
}

impl Permission {
    /// What an answer gives, which counts until then if events may go on.
    pub(super) fn of(proceed: bool, reason: Option<String>, until: Duration) -> Self {
        if proceed { Self::Until(until) } else { Self::withdrawn(reason) }
    }

    pub(super) fn withdrawn(reason: Option<String>) -> Self {
        let unsaid = || "the deployment goes on without this host".to_owned();
        Self::Withdrawn(reason.unwrap_or_else(unsaid))
    }

    /// Whether an event may start now; none if home has to be heard of first.
    fn now(&self) -> Option<Result<(), String>> {
        match self {
            Self::Until(until) if awake() < *until => Some(Ok(())),
            Self::Until(_) => None,
            Self::Withdrawn(reason) => Some(Err(reason.clone())),
        }
    }
}

/// The permission of a command, as it was last given.
#[derive(Debug)]
pub(super) struct Lease(watch::Sender<Permission>);

impl Lease {
    pub(super) fn new(permission: Permission) -> Self {
        Self(watch::Sender::new(permission))
    }

    /// Whether an event may start now; none if home has to be heard of first.
    pub(super) fn now(&self) -> Option<Result<(), String>> {
        self.0.borrow().now()
    }

    /// Waits until an event may start; an error says why none may any more.
    pub(super) async fn permit(&self) -> Result<(), String> {
        let mut permission = self.0.subscribe();
        loop {
            let now = permission.borrow_and_update().now();
            if let Some(now) = now {
                return now;
            }
            if permission.changed().await.is_err() {
                return Err("the agent ends".to_owned());
            }
        }
    }

    /// Waits until the permission is withdrawn, and says why.
    pub(super) async fn withdrawn(&self) -> String {
        let mut permission = self.0.subscribe();
        loop {
            if let Permission::Withdrawn(reason) = &*permission.borrow_and_update() {
                return reason.clone();
            }
            if permission.changed().await.is_err() {
                return "the agent ends".to_owned();
            }
        }
    }

    /// A withdrawal is for good.
    pub(super) fn renew(&self, permission: Permission) {
        self.0.send_if_modified(|current| {
            let is_open = matches!(current, Permission::Until(_));
            if is_open {
                *current = permission;
            }
            is_open
        });
    }

    pub(super) fn withdraw(&self, reason: String) {
        self.renew(Permission::Withdrawn(reason));
    }
}
