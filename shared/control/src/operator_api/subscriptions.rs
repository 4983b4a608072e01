//! Subscriptions of groups to uploads, and what a group is doing.

use engine::group::Upload;
use wire::codedeploy::{Empty, ErrorName};
use wire::cutover::{
    self, GetGroupStatus, GetGroupStatusOutput, ListSubscriptions, ListSubscriptionsOutput,
    SetGroupOptions, Subscribe, Unsubscribe, UploadInfo,
};

use super::{refuse, text};
use crate::rows::{self, Application, Group, Row, Subscription, UploadRow, UploadState};
use crate::table::{Condition, Index, Query, Write};
use crate::{Error, OperatorApi};

/// How many uploads a group's status shows.
const UPLOADS: usize = 20;

impl OperatorApi {
    /// `Subscribe`: what is uploaded from now on is deployed to the group. Doing it twice changes nothing.
    pub async fn subscribe(&self, request: &Subscribe) -> Result<Empty, Error> {
        let bucket = text(&request.bucket);
        if let Some(announced) = self.bundles.announced().filter(|announced| *announced != bucket) {
            let message = format!(
                "Uploads to the bucket `{bucket}` are not noticed here. Use the bucket `{announced}`."
            );
            return Err(refuse(ErrorName::Validation, message));
        }
        loop {
            let (_, found) = self
                .application_and_group(&request.application_name, &request.deployment_group_name)
                .await?;
            let row = Subscription {
                bucket: bucket.to_owned(),
                prefix: text(&request.prefix).to_owned(),
                group_id: found.group.row.id.clone(),
                since: found.group.row.slot.newest_upload,
            };
            let known = rows::load::<Subscription>(&*self.base.table, &row.key()).await?;
            let exists = Write::Check(found.group.row.key(), Condition::Exists);
            if known.is_some()
                || self.base.write_unless_changed(&[exists, rows::create(&row)?]).await?
            {
                return Ok(Empty {});
            }
        }
    }

    /// `Unsubscribe`.
    pub async fn unsubscribe(&self, request: &Unsubscribe) -> Result<Empty, Error> {
        let (_, found) = self
            .application_and_group(&request.application_name, &request.deployment_group_name)
            .await?;
        let row = Subscription {
            bucket: text(&request.bucket).to_owned(),
            prefix: text(&request.prefix).to_owned(),
            group_id: found.group.row.id,
            since: 0,
        };
        if rows::load::<Subscription>(&*self.base.table, &row.key()).await?.is_none() {
            let message = format!(
                "The group is not subscribed to `s3://{}/{}`. List its subscriptions.",
                row.bucket, row.prefix
            );
            return Err(refuse(ErrorName::Validation, message));
        }
        self.base.table.write(&[Write::Delete(row.key(), Condition::None)]).await?;
        Ok(Empty {})
    }

    /// `ListSubscriptions`: of a group, of an application, or all.
    pub async fn list_subscriptions(
        &self,
        request: &ListSubscriptions,
    ) -> Result<ListSubscriptionsOutput, Error> {
        let given = |name: &Option<String>| name.as_ref().is_some_and(|name| !name.is_empty());
        let mut groups = Vec::new();
        if given(&request.deployment_group_name) {
            let (application, found) = self
                .application_and_group(&request.application_name, &request.deployment_group_name)
                .await?;
            groups.push((application.name, found.group.row));
        } else {
            let applications: Vec<Application> = if given(&request.application_name) {
                vec![self.application(text(&request.application_name)).await?.row]
            } else {
                let query = Query::prefix(Application::ALL, "", 1000);
                let all = rows::load_all::<Application>(&*self.base.table, query).await?;
                all.into_iter().map(|stored| stored.row).collect()
            };
            for application in applications {
                let of = self.groups_of(&application.id).await?;
                groups.extend(of.into_iter().map(|group| (application.name.clone(), group)));
            }
        }
        let mut subscriptions = Vec::new();
        for (application, group) in &groups {
            subscriptions.extend(self.shown_subscriptions(application, group).await?);
        }
        Ok(ListSubscriptionsOutput { subscriptions: Some(subscriptions) })
    }

