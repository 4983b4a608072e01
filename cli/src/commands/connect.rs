//! `cutover connect`: finds a cloud installation by its stack. The only command that calls an AWS SDK.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_credential_types::Credentials;
use aws_sdk_cloudformation::config::{Builder, Region};
use aws_sdk_cloudformation::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_cloudformation::operation::describe_stacks::DescribeStacksError;
use aws_sdk_cloudformation::types::{Stack, StackStatus};
use serde_json::json;

use super::Context;
use crate::client::{self, root_cause};
use crate::cloud::{self, Cloud, Keys};
use crate::failure::{Exit, Failure};
use crate::find::DEFAULT_DIR;
use crate::output::{self, Format};

/// How long AWS may take to accept a connection, and to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the API may take to say that it is there.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to a cloud installation, so that every later command talks to it
///
/// Reads the outputs of the CloudFormation stack with your AWS credentials, and writes what it finds to
/// `.cutover/cloud.json`, or into the directory of --dir. No secrets are written: each command finds your credentials
/// anew, where all of AWS's tools find them.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Later commands take the credentials that the environment names, such as by AWS_PROFILE, else those of the profile that was \
                  given here, else those that AWS's tools find without one.\n\n\
                  Examples:\n  cutover connect cutover --region eu-central-1\n  \
                  cutover connect cutover --profile prod --dir .cutover-prod"
)]
pub(crate) struct Args {
    /// The stack's name
    #[arg(value_name = "STACK")]
    stack: String,
    /// The region of the stack; that of the environment or the profile by default
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// The profile whose credentials to use, now and later
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let dir = context.dir.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_DIR));
    let profile = args.profile.as_deref();
    let settings = cloud::settings(profile, args.region.clone()).await;
    let region = settings.region().map(ToString::to_string).ok_or_else(|| {
        Failure::new(Exit::WrongUse, "no region is named")
            .hint("give --region, or set AWS_REGION; `aws configure` sets that of a profile")
    })?;
    let credentials = Keys::of_user(args.profile.clone(), region.clone()).get().await?;
    let stack = describe(&settings, &region, credentials, &args.stack).await?;
    let cloud = connection(&args, &region, &stack)?;
    let file = cloud.write(&dir)?;
    let health = health(&cloud.api_url).await;
    let status = status_of(&stack);
    match context.format {
        Format::Json => output::json(&json!({
            "stack": cloud.stack,
            "stackStatus": status,
            "region": cloud.region,
            "profile": cloud.profile,
            "apiUrl": cloud.api_url,
            "revisionsBucket": cloud.revisions_bucket,
            "version": health.as_ref().ok(),
            "file": file,
        })),
        Format::Text => tell(&cloud, status, health.as_deref().ok()),
    }
    if let Err(reason) = health {
        output::note(&format!(
            "warning: the API does not answer as a Cutover does: {}",
            output::printable(&reason)
        ));
    }
    if !cloud.api_url.starts_with("https://") && !client::is_loopback(&cloud.api_url) {
        output::note("warning: calls go over plain HTTP, which is good for an emulator only");
    }
    say_what_next(&dir, &file);
    Ok(Exit::Done)
}

fn tell(cloud: &Cloud, status: &str, version: Option<&str>) {
    let Cloud { stack, region, profile, api_url, revisions_bucket, .. } = cloud;
    output::line(&format!("stack    {stack} in {region}, {status}"));
    let version = version.map(|version| format!("  (version {version})")).unwrap_or_default();
    output::line(&format!("API      {api_url}{}", output::printable(&version)));
    output::line(&format!("bucket   s3://{revisions_bucket}"));
    if let Some(profile) = profile {
        output::line(&format!("profile  {profile}"));
    }
}

fn say_what_next(dir: &Path, file: &Path) {
    let cutover = if dir == Path::new(DEFAULT_DIR) {
        "cutover".to_owned()
    } else {
        format!("cutover --dir {}", dir.display())
    };
    output::note(&format!(
        "written to {}\nnext: {cutover} init shop/web --tag role=web && {cutover} push DIR shop\n      \
         {cutover} proxy -- aws deploy list-applications",
        file.display()
    ));
}

/// The stack as CloudFormation describes it.
async fn describe(
    settings: &aws_config::SdkConfig,
    region: &str,
    credentials: Credentials,
    name: &str,
) -> Result<Stack, Failure> {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ANSWER_TIMEOUT)
        .build();
    let config = Builder::from(settings)
        .region(Region::new(region.to_owned()))
        .credentials_provider(credentials)
        .timeout_config(timeouts)
        .build();
    let client = aws_sdk_cloudformation::Client::from_conf(config);
    let described = client.describe_stacks().stack_name(name).send().await;
    let described = described.map_err(|error| refused(&error, name, region))?;
    let stack = described.stacks.unwrap_or_default().into_iter().next();
    stack.ok_or_else(|| missing(name, region))
}

