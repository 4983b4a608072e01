//! The dispatcher where it acts.

use std::sync::Arc;

use crate::Base;
use crate::ports::{Fleet, Place, Push};

/// The dispatcher in one account and region.
pub(crate) struct Here {
    pub(super) base: Base,
    pub(super) place: Option<Place>,
    pub(super) push: Arc<dyn Push>,
    pub(super) fleet: Arc<dyn Fleet>,
}