    async fn shown_subscriptions(
        &self,
        application: &str,
        group: &Group,
    ) -> Result<Vec<cutover::Subscription>, Error> {
        let found = self.subscriptions_of(&group.id).await?;
        Ok(found
            .into_iter()
            .map(|stored| cutover::Subscription {
                application_name: Some(application.to_owned()),
                deployment_group_name: Some(group.name.clone()),
                bucket: Some(stored.row.bucket),
                prefix: Some(stored.row.prefix),
            })
            .collect())
    }

    /// `GetGroupStatus`.
    pub async fn get_group_status(
        &self,
        request: &GetGroupStatus,
    ) -> Result<GetGroupStatusOutput, Error> {
        let (application, found) = self
            .application_and_group(&request.application_name, &request.deployment_group_name)
            .await?;
        let group = found.group.row;
        let mut query = Query::prefix(UploadRow::list_of(&group.id), "", UPLOADS);
        query.descending = true;
        let keys = self.base.table.query_index(Index::Listed, &query).await?.items;
        let uploads = rows::load_many::<UploadRow>(&*self.base.table, &keys).await?;
        let subscriptions = self.shown_subscriptions(&application.name, &group).await?;
        let slot = group.slot;
        Ok(GetGroupStatusOutput {
            active_deployment_id: slot.active.map(|id| id.to_string()),
            queued_upload: slot.queued.map(queued),
            last_successful_deployment_id: slot
                .last_successful
                .map(|last| last.deployment.to_string()),
            last_attempted_deployment_id: slot.last_attempted.map(|id| id.to_string()),
            uploads: Some(uploads.into_iter().map(|stored| shown(stored.row)).collect()),
            subscriptions: Some(subscriptions),
        })
    }

    /// `SetGroupOptions`: settings of a group that CodeDeploy has no member for. What is absent stays.
    pub async fn set_group_options(&self, request: &SetGroupOptions) -> Result<Empty, Error> {
        loop {
            let (_, mut found) = self
                .application_and_group(&request.application_name, &request.deployment_group_name)
                .await?;
            let group = &mut found.group.row;
            if let Some(seconds) = request.host_silence_seconds {
                group.silence_ms = seconds * 1000;
            }
            if let Some(rerun) = request.rerun_interrupted_hooks {
                group.rerun_interrupted = rerun;
            }
            if self.base.write_unless_changed(&[found.group.replace()?]).await? {
                return Ok(Empty {});
            }
        }
    }
}

fn queued(upload: Upload) -> UploadInfo {
    UploadInfo {
        bucket: Some(upload.revision.bucket),
        key: Some(upload.revision.key),
        identity: Some(upload.identity),
        e_tag: upload.revision.e_tag,
        size: Some(upload.pin.size),
        time: Some(upload.at.into()),
        state: Some(cutover::UploadState::Waiting),
        ..Default::default()
    }
}

fn shown(row: UploadRow) -> UploadInfo {
    let info = UploadInfo {
        bucket: Some(row.bucket),
        key: Some(row.key),
        identity: Some(row.identity),
        e_tag: row.e_tag,
        size: row.size,
        time: Some(row.at.into()),
        ..Default::default()
    };
    match row.state {
        UploadState::Waiting => UploadInfo { state: Some(cutover::UploadState::Waiting), ..info },
        UploadState::Superseded => {
            UploadInfo { state: Some(cutover::UploadState::Superseded), ..info }
        }
        UploadState::Started(id) => UploadInfo {
            state: Some(cutover::UploadState::Started),
            deployment_id: Some(id.to_string()),
            ..info
        },
        UploadState::Refused { reason, file, position } => UploadInfo {
            state: Some(cutover::UploadState::Refused),
            reason: Some(reason),
            file,
            line: position.map(|at| at.line),
            column: position.map(|at| at.column),
            ..info
        },
    }
}
