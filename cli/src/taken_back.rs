//! Whether the newest deployment of a revision to a group was taken back: then nobody means that revision who does not
//! name it.

use std::collections::BTreeSet;

use wire::codedeploy::{
    AutoRollbackConfiguration, BatchGetDeployments, DeploymentInfo, DeploymentStatus, ErrorCode,
    GetApplicationRevision, ListDeployments, RevisionLocation, S3Location, TimeRange,
};

use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::names::GroupName;
use crate::output::revision_url;

/// Most deployments that are asked for at once.
const AT_ONCE: usize = 25;

/// Refuses to deploy a revision that nobody has named, if its newest deployment to the group was taken back.
pub(crate) async fn refuse(
    client: &Client,
    group: &GroupName,
    revision: &RevisionLocation,
) -> Result<(), Failure> {
    let Some((deployment, by)) = find(client, group, revision).await? else { return Ok(()) };
    let GroupName { application, group: name } = group;
    let url = revision_url(Some(revision)).unwrap_or_default();
    let by = match by {
        By::Deployment(id) => format!("{id} rolled it back"),
        By::Traffic => "its traffic went back".to_owned(),
    };
    let message = format!(
        "the newest revision of `{application}`, {url}, was taken back from {application}/{name}: {deployment} deployed it, and {by}"
    );
    let hint = format!(
        "`cutover deploy {application}/{name} --revision {url}` deploys it all the same; `cutover push DIR {application}` makes a newer one"
    );
    Err(Failure::new(Exit::WrongUse, message).hint(hint))
}

/// What took a deployment back.
enum By {
    /// A rollback.
    Deployment(String),
    /// Its own end: where traffic moves all together, nothing is deployed for it to go back.
    Traffic,
}

/// The newest deployment of a revision to a group, if it was taken back, and what did that.
async fn find(
    client: &Client,
    group: &GroupName,
    revision: &RevisionLocation,
) -> Result<Option<(String, By)>, Failure> {
    let GroupName { application, group: name } = group;
    let request = GetApplicationRevision {
        application_name: Some(application.clone()),
        revision: Some(revision.clone()),
    };
    let known = client.call(&request).await?.revision_info.unwrap_or_default();
    // What was taken back was deployed, and that after it was registered.
    let Some(start) = known.register_time else { return Ok(None) };
    let mut request = ListDeployments {
        application_name: Some(application.clone()),
        deployment_group_name: Some(name.clone()),
        create_time_range: Some(TimeRange { start: Some(start), ..TimeRange::default() }),
        ..ListDeployments::default()
    };
    let mut rolled_back = Vec::new();
    loop {
        let page = client.call(&request).await?;
        for ids in page.deployments.unwrap_or_default().chunks(AT_ONCE) {
            let infos = newest_first(client, ids).await?;
            for info in infos {
                if is_of(&info, revision) {
                    return Ok(taken_back(&info, &rolled_back));
                }
                let cause = info.rollback_info.and_then(|of| of.rollback_triggering_deployment_id);
                rolled_back.extend(cause.zip(info.deployment_id));
            }
        }
        request.next_token = page.next_token;
        if request.next_token.is_none() {
            return Ok(None);
        }
    }
}

async fn newest_first(client: &Client, ids: &[String]) -> Result<Vec<DeploymentInfo>, Failure> {
    let request = BatchGetDeployments { deployment_ids: Some(ids.to_vec()) };
    let mut infos = client.call(&request).await?.deployments_info.unwrap_or_default();
    infos.sort_by_key(|info| ids.iter().position(|id| Some(id) == info.deployment_id.as_ref()));
    Ok(infos)
}

/// Whether a deployment is of this revision, and no rollback to it.
fn is_of(info: &DeploymentInfo, revision: &RevisionLocation) -> bool {
    let place = |of: Option<&RevisionLocation>| {
        let S3Location { bucket, key, version, e_tag, .. } = of?.s3_location.clone()?;
        Some((bucket, key, version, e_tag))
    };
    let rolls_back = info.rollback_info.as_ref();
    let rolls_back = rolls_back.is_some_and(|of| of.rollback_triggering_deployment_id.is_some());
    let wanted = place(Some(revision));
    !rolls_back && wanted.is_some() && place(info.revision.as_ref()) == wanted
}

/// What took a deployment back; `rolled_back` are those that were, each with what did it.
fn taken_back(info: &DeploymentInfo, rolled_back: &[(String, String)]) -> Option<(String, By)> {
    let id = info.deployment_id.clone()?;
    let by_itself = info.rollback_info.as_ref().and_then(|of| of.rollback_deployment_id.clone());
    let by_hand = || Some(rolled_back.iter().find(|(cause, _)| *cause == id)?.1.clone());
    if let Some(by) = by_itself.or_else(by_hand) {
        return Some((id, By::Deployment(by)));
    }
    let style = info.deployment_style.as_ref().and_then(|style| style.deployment_type.as_deref());
    (style == Some("BLUE_GREEN") && goes_back(info)).then_some((id, By::Traffic))
}

/// Whether a deployment ended because its version is bad, and took its traffic back by itself.
fn goes_back(info: &DeploymentInfo) -> bool {
    let code = info.error_information.as_ref().and_then(|error| error.code);
    let event = match (info.status, code) {
        (Some(DeploymentStatus::Stopped), Some(ErrorCode::AlarmActive)) => {
            "DEPLOYMENT_STOP_ON_ALARM"
        }
        (
            Some(DeploymentStatus::Failed),
            Some(
                ErrorCode::HealthConstraints
                | ErrorCode::HookExecutionFailure
                | ErrorCode::EcsUpdateError,
            ),
        ) => "DEPLOYMENT_FAILURE",
        _ => return false,
    };
    let AutoRollbackConfiguration { events, .. } =
        info.auto_rollback_configuration.clone().unwrap_or_default();
    let events: BTreeSet<String> = events.into_iter().flatten().collect();
    events.contains(event)
}
