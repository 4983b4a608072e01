//! Applications (`docs/semantics.md#api`).

use super::checks;
use super::common::{ComputePlatform, Seconds, Tag};
use super::errors::{ApiError, ErrorName};

shape! {
    /// An application.
    ApplicationInfo {
        /// Its id.
        application_id: String,
        /// Its name.
        application_name: String,
        /// When it was created.
        create_time: Seconds,
        /// Whether GitHub was allowed for it.
        linked_to_git_hub: bool,
        /// The name of the connection to GitHub.
        git_hub_account_name: String,
        /// Where it runs.
        compute_platform: ComputePlatform,
    }
}

shape! {
    /// Creates an application.
    CreateApplication {
        /// The application's name.
        application_name: String,
        /// A [`ComputePlatform`].
        compute_platform: String,
        /// Its tags.
        tags: Vec<Tag>,
    }
}

shape! {
    /// The application was created.
    CreateApplicationOutput {
        /// Its id.
        application_id: String,
    }
}

shape! {
    /// Asks for an application.
    GetApplication {
        /// The application.
        application_name: String,
    }
}

shape! {
    /// An application.
    GetApplicationOutput {
        /// The application.
        application: ApplicationInfo,
    }
}

shape! {
    /// Asks for several applications.
    BatchGetApplications {
        /// The applications, at most 100.
        application_names: Vec<String>,
    }
}

shape! {
    /// Several applications.
    BatchGetApplicationsOutput {
        /// The applications.
        applications_info: Vec<ApplicationInfo>,
    }
}

shape! {
    /// Asks which applications there are.
    ListApplications {
        /// Where to go on.
        next_token: String,
    }
}

shape! {
    /// Which applications there are.
    ListApplicationsOutput {
        /// Their names.
        applications: Vec<String>,
        /// Where the next page begins, if there is one.
        next_token: String,
    }
}

shape! {
    /// Gives an application another name.
    UpdateApplication {
        /// The application.
        application_name: String,
        /// The name that it gets.
        new_application_name: String,
    }
}

shape! {
    /// Deletes an application, its groups and their deployments.
    DeleteApplication {
        /// The application.
        application_name: String,
    }
}

const TAG_LIMIT: usize = 50;

/// Checks tags that a resource is created with.
pub(super) fn resource_tags(tags: &[Tag]) -> Result<(), ApiError> {
    let invalid = ErrorName::InvalidTagsToAdd;
    checks::ensure(tags.len() <= TAG_LIMIT, invalid, || {
        format!("there are {} tags; use at most {TAG_LIMIT}", tags.len())
    })?;
    let reserved = |tag: &&Tag| tag.key.as_deref().is_some_and(|key| key.starts_with("aws:"));
    checks::ensure(tags.iter().find(reserved).is_none(), invalid, || {
        "a tag's key begins with `aws:`, which is reserved; use another".to_owned()
    })?;
    checks::tags(tags, invalid)
}

impl CreateApplication {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        checks::application_name(&self.application_name)?;
        let invalid = ErrorName::InvalidComputePlatform;
        checks::word::<ComputePlatform>(&self.compute_platform, "computePlatform", invalid)?;
        resource_tags(checks::list(&self.tags))
    }
}

impl GetApplication {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        checks::application_name(&self.application_name).map(drop)
    }
}

impl BatchGetApplications {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        checks::names(
            &self.application_names,
            "applicationNames",
            ErrorName::ApplicationNameRequired,
            ErrorName::InvalidApplicationName,
        )
    }
}

impl ListApplications {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}

impl UpdateApplication {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        checks::application_name(&self.application_name)?;
        checks::name(
            &self.new_application_name,
            "newApplicationName",
            ErrorName::ApplicationNameRequired,
            ErrorName::InvalidApplicationName,
        )
        .map(drop)
    }
}

impl DeleteApplication {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        checks::application_name(&self.application_name).map(drop)
    }
}
