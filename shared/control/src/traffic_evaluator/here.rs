//! The evaluator where it acts.

use crate::Base;
use crate::ports::{Instances, Traffic};

/// The evaluator in one account and region.
pub(crate) struct Here {
    pub(crate) base: Base,
    pub(super) instances: Instances,
    pub(crate) traffic: Traffic,
}
