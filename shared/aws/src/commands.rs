//! Commands to instances by Systems Manager Run Command.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use aws_sdk_ssm::Client;
use aws_sdk_ssm::error::ProvideErrorMetadata as _;
use aws_sdk_ssm::types::{
    InstanceInformation, InstanceInformationStringFilter, PingStatus, ResourceType,
};
use control::ports::{CloudError, Command, Push, Reach, SendError};
use engine::Timestamp;

use crate::error::cloud_error;
use crate::script::{self, Parameters};

/// Most values of one filter of DescribeInstanceInformation.
const FILTER_VALUES_MAX: usize = 50;

/// How long Systems Manager tries to bring a command to an instance, in seconds; the deployment gives up sooner.
const DELIVERY_S: i32 = 120;

/// How much of what a command printed is shown.
const SHOWN_CHARS: usize = 600;

/// AWS's own document for shell scripts.
const SHELL_SCRIPT: &str = "AWS-RunShellScript";

/// Which document of Systems Manager a command is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// The installation's own, by name: it takes what differs from batch to batch as parameters with patterns.
    Own(String),
    /// AWS's document for shell scripts, which is sent the whole script: for emulators without documents of users.
    ShellScript,
}

impl Document {
    /// The document called `name`.
    pub fn named(name: &str) -> Self {
        if name == SHELL_SCRIPT { Self::ShellScript } else { Self::Own(name.to_owned()) }
    }

    fn name(&self) -> &str {
        match self {
            Self::Own(name) => name,
            Self::ShellScript => SHELL_SCRIPT,
        }
    }
}

/// The runner that hosts shall run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runner {
    /// Its version.
    pub version: String,
    /// SHA-256 of the executable in lower-case hex.
    pub digest: String,
}

/// Run Command.
#[derive(Debug, Clone)]
pub struct RunCommand {
    client: Client,
    document: Document,
    api_url: String,
    runner: Runner,
}

impl RunCommand {
    /// Sends `document` to instances, to have them run `runner` with the API at `api_url`.
    pub fn new(
        client: Client,
        document: Document,
        api_url: impl Into<String>,
        runner: Runner,
    ) -> Self {
        Self { client, document, api_url: api_url.into(), runner }
    }

    fn values(&self, command: &Command) -> Parameters {
        Parameters {
            api_url: self.api_url.clone(),
            batch_key: command.batch.to_string(),
            batch_secret: command.secret.clone(),
            runner_version: self.runner.version.clone(),
            runner_digest: self.runner.digest.clone(),
        }
    }

    fn parameters(&self, command: &Command) -> Result<HashMap<String, Vec<String>>, SendError> {
        let values = self.values(command);
        let timeout = command.timeout_s.to_string();
        let pairs = match self.document {
            Document::Own(_) => vec![
                ("ApiUrl", values.api_url),
                ("BatchKey", values.batch_key),
                ("BatchSecret", values.batch_secret),
                ("RunnerVersion", values.runner_version),
                ("RunnerDigest", values.runner_digest),
                ("ExecutionTimeout", timeout),
            ],
            Document::ShellScript => {
                let script = script::render(&values).map_err(|error| refused(error.to_string()))?;
                vec![("commands", script), ("executionTimeout", timeout)]
            }
        };
        Ok(pairs.into_iter().map(|(name, value)| (name.to_owned(), vec![value])).collect())
    }
}

fn refused(message: String) -> SendError {
    SendError::Cloud(CloudError::Refused { service: SERVICE, operation: "SendCommand", message })
}

const SERVICE: &str = "Systems Manager";

