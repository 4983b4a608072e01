//! On-premises instances: the hosts that are registered by name (`docs/semantics.md#hosts`).

use super::common::{Seconds, Tag, TagFilter};

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
