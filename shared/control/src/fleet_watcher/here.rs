//! The watcher where it acts.

use std::sync::Arc;

use crate::Base;
use crate::carriers::Carriers;
use crate::ports::{Balancers, Instances, Messages, Place};

/// The watcher in one account and region.
pub(crate) struct Here {
    pub(super) base: Base,
    pub(super) carriers: Carriers,
    pub(super) messages: Arc<dyn Messages>,
    pub(super) place: Option<Place>,
    pub(super) instances: Instances,
    pub(super) balancers: Arc<dyn Balancers>,
}