fn status_of(stack: &Stack) -> &str {
    stack.stack_status().map(StackStatus::as_str).unwrap_or_default()
}

fn missing(name: &str, region: &str) -> Failure {
    Failure::new(Exit::WrongUse, format!("there is no stack `{name}` in {region}")).hint(format!(
        "`aws cloudformation describe-stacks --region {region}` shows those that are there; --region and --profile look elsewhere"
    ))
}

/// Why CloudFormation did not describe the stack.
fn refused(error: &SdkError<DescribeStacksError>, name: &str, region: &str) -> Failure {
    let Some(told) = error.as_service_error() else {
        let message = if matches!(error, SdkError::ResponseError(_)) {
            format!("what answers for CloudFormation in {region} is not CloudFormation")
        } else {
            format!("CloudFormation in {region} cannot be asked: {}", root_cause(error))
        };
        return Failure::new(Exit::Unreachable, message).hint(
            "check the region, the network, and AWS_ENDPOINT_URL_CLOUDFORMATION or AWS_ENDPOINT_URL if they are set",
        );
    };
    let code = told.code().unwrap_or_default();
    let words = told.message().unwrap_or_default();
    if code == "ValidationError" && words.contains("does not exist") {
        return missing(name, region);
    }
    let message = format!("CloudFormation refuses to describe the stack `{name}`: {code}: {words}");
    let failure = Failure { name: Some(code.to_owned()), ..Failure::new(Exit::WrongUse, message) };
    match code {
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" => failure.hint(
            "these credentials need cloudformation:DescribeStacks on the stack, which the policies in infra/policies.yaml allow; \
             --profile uses others",
        ),
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => failure.hint(
            "the credentials have expired: `aws sso login`, or however you came by them, renews them",
        ),
        "InvalidClientTokenId" | "UnrecognizedClientException" | "SignatureDoesNotMatch"
        | "InvalidAccessKeyId" | "IncompleteSignature" => failure.hint(
            "AWS does not know these credentials: `aws sts get-caller-identity` tries them, --profile uses others",
        ),
        _ => failure,
    }
}

/// What the outputs of the stack say.
fn connection(args: &Args, region: &str, stack: &Stack) -> Result<Cloud, Failure> {
    let output = |key: &str| {
        let mut outputs = stack.outputs().iter();
        let found = outputs.find(|output| output.output_key() == Some(key));
        found.and_then(|output| output.output_value()).filter(|value| !value.is_empty())
    };
    let needed = |key: &'static str| {
        output(key).ok_or_else(|| {
            let status = status_of(stack);
            let name = &args.stack;
            let hint = if status.ends_with("_IN_PROGRESS") {
                "wait until it is there, and try again"
            } else {
                "give the name of a stack that was made from Cutover's template.yaml, or update it from there"
            };
            Failure::new(
                Exit::WrongUse,
                format!("the stack `{name}` has no output `{key}`; its status is {status}"),
            )
            .hint(hint)
        })
    };
    let api_url = needed("ApiUrl")?.trim_end_matches('/');
    let uri = api_url.parse::<http::Uri>().ok();
    let scheme = uri.as_ref().filter(|uri| uri.host().is_some()).and_then(http::Uri::scheme_str);
    if !matches!(scheme, Some("https" | "http")) {
        let message = format!("the output `ApiUrl` of the stack `{}` is `{api_url}`", args.stack);
        return Err(Failure::new(Exit::WrongUse, message)
            .hint("it must be the URL of Cutover's API; update the stack from template.yaml"));
    }
    Ok(Cloud::new(
        args.stack.clone(),
        output("Region").unwrap_or(region).to_owned(),
        args.profile.clone(),
        api_url.to_owned(),
        needed("RevisionsBucket")?.to_owned(),
    ))
}

/// The version of the API, or why it does not tell.
async fn health(api: &str) -> Result<String, String> {
    let client = client::http_client(api, !client::is_loopback(api));
    let client = client.map_err(|error| root_cause(&*error))?;
    let request = client.get(format!("{api}/cutover/v1/health")).timeout(HEALTH_TIMEOUT);
    let answer = request.send().await.map_err(|error| root_cause(&error))?;
    let status = answer.status();
    let body: serde_json::Value =
        answer.json().await.map_err(|_| format!("HTTP status {status}"))?;
    let version = body.get("version").and_then(serde_json::Value::as_str);
    version.map(str::to_owned).ok_or_else(|| format!("HTTP status {status}"))
}
