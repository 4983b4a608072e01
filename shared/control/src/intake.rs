//! Uploads: from an object that was put into a bucket to the deployments that it starts.

use engine::group::{Admission, Upload};
use engine::{GroupId, Revision};
use tracing::info;

use crate::ports::{Object, PinError, Pinned, Refused};
use crate::rows::{self, Group, RegisteredRevision, Stored, Subscription, UploadRow, UploadState};
use crate::table::Query;
use crate::{Control, Error};

/// An object that was put into a bucket, once or again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The identity of the PUT: the object's version where the bucket has versions.
    pub identity: String,
    /// The place in the order of uploads: later ones have higher numbers.
    pub order: u64,
    /// The object's version, where the bucket has versions.
    pub version: Option<String>,
    /// The ETag, without quotes.
    pub e_tag: Option<String>,
    /// The size in bytes.
    pub size: Option<u64>,
}

impl Control {
    /// Handles an upload: for each group that subscribed to it, starts a deployment, lets it wait, or notes why not.
    /// Handling it again does nothing more. Only when this returns without an error is the upload handled.
    pub async fn take_upload(&self, uploaded: &Uploaded) -> Result<(), Error> {
        let subscribed = self.subscribed(uploaded).await?;
        let mut pinned = None;
        for group in subscribed {
            let key = UploadRow::key_of(&uploaded.bucket, &uploaded.identity, &group);
            if rows::load::<UploadRow>(&*self.table, &key).await?.is_some() {
                continue;
            }
            let outcome = match pinned.take() {
                Some(outcome) => outcome,
                None => self.pin_upload(uploaded).await?,
            };
            match &outcome {
                Ok(bundle) => self.admit(uploaded, &group, bundle).await?,
                Err(why) => self.refuse_upload(uploaded, &group, why).await?,
            }
            pinned = Some(outcome);
        }
        Ok(())
    }

    /// The groups that want the upload, each once.
    async fn subscribed(&self, uploaded: &Uploaded) -> Result<Vec<GroupId>, Error> {
        let query = Query::prefix(Subscription::all_of(&uploaded.bucket), "", 1000);
        let all: Vec<Stored<Subscription>> = rows::load_all(&*self.table, query).await?;
        let wants =
            |s: &Subscription| uploaded.key.starts_with(&s.prefix) && uploaded.order > s.since;
        let mut groups: Vec<GroupId> =
            all.into_iter().map(|stored| stored.row).filter(wants).map(|s| s.group_id).collect();
        groups.sort();
        groups.dedup();
        Ok(groups)
    }

    async fn pin_upload(
        &self,
        uploaded: &Uploaded,
    ) -> Result<Result<(Revision, Pinned), Refused>, Error> {
        let object = Object {
            bucket: uploaded.bucket.clone(),
            key: uploaded.key.clone(),
            version: uploaded.version.clone(),
            e_tag: uploaded.e_tag.clone(),
        };
        match self.bundles.pin(&object).await {
            Ok(pinned) => {
                let Object { bucket, key, version, e_tag } = object;
                Ok(Ok((
                    Revision {
                        bucket,
                        key,
                        bundle_type: pinned.bundle_type,
                        version,
                        e_tag,
                        content: None,
                    },
                    pinned,
                )))
            }
            Err(PinError::Refused(why)) => Ok(Err(why)),
            Err(error @ PinError::Missing { .. }) => {
                let message =
                    format!("{error}: it was deleted or overwritten before it could be read");
                Ok(Err(Refused { message, file: None, position: None }))
            }
            Err(error @ PinError::Unavailable(_)) => Err(error.into()),
        }
    }

    /// Registers the revision and starts it, or lets it wait, with the record of the upload in one transaction.
    async fn admit(
        &self,
        uploaded: &Uploaded,
        group: &GroupId,
        (revision, pinned): &(Revision, Pinned),
    ) -> Result<(), Error> {
        loop {
            let now = self.now();
            let Some(mut group) = rows::load::<Group>(&*self.table, &Group::key_of(group)).await?
            else {
                return Ok(());
            };
            let upload = Upload {
                identity: uploaded.identity.clone(),
                order: uploaded.order,
                revision: revision.clone(),
                pin: pinned.pin.clone(),
                at: now,
            };
            let replaced = group.row.slot.queued.clone();
            let admission = group.row.slot.admit(&upload);
            let id = self.new_deployment_id();
            let mut writes = vec![self.register_upload(&group.row, &upload).await?];
            let state = match admission {
                Admission::Start => {
                    match self.start_upload(&mut group, &upload, id.clone(), now).await {
                        Ok(row) => {
                            writes.push(rows::create(&row)?);
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
            match self.table.write(&writes).await.map_err(Error::from) {
                Ok(()) => {
                    info!(group = %group.row.id, key = uploaded.key, identity = uploaded.identity, ?admission, "upload");
                    if admission == Admission::Start {
                        self.bell.ring(&id, Vec::new());
                    }
                    return Ok(());
                }
                Err(error) if error.is_conflict() => {
                    let key =
                        UploadRow::key_of(&uploaded.bucket, &uploaded.identity, &group.row.id);
                    if rows::load::<UploadRow>(&*self.table, &key).await?.is_some() {
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
        let Some(mut record) = rows::load::<UploadRow>(&*self.table, &key).await? else {
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
        if let Some(mut known) = rows::load::<RegisteredRevision>(&*self.table, &key).await? {
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
            at: self.now(),
            state,
        }
    }
}
