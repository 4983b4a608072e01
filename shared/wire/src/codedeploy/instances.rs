//! On-premises instances: the hosts that are registered by name (`docs/semantics.md#hosts`).

use super::checks;
use super::common::{Seconds, Tag, TagFilter};
use super::errors::{ApiError, ErrorName};

shape! {
    /// An on-premises instance.
    InstanceInfo {
        /// Its name.
        instance_name: String,
        /// The IAM session that it was registered with.
        iam_session_arn: String,
        /// The IAM user that it was registered with.
        iam_user_arn: String,
        /// Its ARN.
        instance_arn: String,
        /// When it was registered.
        register_time: Seconds,
        /// When it was deregistered.
        deregister_time: Seconds,
        /// Its tags.
        tags: Vec<Tag>,
    }
}

shape! {
    /// Registers an instance, with exactly one of the ARNs.
    RegisterOnPremisesInstance {
        /// Its name.
        instance_name: String,
        /// Its IAM session.
        iam_session_arn: String,
        /// Its IAM user.
        iam_user_arn: String,
    }
}

shape! {
    /// Asks for an instance.
    GetOnPremisesInstance {
        /// Its name.
        instance_name: String,
    }
}

shape! {
    /// An instance.
    GetOnPremisesInstanceOutput {
        /// The instance.
        instance_info: InstanceInfo,
    }
}

shape! {
    /// Asks for several instances.
    BatchGetOnPremisesInstances {
        /// The instances, at most 100.
        instance_names: Vec<String>,
    }
}

shape! {
    /// Several instances.
    BatchGetOnPremisesInstancesOutput {
        /// Those that there are.
        instance_infos: Vec<InstanceInfo>,
    }
}

words! {
    /// Whether an instance is registered.
    RegistrationStatus {
        /// It is.
        Registered = "Registered",
        /// It was.
        Deregistered = "Deregistered",
    }
}

shape! {
    /// Asks which instances there are.
    ListOnPremisesInstances {
        /// Only those with this [`RegistrationStatus`].
        registration_status: String,
        /// Only those that any filter matches.
        tag_filters: Vec<TagFilter>,
        /// Where to go on.
        next_token: String,
    }
}

shape! {
    /// Which instances there are.
    ListOnPremisesInstancesOutput {
        /// Their names.
        instance_names: Vec<String>,
        /// Where the next page begins, if there is one.
        next_token: String,
    }
}

shape! {
    /// Deregisters an instance.
    DeregisterOnPremisesInstance {
        /// Its name.
        instance_name: String,
    }
}

shape! {
    /// Sets tags of instances.
    AddTagsToOnPremisesInstances {
        /// The tags.
        tags: Vec<Tag>,
        /// The instances.
        instance_names: Vec<String>,
    }
}

shape! {
    /// Removes tags from instances.
    RemoveTagsFromOnPremisesInstances {
        /// The tags.
        tags: Vec<Tag>,
        /// The instances.
        instance_names: Vec<String>,
    }
}

const TAG_LIMIT: usize = 10;

/// Checks an instance's name; those that begin like the ids of EC2 would be taken for them.
fn fit(name: &str) -> Result<(), ApiError> {
    let invalid = ErrorName::InvalidInstanceName;
    checks::name_characters(name, "instanceName", invalid)?;
    checks::ensure(!name.starts_with("i-"), invalid, || {
        format!("`{name}` looks like the id of an EC2 instance; use another name")
    })
}

fn present(name: &Option<String>) -> Result<(), ApiError> {
    checks::given(name).map_or_else(
        || Err(ErrorName::InstanceNameRequired.because("`instanceName` is missing; give one")),
        fit,
    )
}

fn present_all(names: &[String], limit: ErrorName) -> Result<(), ApiError> {
    checks::ensure(!names.is_empty(), ErrorName::InstanceNameRequired, || {
        "`instanceNames` is empty; give at least one".to_owned()
    })?;
    checks::batch(names, "instanceNames", limit)?;
    names.iter().try_for_each(|name| fit(name))
}

impl RegisterOnPremisesInstance {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        present(&self.instance_name)?;
        match (checks::given(&self.iam_session_arn), checks::given(&self.iam_user_arn)) {
            (None, None) => Err(ErrorName::IamArnRequired
                .because("both ARNs are missing; give `iamUserArn` or `iamSessionArn`")),
            (Some(_), Some(_)) => Err(ErrorName::MultipleIamArnsProvided
                .because("there are both `iamUserArn` and `iamSessionArn`; give one of them")),
            (Some(arn), None) => {
                let fits = checks::is_arn(arn, "sts", "assumed-role/");
                checks::ensure(fits, ErrorName::InvalidIamSessionArn, || {
                    format!(
                        "`{arn}` is no session; give its ARN, arn:PARTITION:sts::ACCOUNT:assumed-role/ROLE/SESSION"
                    )
                })
            }
            (None, Some(arn)) => {
                let fits = checks::is_arn(arn, "iam", "user/");
                checks::ensure(fits, ErrorName::InvalidIamUserArn, || {
                    format!(
                        "`{arn}` is no user; give its ARN, arn:PARTITION:iam::ACCOUNT:user/NAME"
                    )
                })
            }
        }
    }
}

impl GetOnPremisesInstance {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        present(&self.instance_name)
    }
}

impl BatchGetOnPremisesInstances {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        present_all(checks::list(&self.instance_names), ErrorName::BatchLimitExceeded)
    }
}

impl ListOnPremisesInstances {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        let invalid = ErrorName::InvalidRegistrationStatus;
        checks::word::<RegistrationStatus>(
            &self.registration_status,
            "registrationStatus",
            invalid,
        )?;
        checks::tag_filters(checks::list(&self.tag_filters), ErrorName::InvalidTagFilter)
    }
}

impl DeregisterOnPremisesInstance {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        present(&self.instance_name)
    }
}

fn tagging(names: &[String], tags: &[Tag]) -> Result<(), ApiError> {
    present_all(names, ErrorName::InstanceLimitExceeded)?;
    checks::ensure(!tags.is_empty(), ErrorName::TagRequired, || {
        "`tags` is empty; give at least one".to_owned()
    })?;
    checks::ensure(tags.len() <= TAG_LIMIT, ErrorName::TagLimitExceeded, || {
        format!("there are {} tags; an instance has at most {TAG_LIMIT}", tags.len())
    })?;
    let complete = tags.iter().all(|tag| tag.key.is_some() && tag.value.is_some());
    checks::ensure(complete, ErrorName::InvalidTag, || {
        "a tag lacks its Key or its Value; give both".to_owned()
    })?;
    checks::tags(tags, ErrorName::InvalidTag)
}

impl AddTagsToOnPremisesInstances {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        tagging(checks::list(&self.instance_names), checks::list(&self.tags))
    }
}

impl RemoveTagsFromOnPremisesInstances {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        tagging(checks::list(&self.instance_names), checks::list(&self.tags))
    }
}
