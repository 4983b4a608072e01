//! Two target groups of one listener or rule, each with hosts of its own: the traffic moves by their weights
//! (`docs/semantics.md#blue-green`).

use std::sync::Arc;

use async_trait::async_trait;
use engine::deployment::{CarrierTraits, Deployment, Shift, Side};

use super::carrier::{Acting, Carrier, give_to, share_of, sides_of};
use crate::Error;
use crate::ports::Pair;

pub(super) const KIND: &str = "groups";

/// The two target groups, in the group's order. Which of them has the traffic is read.
struct Groups([String; 2]);

pub(super) fn read(
    stored: &engine::deployment::Carrier,
) -> Result<Arc<dyn Carrier>, serde_json::Error> {
    Ok(Arc::new(Groups(stored.settings()?)))
}

/// How the traffic of two target groups moves.
pub(super) fn shift(groups: &[String; 2]) -> Result<Shift, serde_json::Error> {
    let traits = CarrierTraits { hosts: true, steps: true, ..CarrierTraits::default() };
    Ok(Shift::of(engine::deployment::Carrier::new(KIND, groups)?, traits))
}

impl Groups {
    fn pair(&self, new_side: Option<u8>) -> Option<Pair> {
        let (old, new) = sides_of(self.groups(), new_side)?;
        Some(Pair { old: old.to_owned(), new: new.to_owned(), listener: None })
    }
}

#[async_trait]
impl Carrier for Groups {
    fn groups(&self) -> Option<[&str; 2]> {
        Some(self.0.each_ref().map(String::as_str))
    }

    fn checked_groups(&self) -> Vec<&str> {
        self.groups().into_iter().flatten().collect()
    }

    fn way_back(&self, deployment: &Deployment) -> Result<Option<Shift>, serde_json::Error> {
        // It ended before it knew where the traffic was, which is there still, where that is not known.
        let Some(new) = deployment.new_side() else { return Ok(None) };
        Ok(Some(Shift { back_to: Some(1 - new.min(1)), ..shift(&self.0)? }))
    }

    async fn second_side(&self, acting: &Acting<'_>) -> Result<u8, Error> {
        let [old, new] = self.0.clone();
        let pair = Pair { old, new, listener: None };
        Ok(acting.here.traffic.balancers.percent(&pair).await?)
    }

    async fn share(&self, acting: &Acting<'_>) -> Result<Option<u8>, Error> {
        share_of(self.pair(acting.deployment.new_side()), acting).await
    }

    async fn give(&self, acting: &Acting<'_>, percent: u8, _: &str) -> Result<(), Error> {
        give_to(self.pair(acting.deployment.new_side()), acting, percent).await
    }

    async fn retire(&self, acting: &Acting<'_>, side: Side) -> Result<bool, Error> {
        let Some((old, new)) = sides_of(self.groups(), acting.deployment.new_side()) else {
            return Ok(false);
        };
        match side {
            Side::Old => acting.here.retire_hosts(self, acting, old, Some(new)).await,
            Side::New => acting.here.retire_copy(acting.deployment).await,
        }
    }
}
