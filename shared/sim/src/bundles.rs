//! The bucket of the simulated world.

use std::sync::Arc;

use async_trait::async_trait;
use control::ports::{Bundles, Object, PinError, Pinned, Refused};
use engine::{BundleType, Pin};
use thiserror::Error;

use crate::core::Shared;

/// What lies under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bundle {
    /// A bundle whose hooks fail on so many of ten thousand hosts.
    Good { fails: u32 },
    /// No valid bundle.
    Invalid,
    /// Nothing any more.
    Missing,
}

#[derive(Debug, Error)]
#[error("the bucket is away")]
struct Away;

#[derive(Debug)]
pub(crate) struct SimBundles {
    pub(crate) shared: Arc<Shared>,
}

impl SimBundles {
    async fn is_away(&self) -> bool {
        self.shared.pause().await;
        let mut core = self.shared.core();
        let often = core.faults.bundles_away;
        core.random.of_ten_thousand(often)
    }
}

/// What stands for the digest of the bundle under `key`.
pub(crate) fn pin_of(key: &str) -> Pin {
    Pin::of_bytes(key.to_owned(), 1)
}

#[async_trait]
impl Bundles for SimBundles {
    async fn pin(&self, object: &Object) -> Result<Pinned, PinError> {
        if self.is_away().await {
            return Err(PinError::Unavailable(Box::new(Away)));
        }
        let found = self.shared.core().bundles.get(&object.key).copied();
        self.shared.pause().await;
        match found {
            Some(Bundle::Good { .. }) => {
                Ok(Pinned { pin: pin_of(&object.key), bundle_type: BundleType::Zip })
            }
            Some(Bundle::Invalid) => Err(PinError::Refused(Refused {
                message: "no AppSpec".to_owned(),
                file: None,
                position: None,
            })),
            Some(Bundle::Missing) | None => {
                Err(PinError::Missing { bucket: object.bucket.clone(), key: object.key.clone() })
            }
        }
    }

    async fn read(&self, object: &Object, _: usize) -> Result<String, PinError> {
        let (bucket, key) = (object.bucket.clone(), object.key.clone());
        Err(PinError::Missing { bucket, key })
    }

    async fn url(&self, pin: &Pin) -> Result<String, PinError> {
        if self.is_away().await {
            return Err(PinError::Unavailable(Box::new(Away)));
        }
        Ok(pin.sha256.clone())
    }

    async fn runner_url(&self, digest: &str) -> Result<String, PinError> {
        Ok(digest.to_owned())
    }
}
