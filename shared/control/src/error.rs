//! What goes wrong in a use case.

use thiserror::Error;

use crate::ports::{BalancerError, CloudError, FunctionError, PinError, ServiceError};
use crate::table::{Key, TableError};

/// Why a use case did not do as asked.
#[derive(Debug, Error)]
pub enum Error {
    /// The table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The bucket of revisions.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// A service of the cloud.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// A balancer.
    #[error(transparent)]
    Balancer(#[from] BalancerError),
    /// A function.
    #[error(transparent)]
    Function(#[from] FunctionError),
    /// A service of ECS.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// What carries the traffic of a deployment is not understood.
    #[error("what carries the traffic, of the kind `{kind}`, cannot be read: {why}")]
    UnknownCarrier {
        /// The kind that is stored.
        kind: String,
        /// Why, and what to do.
        why: String,
    },
    /// A record that cannot be understood.
    #[error("the record `{}` / `{}` cannot be read", .key.partition, .key.sort)]
    Unreadable {
        /// Which.
        key: Key,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A record of a later version. It is left alone: a newer Cutover is at work on it.
    #[error("the record `{}` / `{}` has schema {schema}, newer than this version of Cutover knows; upgrade it", .key.partition, .key.sort)]
    Newer {
        /// Which.
        key: Key,
        /// Its schema.
        schema: u32,
    },
    /// The client asked for something that cannot be.
    #[error(transparent)]
    Refused(#[from] wire::codedeploy::ApiError),
    /// A request of a deployment came to a role that does not perform it.
    #[error("`{0}` of a deployment is none of this role's requests; look from which queue it came")]
    Misdirected(String),
    /// A host asked for something that cannot be.
    #[error("{}", .0.message)]
    Host(wire::host::Refusal),
}

impl Error {
    /// That a request came to a role that does not perform it.
    pub(crate) fn misdirected(request: &engine::deployment::Request) -> Self {
        Self::Misdirected(format!("{request:?}"))
    }

    /// Whether somebody else changed the same records, so that it is worth loading them again.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Table(TableError::Conflict(_)))
    }

    /// Whether trying again later may help.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Table(TableError::Conflict(_) | TableError::Unavailable(_))
                | Self::Pin(PinError::Unavailable(_))
                | Self::Cloud(CloudError::Unavailable { .. })
                | Self::Balancer(BalancerError::Unavailable { .. })
                | Self::Function(FunctionError::Unavailable { .. })
                | Self::Service(ServiceError::Unavailable { .. })
                | Self::Newer { .. }
        )
    }
}
