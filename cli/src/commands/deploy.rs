//! `cutover deploy`: starts a deployment.

use std::time::Duration;

use wire::codedeploy::{
    BatchGetApplicationRevisions, BundleType, CreateDeployment, ListApplicationRevisions,
    REGISTERED_BY_DEPLOYMENT, RevisionInfo, RevisionLocation, RevisionLocationType, RevisionSortBy,
    S3Location, SortOrder, TagFilter, TagFilterType, TargetInstances,
};

use super::Context;
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::names::{GroupName, S3Url, tag};
use crate::output::{self, Format};
use crate::{taken_back, watch};

/// Deploys a revision to the hosts of a group
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  cutover deploy shop/web --watch\n  \
                  cutover deploy shop/web --revision s3://revisions/shop/app.zip --config CodeDeployDefault.AllAtOnce")]
pub(crate) struct Args {
    /// The application and the group
    #[arg(value_name = "APP/GROUP")]
    group: GroupName,
    /// The revision; by default the newest registered one, unless that was taken back from the group
    #[arg(long, value_name = "S3_URL")]
    revision: Option<S3Url>,
    /// The deployment configuration, instead of the group's
    #[arg(long, value_name = "NAME")]
    config: Option<String>,
    /// In a blue/green group: a tag of the hosts to deploy to; hosts with any of several are chosen. By default all hosts
    /// of the group that have no traffic
    #[arg(long = "target-tag", value_name = "K=V", value_parser = tag)]
    target_tags: Vec<(String, String)>,
    /// A description
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Watch it and its rollback until they end
    #[arg(long)]
    watch: bool,
    /// Stop watching after this many seconds, with exit code 4
    #[arg(long, value_name = "SECONDS", requires = "watch")]
    timeout: Option<u64>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let client = context.connect()?;
    let application = &args.group.application;
    let revision = match &args.revision {
        Some(url) => named(&client, application, url).await?,
        None => {
            let newest = newest(&client, application).await?;
            taken_back::refuse(&client, &args.group, &newest).await?;
            newest
        }
    };
    let request = CreateDeployment {
        application_name: Some(application.clone()),
        deployment_group_name: Some(args.group.group.clone()),
        revision: Some(revision),
        deployment_config_name: args.config,
        description: args.description,
        target_instances: targets(&args.target_tags),
        ..CreateDeployment::default()
    };
    let created = client.call(&request).await?;
    let id = created.deployment_id.clone().unwrap_or_default();
    if args.watch {
        return watch::follow(&client, &id, context.format, args.timeout.map(Duration::from_secs))
            .await;
    }
    match context.format {
        Format::Json => output::json(&created),
        Format::Text => {
            output::line(&id);
            output::note(&format!("next: cutover watch {id}"));
        }
    }
    Ok(Exit::Done)
}

/// What selects the hosts that replace others, if anything is given.
fn targets(tags: &[(String, String)]) -> Option<TargetInstances> {
    let filter = |(key, value): &(String, String)| TagFilter {
        key: Some(key.clone()),
        value: Some(value.clone()),
        r#type: Some(TagFilterType::KeyAndValue.name().to_owned()),
    };
    let tag_filters = Some(tags.iter().map(filter).collect());
    (!tags.is_empty()).then(|| TargetInstances { tag_filters, ..TargetInstances::default() })
}

/// Most revisions that are asked for at once.
const AT_ONCE: usize = 25;

/// The revision that was registered last. One that a deployment has registered by naming it is as old as what lies there,
/// however late that was: it counts only where there is no other.
async fn newest(client: &Client, application: &str) -> Result<RevisionLocation, Failure> {
    let request = ListApplicationRevisions {
        application_name: Some(application.to_owned()),
        sort_by: Some(RevisionSortBy::RegisterTime.name().to_owned()),
        sort_order: Some(SortOrder::Descending.name().to_owned()),
        ..ListApplicationRevisions::default()
    };
    let revisions = client.call(&request).await?.revisions.unwrap_or_default();
    for some in revisions.chunks(AT_ONCE) {
        let request = BatchGetApplicationRevisions {
            application_name: Some(application.to_owned()),
            revisions: Some(some.to_vec()),
        };
        let found = client.call(&request).await?.revisions.unwrap_or_default();
        let registered = found.into_iter().find(|found| !is_by_deployment(found));
        if let Some(revision) = registered.and_then(|found| found.revision_location) {
            return Ok(revision);
        }
    }
    revisions.into_iter().next().ok_or_else(|| {
        Failure::new(Exit::WrongUse, format!("application `{application}` has no revision"))
            .hint(format!("`cutover push DIR {application}` uploads and registers one"))
    })
}

fn is_by_deployment(revision: &RevisionInfo) -> bool {
    let info = revision.generic_revision_info.as_ref();
    let description = info.and_then(|info| info.description.as_deref());
    description.is_some_and(|description| description.starts_with(REGISTERED_BY_DEPLOYMENT))
}

/// The revision at `url`, as it lies there now. Its type is told by its name, or by what was registered under it.
async fn named(
    client: &Client,
    application: &str,
    url: &S3Url,
) -> Result<RevisionLocation, Failure> {
    let bundle_type = match bundle_type(&url.key) {
        Some(by_name) => by_name.name().to_owned(),
        None => registered_type(client, application, url).await?,
    };
    Ok(RevisionLocation {
        revision_type: Some(RevisionLocationType::S3.name().to_owned()),
        s3_location: Some(S3Location {
            bucket: Some(url.bucket.clone()),
            key: Some(url.key.clone()),
            bundle_type: Some(bundle_type),
            ..S3Location::default()
        }),
        ..RevisionLocation::default()
    })
}

fn bundle_type(key: &str) -> Option<BundleType> {
    let types = [
        (".zip", BundleType::Zip),
        (".tar", BundleType::Tar),
        (".tgz", BundleType::Tgz),
        (".tar.gz", BundleType::Tgz),
    ];
    types.into_iter().find(|(end, _)| key.ends_with(end)).map(|(_, bundle_type)| bundle_type)
}

async fn registered_type(
    client: &Client,
    application: &str,
    url: &S3Url,
) -> Result<String, Failure> {
    let request = ListApplicationRevisions {
        application_name: Some(application.to_owned()),
        s3_bucket: Some(url.bucket.clone()),
        s3_key_prefix: Some(url.key.clone()),
        ..ListApplicationRevisions::default()
    };
    let revisions = client.call(&request).await?.revisions.unwrap_or_default();
    let mut same = revisions.into_iter().filter_map(|revision| revision.s3_location);
    same.find(|s3| s3.key.as_ref() == Some(&url.key)).and_then(|s3| s3.bundle_type).ok_or_else(|| {
        Failure::new(Exit::WrongUse, format!("the type of `{url}` is not known"))
            .hint("name it with .zip, .tar, .tgz or .tar.gz at the end, or register it as a revision first")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_of_a_bundle_is_told_by_the_end_of_its_name() {
        assert_eq!(bundle_type("shop/app.tar.gz"), Some(BundleType::Tgz));
        assert_eq!(bundle_type("shop/app.zip"), Some(BundleType::Zip));
        assert_eq!(bundle_type("shop/zip"), None);
    }
}
