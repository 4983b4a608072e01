//! Revisions: where what is deployed lies, and the operations that register and list it
//! (`docs/semantics.md#revisions`).

use engine::Revision;
use sha2::{Digest as _, Sha256};

use super::checks::{self, given};
use super::common::Seconds;
use super::errors::{ApiError, ErrorName};

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

/// How the description of a revision begins that a deployment has registered by naming it; its id follows.
pub const REGISTERED_BY_DEPLOYMENT: &str = "Application revision registered by Deployment ID: ";

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

/// The longest key of an object, in bytes.
const KEY_LIMIT: usize = 1024;

impl RevisionLocation {
    /// Checks that exactly the place of its type is set, and is complete. With `by_digest`, the SHA-256 stands for an
    /// AppSpec that is known.
    fn check(&self, by_digest: bool) -> Result<(), ApiError> {
        let invalid = ErrorName::InvalidRevision;
        let kind =
            checks::word::<RevisionLocationType>(&self.revision_type, "revisionType", invalid)?;
        let text = |spec: &AppSpecContent| {
            given(&spec.content).is_some() || (by_digest && given(&spec.sha256).is_some())
        };
        let places = [
            self.s3_location.is_some(),
            self.git_hub_location.is_some(),
            self.string.is_some(),
            self.app_spec_content.is_some(),
        ];
        let complete = match kind {
            Some(RevisionLocationType::S3) => self.s3_location.as_ref().is_some_and(|s3| {
                given(&s3.bucket).is_some()
                    && given(&s3.key).is_some_and(|key| key.len() <= KEY_LIMIT)
                    && s3.bundle_type.is_some()
            }),
            Some(RevisionLocationType::GitHub) => {
                self.git_hub_location.as_ref().is_some_and(|git_hub| {
                    given(&git_hub.repository).is_some_and(|name| name.contains('/'))
                        && given(&git_hub.commit_id).is_some()
                })
            }
            Some(RevisionLocationType::String) => self.string.as_ref().is_some_and(text),
            Some(RevisionLocationType::AppSpecContent) => {
                self.app_spec_content.as_ref().is_some_and(text)
            }
            None => false,
        };
        let single = places.into_iter().filter(|set| *set).count() == 1;
        checks::ensure(complete && single, invalid, || {
            "the revision needs a `revisionType` and exactly its place: `s3Location` with bucket, key and bundleType, \
             `gitHubLocation` with account/repository and commitId, or `appSpecContent` with content"
                .to_owned()
        })?;
        let bundle = self.s3_location.as_ref().and_then(|s3| s3.bundle_type.clone());
        checks::word::<BundleType>(&bundle, "bundleType", invalid).map(drop)
    }
}

/// Checks a revision that must be there.
fn required(revision: &Option<RevisionLocation>, by_digest: bool) -> Result<(), ApiError> {
    let Some(revision) = revision else {
        return Err(ErrorName::RevisionRequired.because("RevisionLocation must be specified"));
    };
    revision.check(by_digest)
}

/// Checks a revision if there is one.
pub(super) fn optional(revision: &Option<RevisionLocation>) -> Result<(), ApiError> {
    revision.as_ref().map_or(Ok(()), |revision| revision.check(true))
}

impl From<&Revision> for RevisionLocation {
    fn from(revision: &Revision) -> Self {
        if let Some(content) = revision.content.as_ref().filter(|_| revision.bucket.is_empty()) {
            return Self {
                revision_type: Some(RevisionLocationType::AppSpecContent.name().to_owned()),
                app_spec_content: Some(AppSpecContent {
                    content: Some(content.clone()),
                    sha256: Some(hex::encode(Sha256::digest(content.as_bytes()))),
                }),
                ..Self::default()
            };
        }
        let bundle_type = match revision.bundle_type {
            engine::BundleType::Tar => BundleType::Tar,
            engine::BundleType::Tgz => BundleType::Tgz,
            engine::BundleType::Zip => BundleType::Zip,
            engine::BundleType::Yaml => BundleType::Yaml,
            engine::BundleType::Json => BundleType::Json,
        };
        Self {
            revision_type: Some(RevisionLocationType::S3.name().to_owned()),
            s3_location: Some(S3Location {
                bucket: Some(revision.bucket.clone()),
                key: Some(revision.key.clone()),
                bundle_type: Some(bundle_type.name().to_owned()),
                version: revision.version.clone(),
                e_tag: revision.e_tag.clone(),
            }),
            ..Self::default()
        }
    }
}

impl TryFrom<&RevisionLocation> for Revision {
    type Error = ApiError;

