//! The bytes of a revision that a deployment names.

use engine::Revision;
use engine::deployment::{Deployment, Fact, Failure, FailureCode};

use crate::ports::{Object, PinError};
use crate::{Error, RevisionIntake};

impl RevisionIntake {
    pub(super) async fn pin_revision(&self, deployment: &Deployment) -> Result<Fact, Error> {
        let refused = |code, message| Ok(Fact::RevisionRefused(Failure { code, message }));
        let Revision { bucket, key, bundle_type, version, e_tag, content: _ } =
            deployment.order().revision.clone();
        match self.bundles.pin(&Object { bucket, key, version, e_tag }).await {
            Ok(pinned) if pinned.bundle_type != bundle_type => {
                let message = format!(
                    "The revision was registered as {}, and its content is {}. Register it with the right bundle type.",
                    bundle_type.name(),
                    pinned.bundle_type.name()
                );
                refused(FailureCode::InvalidRevision, message)
            }
            Ok(pinned) => Ok(Fact::RevisionPinned(pinned.pin)),
            Err(error @ PinError::Missing { .. }) => {
                refused(FailureCode::RevisionMissing, error.to_string())
            }
            Err(PinError::Refused(why)) => refused(FailureCode::InvalidRevision, why.to_string()),
            Err(error @ PinError::Unavailable(_)) => Err(error.into()),
        }
    }
}
