//! Revisions: where what is deployed lies, and the operations that register and list it
//! (`docs/semantics.md#revisions`).

use super::common::Seconds;

shape! {
    /// Where a revision lies; exactly one place is set.
    RevisionLocation {
        /// A [`RevisionLocationType`].
        revision_type: String,
        /// An object in a bucket.
        s3_location: S3Location,
        /// A commit on GitHub.
        git_hub_location: GitHubLocation,
        /// An AppSpec as text, in its old form.
        string: AppSpecContent,
        /// An AppSpec as text.
        app_spec_content: AppSpecContent,
    }
}

words! {
    /// The kinds of revision locations.
    RevisionLocationType {
        /// An object in a bucket.
        S3 = "S3",
        /// A commit on GitHub.
        GitHub = "GitHub",
        /// An AppSpec as text, in its old form.
        String = "String",
        /// An AppSpec as text.
        AppSpecContent = "AppSpecContent",
    }
}

shape! {
    /// An object in a bucket.
    S3Location {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// A [`BundleType`].
        bundle_type: String,
        /// The object's version.
        version: String,
        /// The object's ETag.
        e_tag: String,
    }
}

words! {
    /// What an object is.
    BundleType {
        /// A tar archive.
        Tar = "tar",
        /// A tar archive compressed with gzip.
        Tgz = "tgz",
        /// A zip archive.
        Zip = "zip",
        /// An AppSpec in YAML.
        Yaml = "YAML",
        /// An AppSpec in JSON.
        Json = "JSON",
    }
}

shape! {
    /// A commit on GitHub.
    GitHubLocation {
        /// `account/repository`.
        repository: String,
        /// The SHA-1 of the commit.
        commit_id: String,
    }
}

shape! {
    /// An AppSpec as text.
    AppSpecContent {
        /// The text.
        content: String,
        /// Its SHA-256, hex.
        sha256: String,
    }
}

shape! {
    /// What is known about a revision.
    GenericRevisionInfo {
        /// Its description.
        description: String,
        /// The groups that it was deployed to last.
        deployment_groups: Vec<String>,
        /// When it was first deployed.
        first_used_time: Seconds,
        /// When it was last deployed.
        last_used_time: Seconds,
        /// When it was registered.
        register_time: Seconds,
    }
}

shape! {
    /// A revision and what is known about it.
    RevisionInfo {
        /// The revision.
        revision_location: RevisionLocation,
        /// What is known.
        generic_revision_info: GenericRevisionInfo,
    }
}

shape! {
    /// Makes a revision known, or describes it anew.
    RegisterApplicationRevision {
        /// The application.
        application_name: String,
        /// A description, at most 256 characters.
        description: String,
        /// The revision.
        revision: RevisionLocation,
    }
}

shape! {
    /// Asks for a revision.
    GetApplicationRevision {
        /// The application.
        application_name: String,
        /// The revision, as it was registered.
        revision: RevisionLocation,
    }
}

shape! {
    /// A revision.
    GetApplicationRevisionOutput {
        /// The application.
        application_name: String,
        /// The revision.
        revision: RevisionLocation,
        /// What is known about it.
        revision_info: GenericRevisionInfo,
    }
}

shape! {
    /// Asks for several revisions.
    BatchGetApplicationRevisions {
        /// The application.
        application_name: String,
        /// The revisions, at most 25.
        revisions: Vec<RevisionLocation>,
    }
}

shape! {
    /// Several revisions.
    BatchGetApplicationRevisionsOutput {
        /// The application.
        application_name: String,
        /// Which were not found; empty if all were.
        error_message: String,
        /// Those that were found.
        revisions: Vec<RevisionInfo>,
    }
}

shape! {
    /// Asks which revisions an application has.
    ListApplicationRevisions {
        /// The application.
        application_name: String,
        /// A [`RevisionSortBy`].
        sort_by: String,
        /// A [`SortOrder`].
        sort_order: String,
        /// Only those of this bucket.
        s3_bucket: String,
        /// Only those whose key begins so.
        s3_key_prefix: String,
        /// A [`ListStateFilterAction`]: whether those that are the target of a group are listed.
        deployed: String,
        /// Where to go on.
        next_token: String,
    }
}

words! {
    /// What revisions are sorted by.
    RevisionSortBy {
        /// When they were registered.
        RegisterTime = "registerTime",
        /// When they were first deployed.
        FirstUsedTime = "firstUsedTime",
        /// When they were last deployed.
        LastUsedTime = "lastUsedTime",
    }
}

words! {
    /// The direction of sorting.
    SortOrder {
        /// The smallest first.
        Ascending = "ascending",
        /// The greatest first.
        Descending = "descending",
    }
}

words! {
    /// How a listing treats what has a certain state.
    ListStateFilterAction {
        /// Only that is listed.
        Include = "include",
        /// That is not listed.
        Exclude = "exclude",
        /// The state does not matter.
        Ignore = "ignore",
    }
}

shape! {
    /// Which revisions an application has.
    ListApplicationRevisionsOutput {
        /// The revisions.
        revisions: Vec<RevisionLocation>,
        /// Where the next page begins, if there is one.
        next_token: String,
    }
}