#[async_trait]
impl Push for RunCommand {
    async fn reach(&self, names: &[String]) -> Result<BTreeMap<String, Reach>, CloudError> {
        let mut found = BTreeMap::new();
        for some in names.chunks(FILTER_VALUES_MAX) {
            let filter = InstanceInformationStringFilter::builder()
                .key("InstanceIds")
                .set_values(Some(some.to_vec()))
                .build();
            let filter = filter
                .map_err(|error| cloud_error_of_build("DescribeInstanceInformation", error))?;
            let request = self.client.describe_instance_information().filters(filter);
            let mut pages = request.into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = page
                    .map_err(|error| cloud_error(SERVICE, "DescribeInstanceInformation", error))?;
                let listed = page.instance_information_list.unwrap_or_default().into_iter();
                let instances = listed.filter(|one| {
                    one.resource_type.as_ref().is_none_or(|of| *of == ResourceType::Ec2Instance)
                });
                found.extend(
                    instances.filter_map(|one| Some((one.instance_id.clone()?, reach_of(&one)))),
                );
            }
        }
        found.retain(|name, _| names.contains(name));
        Ok(found)
    }

    async fn send(&self, command: &Command) -> Result<String, SendError> {
        let request = self
            .client
            .send_command()
            .document_name(self.document.name())
            .set_instance_ids(Some(command.instances.clone()))
            .set_parameters(Some(self.parameters(command)?))
            .timeout_seconds(DELIVERY_S)
            .comment(format!("Cutover {}", command.batch));
        match request.send().await {
            Ok(sent) => {
                let id = sent.command.and_then(|command| command.command_id);
                id.ok_or_else(|| refused("it did not say the command's id".to_owned()))
            }
            Err(error) if error.code() == Some("InvalidInstanceId") => {
                let code = error.code().unwrap_or_default().to_owned();
                let message = error.message().unwrap_or("no reason given");
                Err(SendError::Instances(format!("{message} ({code})")))
            }
            Err(error) => Err(cloud_error(SERVICE, "SendCommand", error).into()),
        }
    }

    async fn outcome(&self, command: &str, instance: &str) -> Result<Option<String>, CloudError> {
        let request =
            self.client.get_command_invocation().command_id(command).instance_id(instance);
        let found = match request.send().await {
            Ok(found) => found,
            Err(error) if error.code() == Some("InvocationDoesNotExist") => return Ok(None),
            Err(error) => return Err(cloud_error(SERVICE, "GetCommandInvocation", error)),
        };
        let printed = [found.standard_error_content(), found.standard_output_content()];
        let printed = printed.into_iter().flatten().map(str::trim).find(|text| !text.is_empty());
        let state = found.status_details().unwrap_or("no state");
        let sentence = format!("Systems Manager says of its command {command}: {state}.");
        Ok(Some(match printed {
            Some(text) => format!("{sentence} It printed: {}", end_of(text)),
            None => sentence,
        }))
    }
}

fn reach_of(instance: &InstanceInformation) -> Reach {
    if instance.ping_status == Some(PingStatus::Online) {
        return Reach::Online;
    }
    let last = instance.last_ping_date_time.and_then(|at| at.to_millis().ok());
    Reach::Lost { since: last.and_then(|ms| u64::try_from(ms).ok()).map(Timestamp) }
}

/// The end of a text, where what went wrong stands.
fn end_of(text: &str) -> &str {
    let from = text.char_indices().rev().nth(SHOWN_CHARS - 1).map_or(0, |(at, _)| at);
    text.get(from..).unwrap_or(text)
}

fn cloud_error_of_build(
    operation: &'static str,
    error: aws_sdk_ssm::error::BuildError,
) -> CloudError {
    CloudError::Refused { service: SERVICE, operation, message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use aws_sdk_ssm::primitives::DateTime;

    use super::*;

    #[test]
    fn who_is_not_online_is_lost_since_the_last_ping_and_can_be_sent_to() {
        let seen = |status: &str, at: Option<i64>| {
            let instance = InstanceInformation::builder().ping_status(status.into());
            reach_of(&instance.set_last_ping_date_time(at.map(DateTime::from_millis)).build())
        };
        assert_eq!(seen("Online", Some(5)), Reach::Online);
        for status in ["ConnectionLost", "Inactive", "SomethingNew"] {
            let since = Some(Timestamp(1_795_428_147_758));
            assert_eq!(seen(status, Some(1_795_428_147_758)), Reach::Lost { since }, "{status}");
            assert_eq!(seen(status, None), Reach::Lost { since: None }, "{status}");
        }
    }
}
