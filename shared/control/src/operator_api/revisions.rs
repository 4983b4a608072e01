//! Revisions (`docs/semantics.md#revisions`).

use engine::{Revision, Timestamp};
use wire::codedeploy::{
    BatchGetApplicationRevisions, BatchGetApplicationRevisionsOutput, Empty, ErrorName,
    GenericRevisionInfo, GetApplicationRevision, GetApplicationRevisionOutput,
    ListApplicationRevisions, ListApplicationRevisionsOutput, ListStateFilterAction,
    RegisterApplicationRevision, RevisionInfo, RevisionLocation, RevisionSortBy, SortOrder,
};

use super::paging::{Listing, PAGE};
use super::{refuse, text, word};
use crate::rows::{self, Application, Group, GroupName, RegisteredRevision, Row, digits};
use crate::table::Query;
use crate::{Error, OperatorApi};

/// The revision that a location names.
pub(super) fn revision_of(location: Option<&RevisionLocation>) -> Result<Revision, Error> {
    let location = location
        .ok_or_else(|| refuse(ErrorName::RevisionRequired, "RevisionLocation must be specified"))?;
    Ok(location.try_into()?)
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

impl OperatorApi {
    /// `RegisterApplicationRevision`; one that is known gets the description.
    pub async fn register_application_revision(
        &self,
        request: &RegisterApplicationRevision,
    ) -> Result<Empty, Error> {
        loop {
            let application = self.application(text(&request.application_name)).await?;
            let revision = revision_of(request.revision.as_ref())?;
            let key = RegisteredRevision::key_of(&application.row.id, &revision);
            let known = rows::load::<RegisteredRevision>(&*self.base.table, &key).await?;
            let write = match known {
                Some(mut known) => {
                    known.row.description.clone_from(&request.description);
                    known.replace()?
                }
                None => rows::create(&RegisteredRevision {
                    application_id: application.row.id.clone(),
                    revision,
                    description: request.description.clone(),
                    registered_at: self.base.now(),
                    first_used_at: None,
                    last_used_at: None,
                    pin: None,
                    groups: Vec::new(),
                })?,
            };
            if self.base.write_unless_changed(&[application.unchanged(), write]).await? {
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
        Ok(rows::load(&*self.base.table, &key).await?.map(|stored| stored.row))
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
            revision: Some((&found.revision).into()),
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
                    revision_location: Some((&row.revision).into()),
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
        let mut all: Vec<RegisteredRevision> = rows::load_all(&*self.base.table, query)
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
            revisions: Some(places.iter().map(|(_, row)| (&row.revision).into()).collect()),
            next_token: last,
        })
    }

    /// What each group of an application was last deployed.
    async fn targets_of(&self, application: &Application) -> Result<Vec<Target>, Error> {
        let mut targets = Vec::new();
        for group in self.groups_of(&application.id).await? {
            let Some(last) = &group.slot.last_attempted else { continue };
            if let Some(stored) = self.base.deployment(last).await? {
                let revision = stored.row.deployment.order().revision.clone();
                targets.push(Target { group: group.name, revision });
            }
        }
        Ok(targets)
    }

    /// The groups of an application, by name.
    pub(super) async fn groups_of(&self, application_id: &str) -> Result<Vec<Group>, Error> {
        let query = Query::prefix(GroupName::all_of(application_id), "", 1000);
        let names = rows::load_all::<GroupName>(&*self.base.table, query).await?;
        let keys: Vec<_> = names.iter().map(|name| Group::key_of(&name.row.id)).collect();
        let groups = rows::load_many::<Group>(&*self.base.table, &keys).await?;
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
