//! What `control` does, as its roles are called: with the wire's types, and with the simulator's ports.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod bundles;
mod catalog;
mod copies;
mod costs;
mod deployments;
mod down;
mod exchange;
mod functions;
mod hosts;
mod old_hosts;
mod places;
mod reach;
mod services;
mod traffic;
mod world;
mod zones;
