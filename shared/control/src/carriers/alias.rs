//! An alias of a Lambda function, whose traffic moves between two versions (`docs/semantics.md#lambda`).

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use engine::appspec::Alias;
use engine::deployment::{CarrierTraits, Deployment, Shift, Side, Stage};
use engine::lifecycle::Event;
use wire::codedeploy::{
    ComputePlatform, DeploymentTarget, DeploymentTargetType, LambdaFunctionInfo, LambdaTarget,
    LifecycleEvent,
};

use super::carrier::{Acting, Carrier};
use crate::Error;
use crate::content::target_status;
use crate::ports::Place;

pub(super) const KIND: &str = "alias";

/// The events of a Lambda deployment, in order, and the stage of each.
const EVENTS: [(Event, Stage); 3] = [
    (Event::BeforeAllowTraffic, Stage::Before),
    (Event::AllowTraffic, Stage::Move),
    (Event::AfterAllowTraffic, Stage::After),
];

pub(super) fn read(
    stored: &engine::deployment::Carrier,
) -> Result<Arc<dyn Carrier>, serde_json::Error> {
    Ok(Arc::new(stored.settings::<Alias>()?))
}

/// How the traffic of an alias moves. It is changed only as it was read, so that what is late finds it changed by whatever
/// is wanted since.
pub(super) fn shift(alias: &Alias) -> Result<Shift, serde_json::Error> {
    let traits = CarrierTraits {
        hooks: Some(alias.hooks.keys().copied().collect()),
        steps: true,
        second_is_new: true,
        fenced: true,
        ..CarrierTraits::default()
    };
    Ok(Shift::of(engine::deployment::Carrier::new(KIND, alias)?, traits))
}

#[async_trait]
impl Carrier for Alias {
    fn platform(&self) -> ComputePlatform {
        ComputePlatform::Lambda
    }

    fn side_names(&self, _: Option<u8>) -> Option<(String, String)> {
        Some((format!("version {}", self.new), format!("version {}", self.old)))
    }

    fn hooks(&self) -> BTreeMap<Event, String> {
        self.hooks.clone()
    }

    fn target_events(&self) -> Vec<(Event, Stage)> {
        EVENTS.to_vec()
    }

    fn target(
        &self,
        deployment: &Deployment,
        place: &Place,
        events: Vec<LifecycleEvent>,
    ) -> Option<DeploymentTarget> {
        let id = format!("{}:{}", self.function, self.alias);
        let target = LambdaTarget {
            deployment_id: Some(deployment.id().to_string()),
            target_arn: Some(place.arn("lambda", &format!("function:{id}"))),
            target_id: Some(id),
            status: Some(target_status(deployment)),
            last_updated_at: Some(deployment.latest().into()),
            lifecycle_events: Some(events),
            lambda_function_info: Some(LambdaFunctionInfo {
                function_name: Some(self.function.clone()),
                function_alias: Some(self.alias.clone()),
                current_version: Some(self.old.clone()),
                target_version: Some(self.new.clone()),
                target_version_weight: deployment.percent().map(u32::from),
            }),
        };
        Some(DeploymentTarget {
            deployment_target_type: Some(DeploymentTargetType::LambdaTarget),
            lambda_target: Some(target),
            ..DeploymentTarget::default()
        })
    }

    fn way_back(&self, _: &Deployment) -> Result<Option<Shift>, serde_json::Error> {
        let back = Self {
            old: self.new.clone(),
            new: self.old.clone(),
            hooks: BTreeMap::new(),
            ..self.clone()
        };
        Ok(Some(Shift { back_to: Some(1), ..shift(&back)? }))
    }

    async fn second_side(&self, acting: &Acting<'_>) -> Result<u8, Error> {
        Ok(acting.here.traffic.functions.standing(self).await?.percent)
    }

    async fn share(&self, acting: &Acting<'_>) -> Result<Option<u8>, Error> {
        Ok(Some(acting.here.traffic.functions.standing(self).await?.percent))
    }

    async fn revision(&self, acting: &Acting<'_>) -> Result<String, Error> {
        Ok(acting.here.traffic.functions.standing(self).await?.revision)
    }

    async fn give(&self, acting: &Acting<'_>, percent: u8, revision: &str) -> Result<(), Error> {
        Ok(acting.here.traffic.functions.split(self, percent, revision).await?)
    }

    async fn retire(&self, _: &Acting<'_>, _: Side) -> Result<bool, Error> {
        // Versions stay.
        Ok(false)
    }
}
