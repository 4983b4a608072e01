//! `cutover status`: what the groups are doing.

use std::collections::BTreeMap;

use serde::Serialize;
use wire::codedeploy::{
    AutoRollbackConfiguration, BatchGetDeploymentGroups, BatchGetDeployments, DeploymentGroupInfo,
    DeploymentInfo, DeploymentStatus, ErrorCode, ListApplications, ListDeploymentGroups,
};
use wire::cutover::{
    GetGroupStatus, GetGroupStatusOutput, GetProgress, GetProgressOutput, UploadInfo, UploadState,
};

use super::Context;
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::names::GroupName;
use crate::output::{self, Format, moment, one_line, revision_url};
use crate::watch::{progress, text};

/// Groups that the API gives in one answer.
const GROUPS_PER_CALL: usize = 100;
/// Refused uploads that are shown for a group.
const REFUSED_SHOWN: usize = 3;

/// Shows applications and groups with their deployments and uploads
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cutover status shop/web")]
pub(crate) struct Args {
    /// Only this group
    #[arg(value_name = "APP/GROUP")]
    group: Option<GroupName>,
}

/// Everything that is shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    applications: Vec<ApplicationStatus>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApplicationStatus {
    application_name: String,
    deployment_groups: Vec<GroupStatus>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupStatus {
    deployment_group_info: DeploymentGroupInfo,
    /// The active deployment and the last one, the newest first.
    deployments_info: Vec<DeploymentInfo>,
    /// How far each of them is, and those that they roll back, by id.
    deployments_progress: BTreeMap<String, GetProgressOutput>,
    #[serde(flatten)]
    status: GetGroupStatusOutput,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let client = context.connect()?;
    let status = read(&client, args.group).await?;
    match context.format {
        Format::Json => output::json(&status),
        Format::Text if status.applications.is_empty() => {
            output::note("there are no applications yet\nnext: cutover init APP/GROUP");
        }
        Format::Text => lines(&status).iter().for_each(|line| output::line(line)),
    }
    Ok(Exit::Done)
}

async fn read(client: &Client, group: Option<GroupName>) -> Result<Status, Failure> {
    let names = match group {
        Some(GroupName { application, group }) => vec![(application, vec![group])],
        None => {
            let mut names = Vec::new();
            for application in applications(client).await? {
                let groups = groups(client, &application).await?;
                names.push((application, groups));
            }
            names
        }
    };
    let mut applications = Vec::new();
    for (application_name, names) in names {
        let mut deployment_groups = Vec::new();
        for page in names.chunks(GROUPS_PER_CALL) {
            let request = BatchGetDeploymentGroups {
                application_name: Some(application_name.clone()),
                deployment_group_names: Some(page.to_vec()),
            };
            for info in client.call(&request).await?.deployment_groups_info.into_iter().flatten() {
                deployment_groups.push(group_status(client, info).await?);
            }
        }
        if let [only] = names.as_slice()
            && deployment_groups.is_empty()
        {
            return Err(missing(&application_name, only));
        }
        applications.push(ApplicationStatus { application_name, deployment_groups });
    }
    Ok(Status { applications })
}

fn missing(application: &str, group: &str) -> Failure {
    Failure::new(Exit::WrongUse, format!("application `{application}` has no group `{group}`"))
        .hint(format!(
            "`cutover status` shows what there is, `cutover init {application}/{group}` makes it"
        ))
}

async fn applications(client: &Client) -> Result<Vec<String>, Failure> {
    let mut request = ListApplications::default();
    let mut names = Vec::new();
    loop {
        let page = client.call(&request).await?;
        names.extend(page.applications.unwrap_or_default());
        request.next_token = page.next_token;
        if request.next_token.is_none() {
            return Ok(names);
        }
    }
}

async fn groups(client: &Client, application: &str) -> Result<Vec<String>, Failure> {
    let mut request = ListDeploymentGroups {
        application_name: Some(application.to_owned()),
        ..ListDeploymentGroups::default()
    };
    let mut names = Vec::new();
    loop {
        let page = client.call(&request).await?;
        names.extend(page.deployment_groups.unwrap_or_default());
        request.next_token = page.next_token;
        if request.next_token.is_none() {
            return Ok(names);
        }
    }
}

async fn group_status(client: &Client, info: DeploymentGroupInfo) -> Result<GroupStatus, Failure> {
    let request = GetGroupStatus {
        application_name: info.application_name.clone(),
        deployment_group_name: info.deployment_group_name.clone(),
    };
    let status = client.call(&request).await?;
    let mut ids: Vec<String> = [&status.active_deployment_id, &status.last_attempted_deployment_id]
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    ids.dedup();
    let deployments_info = if ids.is_empty() {
        Vec::new()
    } else {
        let found = client.call(&BatchGetDeployments { deployment_ids: Some(ids.clone()) }).await?;
        let mut found = found.deployments_info.unwrap_or_default();
        found.sort_by_key(|info| ids.iter().position(|id| Some(id) == info.deployment_id.as_ref()));
        found
    };
    let mut deployments_progress = BTreeMap::new();
    // A rollback is there because of what became of another one.
    let causes = deployments_info.iter().filter_map(rolled_back).map(str::to_owned);
    for id in ids.into_iter().chain(causes) {
        let request = GetProgress { deployment_id: Some(id.clone()) };
        if let Some(known) = progress::known(client.call(&request).await)? {
            deployments_progress.insert(id, known);
        }
    }
    Ok(GroupStatus { deployment_group_info: info, deployments_info, deployments_progress, status })
}

fn lines(status: &Status) -> Vec<String> {
    let mut lines = Vec::new();
    for application in &status.applications {
        if application.deployment_groups.is_empty() {
            lines.push(format!("{}  no groups", application.application_name));
        }
        for group in &application.deployment_groups {
            lines.extend(group_lines(&application.application_name, group));
        }
    }
    lines
}

