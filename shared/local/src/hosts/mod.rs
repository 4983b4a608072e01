//! Home hosts: each a process of its own, with a root of its own above the machine's files. This module knows where a
//! host keeps its files ([`layout`]), how its process is started, found and ended ([`process`]) and how it comes to see
//! its own root ([`namespace`]). It knows nothing of deployments: what a host does is the runner's.

mod identity;
mod kernel;
pub mod layout;
mod mounts;
pub mod namespace;
pub mod process;
mod refusal;
pub(crate) mod supervisor;
mod view;
