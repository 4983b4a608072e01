//! An AppSpec that is deployed by itself: what it moves between, and what it is known by (`docs/semantics.md#lambda`,
//! `docs/semantics.md#ecs`).

use engine::Pin;
use engine::appspec::{parse_lambda, parse_service};
use engine::deployment::{Carrier, Service};
use wire::codedeploy::{ApiError, ComputePlatform, ErrorName, GroupSettings};

use crate::{hash_of, settings};

/// What an AppSpec moves between, for a group with these settings.
pub(crate) fn carrier_of(
    platform: ComputePlatform,
    group: &GroupSettings,
    content: &str,
) -> Result<Carrier, ApiError> {
    let wrong = |error: engine::appspec::ResourceError| {
        let message = format!("The AppSpec of the {platform} deployment is not valid. {error}.");
        ErrorName::InvalidRevision.because(message)
    };
    match platform {
        ComputePlatform::Lambda => {
            parse_lambda(content.as_bytes()).map(Carrier::Alias).map_err(wrong)
        }
        ComputePlatform::Ecs => {
            let place = settings::service(group)?;
            let (tasks, hooks) = parse_service(content.as_bytes()).map_err(wrong)?;
            let service = Service { tasks, hooks, ..place };
            Ok(Carrier::Service(Box::new(service)))
        }
        ComputePlatform::Server => {
            let message = "The application runs on servers, which are deployed a bundle, and no AppSpec by itself.";
            Err(ErrorName::InvalidRevision.because(message))
        }
    }
}

/// What an AppSpec is known by: its own bytes, which are kept with the deployment.
pub(crate) fn pin_of(content: &str) -> Pin {
    let size = u64::try_from(content.len()).unwrap_or(0);
    Pin::of_bytes(hash_of(content), size)
}
