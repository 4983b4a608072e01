//! What runs on a host: it claims commands from home, runs the lifecycle events of a deployment with the AppSpec's files
//! and hooks, and reports how they went (`docs/semantics.md#hosts`).
//!
//! It knows no AWS SDK and decides nothing about a deployment. Each hook starts at most once, whatever dies.

mod accounts;
mod agent;
mod archive;
mod client;
mod command;
mod config;
mod events;
mod group;
mod hints;
mod hooks;
pub mod http;
pub mod install;
mod journal;
mod lease;
mod output;
mod process;
pub mod root;
mod steps;
mod stop;
pub mod unpack;

pub use agent::{AgentError, Ended, serve};
pub use client::Connection;
pub use config::{AgentConfig, Limits};
pub use events::InterruptedHook;
