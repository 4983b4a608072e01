//! Uploads: from an object that was put into a bucket to the deployments that it starts.

pub mod bundles;
mod pin;
pub mod unhandled;

use std::sync::Arc;

use async_trait::async_trait;
use engine::deployment::{Fact, Request};
use engine::group::{Admission, Upload};
use engine::{BundleType, GroupId, Pin, Revision};
use tracing::info;
use wire::codedeploy::{CONTENT_LIMIT, ComputePlatform};

use crate::content::pin_of;
use crate::performing::Performs;
use crate::ports::{Bundles, Object, PinError, Pinned, Refused, Uploaded};
use crate::rows::{
    self, DeploymentRow, Group, RegisteredRevision, Stored, Subscription, UploadRow, UploadState,
};
use crate::table::Query;
use crate::{Base, Error};

/// Takes uploads and keeps the bytes of revisions: what `revision_intake` is.
#[derive(Clone)]
pub struct RevisionIntake {
    /// What every role works on.
    pub base: Base,
    /// The buckets.
    pub bundles: Arc<dyn Bundles>,
}

#[async_trait]
impl Performs for RevisionIntake {
    fn base(&self) -> &Base {
        &self.base
    }

    async fn perform(
        &self,
        deployment: &Stored<DeploymentRow>,
        request: &Request,
    ) -> Result<Vec<Fact>, Error> {
        if *request != Request::PinRevision {
            return Err(Error::misdirected(request));
        }
        self.pin_revision(&deployment.row.deployment).await.map(|fact| vec![fact])
    }
}

fn object_of(uploaded: &Uploaded) -> Object {
    Object {
        bucket: uploaded.bucket.clone(),
        key: uploaded.key.clone(),
        version: uploaded.version.clone(),
        e_tag: uploaded.e_tag.clone(),
    }
}

fn revision_of(uploaded: &Uploaded, bundle_type: BundleType, content: Option<String>) -> Revision {
    let Object { bucket, key, version, e_tag } = object_of(uploaded);
    Revision { bucket, key, bundle_type, version, e_tag, content }
}

/// Tells what is refused for good from what may be tried again.
fn refusable<T>(read: Result<T, PinError>) -> Result<Result<T, Refused>, Error> {
    match read {
        Ok(read) => Ok(Ok(read)),
        Err(PinError::Refused(why)) => Ok(Err(why)),
        Err(error @ PinError::Missing { .. }) => {
            let message = format!("{error}: it was deleted or overwritten before it could be read");
            Ok(Err(Refused { message, file: None, position: None }))
        }
        Err(error @ PinError::Unavailable(_)) => Err(error.into()),
    }
}

impl RevisionIntake {
    /// Handles an upload: for each group that subscribed to it, starts a deployment, lets it wait, or notes why not.
    /// Handling it again does nothing more. Only when this returns without an error is the upload handled.
    pub async fn take_upload(&self, uploaded: &Uploaded) -> Result<(), Error> {
        let subscribed = self.subscribed(uploaded).await?;
        // As hosts take it, and as an AppSpec by itself.
        let (mut bundle, mut spec) = (None, None);
        for group in subscribed {
            let key = UploadRow::key_of(&uploaded.bucket, &uploaded.identity, &group);
            if rows::load::<UploadRow>(&*self.base.table, &key).await?.is_some() {
                continue;
            }
            let goes_to_hosts = self.goes_to_hosts(&group).await?;
            let read = if goes_to_hosts { &mut bundle } else { &mut spec };
            let outcome = match read.take() {
                Some(outcome) => outcome,
                None if goes_to_hosts => self.pin_upload(uploaded).await?,
                None => self.read_upload(uploaded).await?,
            };
            match &outcome {
                Ok(revision) => self.admit(uploaded, &group, revision).await?,
                Err(why) => self.refuse_upload(uploaded, &group, why).await?,
            }
            *read = Some(outcome);
        }
        Ok(())
    }

    async fn goes_to_hosts(&self, group: &GroupId) -> Result<bool, Error> {
        let group = rows::load::<Group>(&*self.base.table, &Group::key_of(group)).await?;
        let Some(group) = group else { return Ok(true) };
        Ok(self.base.platform_of(&group.row.application_id).await? == ComputePlatform::Server)
    }

    /// The groups that want the upload, each once.
    async fn subscribed(&self, uploaded: &Uploaded) -> Result<Vec<GroupId>, Error> {
        let query = Query::prefix(Subscription::all_of(&uploaded.bucket), "", 1000);
        let all: Vec<Stored<Subscription>> = rows::load_all(&*self.base.table, query).await?;
        let wants =
            |s: &Subscription| uploaded.key.starts_with(&s.prefix) && uploaded.order > s.since;
        let mut groups: Vec<GroupId> =
            all.into_iter().map(|stored| stored.row).filter(wants).map(|s| s.group_id).collect();
        groups.sort();
        groups.dedup();
        Ok(groups)
    }

