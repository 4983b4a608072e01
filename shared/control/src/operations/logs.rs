//! Output of hooks (stand-in until the real one is merged).
use crate::{Control, Error};
use wire::cutover::{GetDeploymentLog, GetDeploymentLogOutput};
impl Control {
    /// Stand-in.
    pub async fn get_deployment_log(
        &self,
        _request: &GetDeploymentLog,
    ) -> Result<GetDeploymentLogOutput, Error> {
        Ok(GetDeploymentLogOutput::default())
    }
}
