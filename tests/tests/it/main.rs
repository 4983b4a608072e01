//! Whole-system tests: `cutover up` as users run it, with its hosts, its bucket and its API.

mod support;

mod deployments;
mod home;
mod hosts;
mod kills;
mod refusals;
mod uploads;
