//! Why balancers cannot be set up as asked.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::settings_error::SettingsError;

/// The most balancers that a home can have.
pub(super) const BALANCERS_MAX: usize = 32;

/// Why balancers cannot be set up as asked.
#[derive(Debug, Error)]
pub enum SetUpError {
    /// The settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The name is taken.
    #[error(
        "the name `{name}` is taken by a balancer or target group with other settings: remove that first, or choose another name"
    )]
    Taken {
        /// The name.
        name: String,
    },
    /// Too many.
    #[error("there are {BALANCERS_MAX} balancers already: remove one that is not used")]
    TooMany,
    /// No such balancer.
    #[error("there is no balancer `{name}`: `cutover balancer list` shows those that there are")]
    Unknown {
        /// The name.
        name: String,
    },
    /// The port is taken.
    #[error(
        "the balancer `{name}` cannot listen on port {port}: end what uses it, or give the balancer another one"
    )]
    Port {
        /// The balancer.
        name: String,
        /// The port.
        port: u16,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file of the balancers cannot be read or written.
    #[error("`{}` cannot be used: check the disk, and that it belongs to this user", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file has another content than this version writes.
    #[error("`{}` is damaged: remove it, start again, and set up the balancers anew", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The file is of a newer version.
    #[error("`{}` was written by a newer version of Cutover (layout {found}): use that version", path.display())]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its layout.
        found: u32,
    },
}
