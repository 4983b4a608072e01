//! The bucket of the simulated world.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use control::ports::{Bundles, Object, PinError, Pinned, Refused};
use engine::{BundleType, Pin, Timestamp};
use thiserror::Error;

use crate::core::{Core, Shared};

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

impl Core {
    /// What lies under a key. Where a test says what happens, that is a good bundle, unless it says something else.
    fn bundle_at(&self, key: &str) -> Option<Bundle> {
        let by_itself = self.script.is_some().then_some(Bundle::Good { fails: 0 });
        self.bundles.get(key).copied().or(by_itself)
    }

    /// The bytes of an object are kept from now on; `pin` is what stands for them.
    fn keep(&mut self, object: &Object, pin: Pin) -> Pin {
        let now = self.time();
        let Some(script) = &mut self.script else { return pin };
        script.kept.insert(pin.sha256.clone(), now);
        // The bucket has one version of everything, whatever was asked for.
        let e_tag = object.e_tag.clone().or_else(|| Some(format!("etag-of-{}", object.key)));
        let version = object.version.clone().or_else(|| Some("7".to_owned()));
        Pin { e_tag, version, ..pin }
    }
}

#[async_trait]
impl Bundles for SimBundles {
    async fn pin(&self, object: &Object) -> Result<Pinned, PinError> {
        if self.is_away().await {
            return Err(PinError::Unavailable(Box::new(Away)));
        }
        let found = self.shared.core().bundle_at(&object.key);
        self.shared.pause().await;
        match found {
            Some(Bundle::Good { .. }) => {
                let pin = self.shared.core().keep(object, pin_of(&object.key));
                Ok(Pinned { pin, bundle_type: BundleType::Zip })
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

    async fn find(&self, object: &Object) -> Result<(), PinError> {
        let core = self.shared.core();
        if core.script.is_some() && core.bundle_at(&object.key) == Some(Bundle::Missing) {
            let (bucket, key) = (object.bucket.clone(), object.key.clone());
            return Err(PinError::Missing { bucket, key });
        }
        Ok(())
    }

    async fn kept_before(&self, before: Timestamp) -> Result<BTreeSet<String>, PinError> {
        let core = self.shared.core();
        let kept = core.script.iter().flat_map(|script| &script.kept);
        Ok(kept.filter(|(_, put)| **put < before).map(|(digest, _)| digest.clone()).collect())
    }

    async fn remove(&self, digest: &str, _: Timestamp) -> Result<(), PinError> {
        if let Some(script) = &mut self.shared.core().script {
            script.kept.remove(digest);
        }
        Ok(())
    }

    async fn read(&self, object: &Object, _: usize) -> Result<String, PinError> {
        let core = self.shared.core();
        let spec = core.script.as_ref().and_then(|script| script.specs.get(&object.key));
        let (bucket, key) = (object.bucket.clone(), object.key.clone());
        spec.cloned().ok_or(PinError::Missing { bucket, key })
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
