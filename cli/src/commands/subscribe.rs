//! `cutover subscribe`: deploys what is uploaded.

use serde_json::json;
use wire::cutover::Subscribe;

use super::Context;
use crate::failure::{Exit, Failure};
use crate::find::Origin;
use crate::names::{GroupName, S3Url};
use crate::output::{self, Format};

/// Deploys to a group whatever is uploaded under a prefix from now on
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cutover subscribe shop/web s3://revisions/shop/\n  \
                  cutover env -- aws s3 cp app.zip s3://revisions/shop/app.zip")]
pub(crate) struct Args {
    /// The application and the group
    #[arg(value_name = "APP/GROUP")]
    group: GroupName,
    /// The bucket, and what the keys begin with
    #[arg(value_name = "s3://BUCKET/PREFIX")]
    place: S3Url,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let Args { group, place } = args;
    let request = Subscribe {
        application_name: Some(group.application.clone()),
        deployment_group_name: Some(group.group.clone()),
        bucket: Some(place.bucket.clone()),
        prefix: Some(place.key.clone()),
    };
    let client = context.connect()?;
    let connection = client.connection();
    if let Origin::Stack { stack, .. } = &connection.origin
        && place.bucket != connection.bucket
    {
        let message =
            format!("the stack {stack} does not notice uploads to the bucket `{}`", place.bucket);
        let hint = format!("use its own bucket: s3://{}/{}", connection.bucket, place.key);
        return Err(Failure::new(Exit::WrongUse, message).hint(hint));
    }
    client.call(&request).await?;
    match context.format {
        Format::Json => output::json(&json!({
            "applicationName": group.application,
            "deploymentGroupName": group.group,
            "bucket": place.bucket,
            "prefix": place.key,
        })),
        Format::Text => {
            output::line(&format!("Uploads to {place} now deploy to {group}"));
            let env = if client.connection().origin.is_cloud() { "" } else { "cutover env -- " };
            output::note(&format!("next: {env}aws s3 cp app.zip {place}app.zip"));
        }
    }
    Ok(Exit::Done)
}
