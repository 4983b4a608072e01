//! Applications (`docs/semantics.md#api`).

use super::common::{ComputePlatform, Seconds, Tag};

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
