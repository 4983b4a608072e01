//! Why a home cannot start.

use std::io;
use std::path::PathBuf;

use balancer::{OutsideError, SetUpError};
use thiserror::Error;

use super::patience::HOSTS_PATIENCE;
use crate::dir::DirError;
use crate::dynamodb;
use crate::hosts::layout::LayoutError;
use crate::hosts::namespace::NamespaceError;
use crate::hosts::process::ProcessError;

/// Why a home cannot start.
#[derive(Debug, Error)]
pub enum HomeError {
    /// Its balancers.
    #[error(transparent)]
    Balancers(#[from] SetUpError),
    /// Balancers or sources of alarms that are not its own.
    #[error(transparent)]
    Outside(#[from] OutsideError),
    /// Its directory.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// The port is taken.
    #[error(
        "port {port} cannot be listened on: end what uses it, or choose another one with --port"
    )]
    Port {
        /// Which.
        port: u16,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The embedded DynamoDB.
    #[error(transparent)]
    DynamoDb(#[from] dynamodb::Error),
    /// The embedded S3.
    #[error(transparent)]
    S3(#[from] object_store::Error),
    /// The table cannot be made.
    #[error("the table cannot be made")]
    Table(#[from] store::CreateError),
    /// The account or region cannot be a part of the table's keys.
    #[error(transparent)]
    Scope(#[from] store::ScopeError),
    /// A host cannot be registered.
    #[error("a host cannot be registered")]
    Register(#[from] control::Error),
    /// What an earlier home has begun cannot be read.
    #[error("the deployments that are under way cannot be read")]
    Begun(#[source] control::Error),
    /// A host's files.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A host's process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Whether hosts can have views of their own cannot be found out.
    #[error(transparent)]
    Namespace(NamespaceError),
    /// Hosts do not answer.
    #[error("{} did not connect within {} s: see {}", names.join(", "), HOSTS_PATIENCE.as_secs(), log.display())]
    HostsMissing {
        /// Which.
        names: Vec<String>,
        /// Where the first one writes what is wrong.
        log: PathBuf,
    },
    /// A task of the home died.
    #[error("a part of the home died: start it again; nothing that was answered is lost")]
    Died(#[source] tokio::task::JoinError),
}
