//! The target of a deployment of a Lambda function: its alias (`docs/semantics.md#lambda`).

use engine::deployment::{Alias, Deployment, Stage};
use engine::lifecycle::Event;
use wire::codedeploy::{DeploymentTarget, DeploymentTargetType, LambdaFunctionInfo, LambdaTarget};

use super::content::target_status;
use crate::{Error, OperatorApi};

/// The events of a Lambda deployment, in order, and the stage of each.
const EVENTS: [(Event, Stage); 3] = [
    (Event::BeforeAllowTraffic, Stage::Before),
    (Event::AllowTraffic, Stage::Move),
    (Event::AfterAllowTraffic, Stage::After),
];

impl OperatorApi {
    pub(super) async fn lambda_target(
        &self,
        deployment: &Deployment,
        alias: &Alias,
    ) -> Result<DeploymentTarget, Error> {
        let id = format!("{}:{}", alias.function, alias.alias);
        let target = LambdaTarget {
            deployment_id: Some(deployment.id().to_string()),
            target_arn: Some(self.place.arn("lambda", &format!("function:{id}"))),
            target_id: Some(id),
            status: Some(target_status(deployment)),
            last_updated_at: Some(deployment.latest().into()),
            lifecycle_events: Some(self.events_of(deployment, &EVENTS).await?),
            lambda_function_info: Some(LambdaFunctionInfo {
                function_name: Some(alias.function.clone()),
                function_alias: Some(alias.alias.clone()),
                current_version: Some(alias.old.clone()),
                target_version: Some(alias.new.clone()),
                target_version_weight: deployment.percent().map(u32::from),
            }),
        };
        Ok(DeploymentTarget {
            deployment_target_type: Some(DeploymentTargetType::LambdaTarget),
            lambda_target: Some(target),
            ..DeploymentTarget::default()
        })
    }
}
