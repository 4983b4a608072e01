//! Revisions (`docs/semantics.md#revisions`).

use engine::{BundleType, Revision, Timestamp};
use wire::codedeploy::{
    BatchGetApplicationRevisions, BatchGetApplicationRevisionsOutput, Empty, ErrorName,
    GenericRevisionInfo, GetApplicationRevision, GetApplicationRevisionOutput,
    ListApplicationRevisions, ListApplicationRevisionsOutput, ListStateFilterAction,
    RegisterApplicationRevision, RevisionInfo, RevisionLocation, RevisionSortBy, S3Location,
    SortOrder,
};

use super::paging::{Listing, PAGE};
use super::{refuse, text, word};
use crate::rows::{self, Application, Group, GroupName, RegisteredRevision, Row, digits};
use crate::table::Query;
use crate::{Control, Error};

/// The revision that a location names.
pub(super) fn revision_of(location: Option<&RevisionLocation>) -> Result<Revision, Error> {
    let invalid = |message: String| refuse(ErrorName::InvalidRevision, message);
    let location = location
        .ok_or_else(|| refuse(ErrorName::RevisionRequired, "RevisionLocation must be specified"))?;
    let object = match (&location.s3_location, location.revision_type.as_deref()) {
        (Some(object), None | Some("S3")) => object,
        (None, None | Some("S3")) => {
            return Err(invalid("The revision names no object: give an s3Location.".into()));
        }
        (_, Some(other)) => {
            return Err(invalid(format!(
                "Revisions of type `{other}` cannot be deployed to hosts here. Put the bundle into a bucket and give an s3Location."
            )));
        }
    };
    let bundle_type = match text(&object.bundle_type) {
        "tar" => BundleType::Tar,
        "tgz" => BundleType::Tgz,
        "zip" => BundleType::Zip,
        other => {
            return Err(invalid(format!(
                "The bundle type `{other}` is not one of tar, tgz, zip."
            )));
        }
    };
    let given = |member: &Option<String>| {
        member.clone().map(|text| text.trim_matches('"').to_owned()).filter(|text| !text.is_empty())
    };
    match (given(&object.bucket), given(&object.key)) {
        (Some(bucket), Some(key)) => Ok(Revision {
            bucket,
            key,
            bundle_type,
            version: given(&object.version),
            e_tag: given(&object.e_tag),
        }),
        _ => Err(invalid("The s3Location lacks its bucket or its key.".into())),
    }
}

/// The location of a revision.
pub(super) fn location_of(revision: &Revision) -> RevisionLocation {
    let Revision { bucket, key, bundle_type, version, e_tag } = revision.clone();
    RevisionLocation {
        revision_type: Some("S3".to_owned()),
        s3_location: Some(S3Location {
            bucket: Some(bucket),
            key: Some(key),
            bundle_type: Some(bundle_type.name().to_owned()),
            version,
            e_tag,
        }),
        ..Default::default()
    }
}

/// A group and the revision that was deployed to it last, whatever became of it.
struct Target {
    group: String,
    revision: Revision,
}

fn info(row: &RegisteredRevision, targets: &[Target]) -> GenericRevisionInfo {
    let groups = targets.iter().filter(|target| target.revision == row.revision);
    GenericRevisionInfo {
        description: row.description.clone(),
        deployment_groups: Some(groups.map(|target| target.group.clone()).collect()),
        first_used_time: row.first_used_at.map(Into::into),
        last_used_time: row.last_used_at.map(Into::into),
        register_time: Some(row.registered_at.into()),
    }
}

impl Control {
    /// `RegisterApplicationRevision`; one that is known gets the description.
    pub async fn register_application_revision(
        &self,
        request: &RegisterApplicationRevision,
    ) -> Result<Empty, Error> {
        loop {
            let application = self.application(text(&request.application_name)).await?;
            let revision = revision_of(request.revision.as_ref())?;
            let key = RegisteredRevision::key_of(&application.row.id, &revision);
            let known = rows::load::<RegisteredRevision>(&*self.table, &key).await?;
            let write = match known {
                Some(mut known) => {
                    known.row.description.clone_from(&request.description);
                    known.replace()?
                }
                None => rows::create(&RegisteredRevision {
                    application_id: application.row.id.clone(),
                    revision,
                    description: request.description.clone(),
                    registered_at: self.now(),
                    first_used_at: None,
                    last_used_at: None,
                    pin: None,
                    groups: Vec::new(),
                })?,
            };
            if self.write_unless_changed(&[application.unchanged(), write]).await? {
                return Ok(Empty {});
            }
        }
    }

    async fn find_revision(
        &self,
        application: &Application,
        revision: &Revision,
    ) -> Result<Option<RegisteredRevision>, Error> {
        let key = RegisteredRevision::key_of(&application.id, revision);
        Ok(rows::load(&*self.table, &key).await?.map(|stored| stored.row))
    }

    /// `GetApplicationRevision`.
    pub async fn get_application_revision(
        &self,
        request: &GetApplicationRevision,
    ) -> Result<GetApplicationRevisionOutput, Error> {
        let application = self.application(text(&request.application_name)).await?.row;
        let revision = revision_of(request.revision.as_ref())?;
        let found = self.find_revision(&application, &revision).await?.ok_or_else(|| {
            let message = format!(
                "The application has no revision s3://{}/{} with this bundle type, version and eTag. Name it as it was registered.",
                revision.bucket, revision.key
            );
            refuse(ErrorName::RevisionDoesNotExist, message)
        })?;
        let targets = self.targets_of(&application).await?;
        Ok(GetApplicationRevisionOutput {
            application_name: Some(application.name),
            revision: Some(location_of(&found.revision)),
            revision_info: Some(info(&found, &targets)),
        })
    }