    /// Checks an upload as a bundle for hosts, and keeps its bytes.
    async fn pin_upload(
        &self,
        uploaded: &Uploaded,
    ) -> Result<Result<(Revision, Pin), Refused>, Error> {
        let pinned = self.bundles.pin(&object_of(uploaded)).await;
        let of = |Pinned { pin, bundle_type, .. }| (revision_of(uploaded, bundle_type, None), pin);
        refusable(pinned.map(of))
    }

    /// Reads an upload as an AppSpec by itself.
    async fn read_upload(
        &self,
        uploaded: &Uploaded,
    ) -> Result<Result<(Revision, Pin), Refused>, Error> {
        let read = self.bundles.read(&object_of(uploaded), CONTENT_LIMIT).await;
        refusable(read.map(|content| {
            let pin = pin_of(&content);
            (revision_of(uploaded, BundleType::of_content(&content), Some(content)), pin)
        }))
    }

    /// Registers the revision and starts it, or lets it wait, with the record of the upload in one transaction.
    async fn admit(
        &self,
        uploaded: &Uploaded,
        group: &GroupId,
        (revision, pin): &(Revision, Pin),
    ) -> Result<(), Error> {
        loop {
            let now = self.base.now();
            let Some(mut group) =
                rows::load::<Group>(&*self.base.table, &Group::key_of(group)).await?
            else {
                return Ok(());
            };
            let upload = Upload {
                identity: uploaded.identity.clone(),
                order: uploaded.order,
                rank: uploaded.rank.clone(),
                revision: revision.clone(),
                pin: pin.clone(),
                at: now,
            };
            let replaced = group.row.slot.queued.clone();
            let admission = group.row.slot.admit(&upload);
            let id = self.base.new_deployment_id();
            let mut writes = vec![self.register_upload(&group.row, &upload).await?];
            let state = match admission {
                Admission::Start => {
                    match self.base.start_upload(&mut group, &upload, id.clone(), now).await {
                        Ok(row) => {
                            writes.extend(row.begin()?);
                            UploadState::Started(id.clone())
                        }
                        // Trying again would not change what the group asks for.
                        Err(Error::Refused(why)) => UploadState::refused(&why),
                        Err(error) => return Err(error),
                    }
                }
                Admission::Wait => {
                    if let Some(replaced) = replaced {
                        writes.extend(self.supersede(&replaced, &group.row.id).await?);
                    }
                    UploadState::Waiting
                }
                Admission::Superseded => UploadState::Superseded,
            };
            writes.push(group.replace()?);
            writes.push(rows::create(&self.upload_row(uploaded, &group.row.id, state))?);
            match self.base.table.write(&writes).await.map_err(Error::from) {
                Ok(()) => {
                    info!(group = %group.row.id, key = uploaded.key, identity = uploaded.identity, ?admission, "upload");
                    if admission == Admission::Start {
                        self.base.waker.wake(&id, Vec::new());
                    }
                    return Ok(());
                }
                Err(error) if error.is_conflict() => {
                    let key =
                        UploadRow::key_of(&uploaded.bucket, &uploaded.identity, &group.row.id);
                    if rows::load::<UploadRow>(&*self.base.table, &key).await?.is_some() {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn supersede(
        &self,
        replaced: &Upload,
        group: &GroupId,
    ) -> Result<Option<crate::table::Write>, Error> {
        let key = UploadRow::key_of(&replaced.revision.bucket, &replaced.identity, group);
        let Some(mut record) = rows::load::<UploadRow>(&*self.base.table, &key).await? else {
            return Ok(None);
        };
        record.row.state = UploadState::Superseded;
        record.replace().map(Some)
    }

    async fn register_upload(
        &self,
        group: &Group,
        upload: &Upload,
    ) -> Result<crate::table::Write, Error> {
        let key = RegisteredRevision::key_of(&group.application_id, &upload.revision);
        if let Some(mut known) = rows::load::<RegisteredRevision>(&*self.base.table, &key).await? {
            known.row.pin = Some(upload.pin.clone());
            return known.replace();
        }
        rows::create(&RegisteredRevision {
            application_id: group.application_id.clone(),
            revision: upload.revision.clone(),
            description: Some("Registered by its upload".to_owned()),
            registered_at: upload.at,
            first_used_at: None,
            last_used_at: None,
            pin: Some(upload.pin.clone()),
            groups: Vec::new(),
        })
    }

    async fn refuse_upload(
        &self,
        uploaded: &Uploaded,
        group: &GroupId,
        why: &Refused,
    ) -> Result<(), Error> {
        let Refused { message, file, position } = why.clone();
        let state = UploadState::Refused { reason: message, file, position };
        match self
            .base
            .table
            .write(&[rows::create(&self.upload_row(uploaded, group, state))?])
            .await
            .map_err(Error::from)
        {
            Err(error) if !error.is_conflict() => Err(error),
            _ => Ok(()),
        }
    }

    fn upload_row(&self, uploaded: &Uploaded, group: &GroupId, state: UploadState) -> UploadRow {
        UploadRow {
            bucket: uploaded.bucket.clone(),
            key: uploaded.key.clone(),
            identity: uploaded.identity.clone(),
            order: uploaded.order,
            e_tag: uploaded.e_tag.clone(),
            size: uploaded.size,
            group_id: group.clone(),
            at: self.base.now(),
            state,
        }
    }
}
