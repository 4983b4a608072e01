//! The seam between a run of lifecycle events and whoever ordered it.
//!
//! What runs events on a host knows this trait alone: not where the orders come from, nor how they are asked about. A
//! deployment that a server ordered is a [`Remote`](crate::remote::Remote).

use std::error::Error;
use std::path::Path;

use engine::lifecycle::Event;
use wire::host::{Bundle, EventReport, HostStatus, Offer, Specification};

/// A command, as it was ordered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Command<'a> {
    pub(crate) offer: &'a Offer,
    pub(crate) specification: &'a Specification,
    /// The host's name, as its scripts are told it.
    pub(crate) host_name: Option<&'a str>,
    /// Whether it was pushed: if this process does not bring it to its end, no other one will.
    pub(crate) is_pushed: bool,
}

/// What may be about to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// An event.
    Event,
    /// A script of an event that has started.
    Script,
}

/// Why an event of the balancer does not end well.
#[derive(Debug, Clone)]
pub(crate) enum Unmet {
    /// The balancer cannot do it.
    Failed(String),
    /// Nothing more is wanted of the host.
    Withdrawn(String),
}

/// Why there is no bundle, in the words of whoever should have brought it.
pub(crate) type NoBundle = Box<dyn Error + Send + Sync>;

/// Whoever ordered a command, as the run of its events sees it.
pub(crate) trait Orders: Sync {
    /// Waits until something may start; an error says why nothing may any more.
    async fn permit(&self, start: Start) -> Result<(), String>;

    /// Takes note of how the events stand.
    fn report(&self, events: &[EventReport], status: HostStatus);

    /// Waits until the balancer has done what `event` is about. Who waits no longer drops this.
    async fn wait_for_traffic(&self, event: Event) -> Result<(), Unmet>;

    /// Lays the bundle down in a new file at `to`, and has checked that it is the one that is meant.
    async fn bundle(&self, bundle: &Bundle, to: &Path) -> Result<(), NoBundle>;
}