    /// `BatchGetApplicationRevisions`: names those that there are not.
    pub async fn batch_get_application_revisions(
        &self,
        request: &BatchGetApplicationRevisions,
    ) -> Result<BatchGetApplicationRevisionsOutput, Error> {
        let application = self.application(text(&request.application_name)).await?.row;
        let targets = self.targets_of(&application).await?;
        let mut found = Vec::new();
        let mut missing = Vec::new();
        for location in request.revisions.iter().flatten() {
            let revision = revision_of(Some(location))?;
            match self.find_revision(&application, &revision).await? {
                Some(row) => found.push(RevisionInfo {
                    revision_location: Some(location_of(&row.revision)),
                    generic_revision_info: Some(info(&row, &targets)),
                }),
                None => missing.push(format!("s3://{}/{}", revision.bucket, revision.key)),
            }
        }
        let error_message = match missing.as_slice() {
            [] => String::new(),
            missing => format!("The application has no revision {}", missing.join(", ")),
        };
        Ok(BatchGetApplicationRevisionsOutput {
            application_name: Some(application.name),
            error_message: Some(error_message),
            revisions: Some(found),
        })
    }

    /// `ListApplicationRevisions`.
    pub async fn list_application_revisions(
        &self,
        request: &ListApplicationRevisions,
    ) -> Result<ListApplicationRevisionsOutput, Error> {
        let application = self.application(text(&request.application_name)).await?.row;
        let sort_by = word(request.sort_by.as_deref(), ErrorName::InvalidSortBy)?;
        let order = word(request.sort_order.as_deref(), ErrorName::InvalidSortOrder)?;
        let deployed = word(request.deployed.as_deref(), ErrorName::InvalidDeployedStateFilter)?;
        let listing = Listing::new(
            "ListApplicationRevisions",
            &format!("{}\n{sort_by:?}\n{order:?}", application.id),
        );
        let after = listing.place(request.next_token.as_deref())?;
        let query = Query::prefix(RegisteredRevision::all_of(&application.id), "", 1000);
        let mut all: Vec<RegisteredRevision> = rows::load_all(&*self.table, query)
            .await?
            .into_iter()
            .map(|stored| stored.row)
            .collect();
        let bucket = request.s3_bucket.as_deref();
        let prefix = text(&request.s3_key_prefix);
        all.retain(|row| {
            bucket.is_none_or(|bucket| bucket == row.revision.bucket)
                && row.revision.key.starts_with(prefix)
        });
        if let Some(wanted @ (ListStateFilterAction::Include | ListStateFilterAction::Exclude)) =
            deployed
        {
            let targets = self.targets_of(&application).await?;
            let wanted = wanted == ListStateFilterAction::Include;
            all.retain(|row| targets.iter().any(|t| t.revision == row.revision) == wanted);
        }
        let sort_by = sort_by.unwrap_or(RevisionSortBy::RegisterTime);
        let mut places: Vec<(String, RegisteredRevision)> =
            all.into_iter().map(|row| (place(&row, sort_by), row)).collect();
        places.sort_by(|a, b| a.0.cmp(&b.0));
        if order == Some(SortOrder::Descending) {
            places.reverse();
        }
        if let Some(after) = after {
            let passed = |place: &String| {
                if order == Some(SortOrder::Descending) { *place >= after } else { *place <= after }
            };
            places.retain(|(place, _)| !passed(place));
        }
        let more = places.len() > PAGE;
        places.truncate(PAGE);
        let last = places.last().filter(|_| more).map(|(place, _)| listing.token(place));
        Ok(ListApplicationRevisionsOutput {
            revisions: Some(places.iter().map(|(_, row)| location_of(&row.revision)).collect()),
            next_token: last,
        })
    }

    /// What each group of an application was last deployed.
    async fn targets_of(&self, application: &Application) -> Result<Vec<Target>, Error> {
        let mut targets = Vec::new();
        for group in self.groups_of(&application.id).await? {
            let Some(last) = &group.slot.last_attempted else { continue };
            if let Some(stored) = self.deployment(last).await? {
                let revision = stored.row.deployment.order().revision.clone();
                targets.push(Target { group: group.name, revision });
            }
        }
        Ok(targets)
    }

    /// The groups of an application, by name.
    pub(super) async fn groups_of(&self, application_id: &str) -> Result<Vec<Group>, Error> {
        let query = Query::prefix(GroupName::all_of(application_id), "", 1000);
        let names = rows::load_all::<GroupName>(&*self.table, query).await?;
        let keys: Vec<_> = names.iter().map(|name| Group::key_of(&name.row.id)).collect();
        let groups = rows::load_many::<Group>(&*self.table, &keys).await?;
        Ok(groups.into_iter().map(|stored| stored.row).collect())
    }
}

/// Where a revision stands in the order; no two have the same place.
fn place(row: &RegisteredRevision, sort_by: RevisionSortBy) -> String {
    let at = match sort_by {
        RevisionSortBy::RegisterTime => Some(row.registered_at),
        RevisionSortBy::FirstUsedTime => row.first_used_at,
        RevisionSortBy::LastUsedTime => row.last_used_at,
    };
    [digits(at.unwrap_or(Timestamp(0)).0), row.key().sort].join("#")
}
