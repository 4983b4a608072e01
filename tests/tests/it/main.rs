//! Whole-system tests: `cutover up` as users run it, with its hosts, its bucket and its API.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests"
)]

mod support;

#[cfg(feature = "tools")]
mod aws;
mod blue_green;
mod circles;
mod cloud_clients;
mod deployments;
#[cfg(feature = "tools")]
mod ecs;
mod events;
#[cfg(feature = "tools")]
mod haproxy;
#[cfg(feature = "tools")]
mod haproxy_load;
mod home;
mod hosts;
mod house;
mod kills;
mod permissions;
mod policies;
#[cfg(feature = "tools")]
mod prometheus;
#[cfg(feature = "tools")]
mod readme;
mod refusals;
mod requests;
mod rollbacks;
#[cfg(feature = "tools")]
mod scaling_copies;
mod starvation;
mod statements;
#[cfg(feature = "tools")]
mod target_groups;
mod template;
mod unneeded;
mod upgrade;
mod uploads;
#[cfg(feature = "tools")]
mod zones;
