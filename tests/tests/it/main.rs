//! Whole-system tests: `cutover up` as users run it, with its hosts, its bucket and its API.

mod support;

#[cfg(feature = "tools")]
mod aws;
mod deployments;
mod home;
mod hosts;
mod kills;
mod refusals;
mod uploads;