    /// The revision in a bucket; quotes around the ETag are dropped.
    fn try_from(location: &RevisionLocation) -> Result<Self, ApiError> {
        location.check(true)?;
        let invalid = |message: &str| ErrorName::InvalidRevision.because(message);
        let Some(s3) = &location.s3_location else {
            return Err(invalid("the revision has to be in a bucket; use `revisionType` S3"));
        };
        let bundle_type = match s3.bundle_type.as_deref().map(str::parse) {
            Some(Ok(BundleType::Tar)) => engine::BundleType::Tar,
            Some(Ok(BundleType::Tgz)) => engine::BundleType::Tgz,
            Some(Ok(BundleType::Zip)) => engine::BundleType::Zip,
            Some(Ok(BundleType::Yaml)) => engine::BundleType::Yaml,
            Some(Ok(BundleType::Json)) => engine::BundleType::Json,
            Some(Err(_)) | None => {
                return Err(invalid(
                    "the bundle type is unknown; use `bundleType` tar, tgz or zip for hosts, YAML or JSON else",
                ));
            }
        };
        let e_tag = s3.e_tag.as_deref().map(|tag| tag.trim_matches('"').to_owned());
        Ok(Self {
            bucket: s3.bucket.clone().unwrap_or_default(),
            key: s3.key.clone().unwrap_or_default(),
            bundle_type,
            version: s3.version.clone().filter(|version| !version.is_empty()),
            e_tag: e_tag.filter(|tag| !tag.is_empty()),
            content: None,
        })
    }
}

/// Longest AppSpec that is deployed by itself, in bytes.
pub const CONTENT_LIMIT: usize = 20_000;

impl RevisionLocation {
    /// The AppSpec that came with the request.
    ///
    /// # Errors
    /// `InvalidRevision` if none did, it is too long, or it is not that of its digest.
    pub fn required_content(&self) -> Result<&str, ApiError> {
        self.check(false)?;
        let invalid = ErrorName::InvalidRevision;
        let given = self.app_spec_content.as_ref().or(self.string.as_ref());
        let content = given.and_then(|spec| spec.content.as_deref()).ok_or_else(|| {
            invalid.because(
                "what goes to no hosts is deployed with an AppSpec; use `revisionType` AppSpecContent with its `content`, or \
                 S3 with the place of a YAML or JSON file",
            )
        })?;
        checks::ensure(content.len() <= CONTENT_LIMIT, invalid, || {
            format!("the AppSpec has {} bytes; it may have {CONTENT_LIMIT}", content.len())
        })?;
        let digest =
            given.and_then(|spec| spec.sha256.as_deref()).filter(|digest| !digest.is_empty());
        let is_same = digest.is_none_or(|digest| {
            digest.eq_ignore_ascii_case(&hex::encode(Sha256::digest(content.as_bytes())))
        });
        checks::ensure(is_same, invalid, || {
            "`sha256` is not the SHA-256 of `content`; correct it, or leave it out".to_owned()
        })?;
        Ok(content)
    }
}

impl RegisterApplicationRevision {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        checks::application_name(&self.application_name)?;
        checks::description(&self.description)?;
        required(&self.revision, false)
    }
}

impl GetApplicationRevision {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        checks::application_name(&self.application_name)?;
        required(&self.revision, true)
    }
}

/// Revisions in one request.
const REVISION_BATCH_LIMIT: usize = 25;

impl BatchGetApplicationRevisions {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        checks::application_name(&self.application_name)?;
        let revisions = checks::list(&self.revisions);
        checks::ensure(!revisions.is_empty(), ErrorName::RevisionRequired, || {
            "RevisionLocation must be specified".to_owned()
        })?;
        let fits = revisions.len() <= REVISION_BATCH_LIMIT;
        checks::ensure(fits, ErrorName::BatchLimitExceeded, || {
            format!(
                "there are {} revisions; ask for at most {REVISION_BATCH_LIMIT}",
                revisions.len()
            )
        })?;
        revisions.iter().try_for_each(|revision| revision.check(true))
    }
}

impl ListApplicationRevisions {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        checks::application_name(&self.application_name)?;
        checks::word::<RevisionSortBy>(&self.sort_by, "sortBy", ErrorName::InvalidSortBy)?;
        checks::word::<SortOrder>(&self.sort_order, "sortOrder", ErrorName::InvalidSortOrder)?;
        let invalid = ErrorName::InvalidDeployedStateFilter;
        checks::word::<ListStateFilterAction>(&self.deployed, "deployed", invalid)?;
        let filtered = given(&self.s3_key_prefix).is_some() && given(&self.s3_bucket).is_none();
        checks::ensure(!filtered, ErrorName::BucketNameFilterRequired, || {
            "`s3KeyPrefix` needs `s3Bucket`; give both".to_owned()
        })
    }
}
