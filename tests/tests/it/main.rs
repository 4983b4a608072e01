//! Whole-system tests: `cutover up` as users run it, with its hosts, its bucket and its API.

mod support;

mod deployments;
mod events;
mod home;
mod hosts;
mod house;
mod kills;
mod refusals;
mod uploads;
