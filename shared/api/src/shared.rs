//! What the handlers share.

use control::{HostApi, OperatorApi};

use crate::guard::Guard;

/// What every handler needs.
pub(crate) struct Shared {
    pub(crate) operators: OperatorApi,
    pub(crate) hosts: HostApi,
    pub(crate) guard: Box<dyn Guard>,
}