fn group_lines(application: &str, group: &GroupStatus) -> Vec<String> {
    let GroupStatus { deployment_group_info: info, deployments_info, status, .. } = group;
    let name = info.deployment_group_name.as_deref().unwrap_or("?");
    let config = info.deployment_config_name.as_deref().unwrap_or("?");
    let rollback = info.auto_rollback_configuration.as_ref();
    let rollback = match rollback {
        Some(AutoRollbackConfiguration { enabled: Some(true), .. }) => ", rolls back automatically",
        Some(_) | None => "",
    };
    let mut lines = vec![format!("{application}/{name}  {config}{rollback}")];
    if deployments_info.is_empty() {
        lines.push(field("deployments", "none yet"));
    }
    for deployment in deployments_info {
        let active = deployment.deployment_id == status.active_deployment_id;
        lines.push(field(if active { "active" } else { "last" }, &deployment_line(deployment)));
        lines.extend(reason_line(deployment));
        let messages = text::messages(deployment).into_iter();
        lines.extend(messages.map(|message| format!("{:14}{message}", "")));
        lines.extend(progress_lines(group, deployment));
    }
    for subscription in status.subscriptions.iter().flatten() {
        let part = |text: &Option<String>| one_line(text.as_deref().unwrap_or_default());
        lines.push(field(
            "subscribed",
            &format!("s3://{}/{}", part(&subscription.bucket), part(&subscription.prefix)),
        ));
    }
    if let Some(upload) = &status.queued_upload {
        lines.push(field("queued", &upload_line(upload)));
    }
    let refused =
        status.uploads.iter().flatten().filter(|upload| upload.state == Some(UploadState::Refused));
    for upload in refused.take(REFUSED_SHOWN) {
        lines.push(field("refused", &upload_line(upload)));
        lines.push(format!("{:14}{}", "", refusal(upload)));
    }
    lines
}

/// Why a deployment did not succeed, below it. Of alarms its progress tells more.
fn reason_line(info: &DeploymentInfo) -> Option<String> {
    let code = info.error_information.as_ref().and_then(|error| error.code);
    let reason = text::reason(info).filter(|_| code != Some(ErrorCode::AlarmActive))?;
    Some(format!("{:14}{reason}", ""))
}

/// How far a deployment is, below it.
fn progress_lines(group: &GroupStatus, info: &DeploymentInfo) -> Vec<String> {
    let of = progress::of(info);
    let known = |id: &str| group.deployments_progress.get(id);
    let own = known(of.id).map(|known| progress::lines(known, of, output::now()));
    let cause = rolled_back(info).and_then(known).map(progress::fired);
    let lines = own.into_iter().chain(cause).flatten();
    lines.map(|line| format!("{:14}{}", "", line.whole())).collect()
}

/// The deployment that a rollback takes back.
fn rolled_back(info: &DeploymentInfo) -> Option<&str> {
    info.rollback_info.as_ref()?.rollback_triggering_deployment_id.as_deref()
}

fn field(name: &str, value: &str) -> String {
    format!("  {name:<12}{value}")
}

fn deployment_line(info: &DeploymentInfo) -> String {
    let overview = info.deployment_overview.clone().unwrap_or_default();
    let counts = [
        (overview.succeeded, "succeeded"),
        (overview.in_progress, "at work"),
        (overview.pending, "pending"),
        (overview.failed, "failed"),
        (overview.skipped, "skipped"),
    ];
    let counts = counts
        .into_iter()
        .filter_map(|(count, what)| Some((count.filter(|count| *count > 0)?, what)));
    let counts: Vec<String> = counts.map(|(count, what)| format!("{count} {what}")).collect();
    let rollback = info.rollback_info.as_ref();
    let back = rollback
        .and_then(|info| info.rollback_deployment_id.as_deref())
        .map(|id| format!("rolled back by {id}"));
    let of = rolled_back(info).map(|id| format!("rolls back {id}"));
    let parts = [
        info.deployment_id.clone(),
        info.status.map(DeploymentStatus::name).map(str::to_owned),
        (!counts.is_empty()).then(|| format!("({})", counts.join(", "))),
        info.complete_time.or(info.create_time).map(moment),
        revision_url(info.revision.as_ref()),
        of,
        back,
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

fn upload_line(upload: &UploadInfo) -> String {
    let part = |text: &Option<String>| one_line(text.as_deref().unwrap_or("?"));
    let time = upload.time.map(|time| format!("  {}", moment(time))).unwrap_or_default();
    format!("s3://{}/{}{time}", part(&upload.bucket), part(&upload.key))
}

/// The reason, after `file:line:column:` unless it begins with the place by itself.
fn refusal(upload: &UploadInfo) -> String {
    let place = [
        upload.file.as_deref().map(one_line),
        upload.line.map(|n| n.to_string()),
        upload.column.map(|n| n.to_string()),
    ];
    let place: String = place.into_iter().flatten().map(|part| format!("{part}:")).collect();
    let reason = one_line(upload.reason.as_deref().unwrap_or("no reason is known"));
    if place.is_empty() || reason.starts_with(&place) {
        reason
    } else {
        format!("{place} {reason}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_refusal_is_told_once() {
        let upload = |reason: &str| UploadInfo {
            reason: Some(reason.to_owned()),
            file: Some("appspec.yml".to_owned()),
            line: Some(3),
            column: Some(5),
            ..UploadInfo::default()
        };
        for reason in ["appspec.yml:3:5: save it as UTF-8", "save it as UTF-8"] {
            assert_eq!(refusal(&upload(reason)), "appspec.yml:3:5: save it as UTF-8");
        }
    }
}
