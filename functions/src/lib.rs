//! The Lambda functions: each decodes its event, calls one method of its role in `control`, and encodes the answer.
//!
//! A function's module holds the type of its event and its handler; its binary in `src/bin` is what Lambda starts. What
//! is decided about deployments is decided in `control`, so that home, the cloud and the simulator do the same.

pub mod api;
mod batch;
mod config;
pub mod deployment_stepper;
pub mod fleet_watcher;
pub mod hook_dispatcher;
mod kept_runner;
mod log;
mod meter;
pub mod permissions;
mod ports;
pub mod queue;
pub mod revision_intake;
mod start;
pub mod traffic_evaluator;

pub use batch::{BatchAnswer, Receipt};
pub use config::{Config, ConfigError};
pub use start::{Start, StartError, assemble, start};
