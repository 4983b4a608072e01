//! What runs on a host: it claims commands from home, runs the lifecycle events of a deployment with the AppSpec's files
//! and hooks, and reports how they went (`docs/semantics.md#hosts`).
//!
//! A host either polls ([`serve`]) or is pushed one command at a time ([`run_once`]); several processes may work on one
//! state directory. It knows no AWS SDK and decides nothing about a deployment. Each hook starts at most once, whatever dies.

mod accounts;
mod agent;
mod archive;
mod client;
mod clock;
mod command;
mod config;
mod deleted;
mod event_reports;
mod events;
mod failure;
mod group;
mod hints;
mod hooks;
mod host;
pub mod http;
pub mod identity;
pub mod install;
mod journal;
mod orders;
mod output;
mod process;
mod push;
mod remote;
mod revision;
pub mod root;
mod run;
mod steps;
mod stop;
pub mod unpack;
mod work;

pub use agent::{AgentError, Ended, serve};
pub use client::{Connection, PushedCommand};
pub use config::{AgentConfig, DAY_MS, Limits};
pub use push::{PushError, PushedEnd, run_once};
pub use run::InterruptedHook;
