//! The steps of the demo's story, done as a user would do them: over the API and the bucket.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use local::dir::Endpoints;
use wire::codedeploy::{
    AutoRollbackConfiguration, CreateApplication, CreateDeploymentGroup, DeploymentInfo, ErrorName, GroupSettings,
    TagFilter,
};
use wire::cutover::{GetGroupStatus, Subscribe, UploadState};

use super::Told;
use super::bundles::bundle;
use crate::client::{CallError, Client};
use crate::output::Format;
use crate::watch;

const APPLICATION: &str = "shop";
const GROUP: &str = "web";

/// How often the story looks whether an upload has started its deployment.
const LOOK: Duration = Duration::from_millis(20);
/// How long an upload may take to start its deployment.
const PATIENCE: Duration = Duration::from_secs(20);

/// The story, and whom it talks to.
pub(super) struct Story {
    client: Client,
    bucket: String,
    api: String,
    s3: String,
    format: Format,
}

impl Story {
    /// A story in the home at `endpoints`.
    pub(super) fn new(endpoints: &Endpoints, format: Format) -> anyhow::Result<Self> {
        let client = Client::at(endpoints)?;
        let Endpoints { bucket, api, s3, .. } = endpoints.clone();
        Ok(Self { client, bucket, api, s3, format })
    }

    /// Tells it: the deployments in the order of their start, rollbacks included.
    pub(super) async fn tell(&self) -> anyhow::Result<Vec<Told>> {
        self.set_up().await?;
        let mut told = Vec::new();
        for (number, words) in [
            (1, "a first revision goes out, one host after the other"),
            (2, "a second one follows"),
            (3, "a third one, whose check fails on the second host"),
        ] {
            self.say(&format!("\n{number}. {words}"));
            let id = self.upload(number).await?;
            let ended = self.watch(&id).await?;
            let rollback = ended.rollback_info.as_ref().and_then(|info| info.rollback_deployment_id.clone());
            told.push(tell_of(&ended, rollback.clone()));
            if let Some(rollback) = rollback {
                self.say("\n   Cutover takes it back by itself");
                told.push(tell_of(&self.watch(&rollback).await?, None));
            }
        }
        Ok(told)
    }

    async fn set_up(&self) -> anyhow::Result<()> {
        let application = CreateApplication { application_name: name(APPLICATION), ..CreateApplication::default() };
        exists_already(self.client.call(&application).await, ErrorName::ApplicationAlreadyExists)?;
        let tag = TagFilter { key: name("home"), value: name("yes"), r#type: name("KEY_AND_VALUE") };
        let settings = GroupSettings {
            deployment_config_name: name("CodeDeployDefault.OneAtATime"),
            on_premises_instance_tag_filters: Some(vec![tag]),
            auto_rollback_configuration: Some(AutoRollbackConfiguration {
                enabled: Some(true),
                events: Some(vec!["DEPLOYMENT_FAILURE".to_owned()]),
            }),
            service_role_arn: name("arn:aws:iam::000000000000:role/home"),
            ..GroupSettings::default()
        };
        let group = CreateDeploymentGroup {
            application_name: name(APPLICATION),
            deployment_group_name: name(GROUP),
            settings,
            ..CreateDeploymentGroup::default()
        };
        exists_already(self.client.call(&group).await, ErrorName::DeploymentGroupAlreadyExists)?;
        let subscription = Subscribe {
            application_name: name(APPLICATION),
            deployment_group_name: name(GROUP),
            bucket: Some(self.bucket.clone()),
            prefix: name("shop/"),
        };
        self.client.call(&subscription).await?;
        self.say(&format!("group {APPLICATION}/{GROUP}: four hosts, deployed to whatever is put under s3://{}/shop/", self.bucket));
        Ok(())
    }

    /// Puts a revision into the bucket and waits for the deployment that it starts.
    async fn upload(&self, number: u32) -> anyhow::Result<String> {
        let key = format!("shop/shop-{number}.zip");
        let put = self.client.put_object(&self.bucket, &key, bundle(number)?).await?;
        self.say(&format!("   put s3://{}/{key}", self.bucket));
        let status = GetGroupStatus { application_name: name(APPLICATION), deployment_group_name: name(GROUP) };
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                let status = self.client.call(&status).await?;
                let uploads = status.uploads.unwrap_or_default();
                let ours = uploads.into_iter().find(|upload| upload.identity == put.version_id);
                match ours.as_ref().and_then(|upload| upload.state) {
                    Some(UploadState::Started) => return anyhow::Ok(ours.and_then(|upload| upload.deployment_id)),
                    Some(UploadState::Refused) => bail!("the demo's own bundle was refused: {:?}", ours.and_then(|u| u.reason)),
                    Some(UploadState::Waiting | UploadState::Superseded) | None => tokio::time::sleep(LOOK).await,
                }
            }
        });
        found.await.context("the upload started no deployment")??.context("the deployment has no id")
    }

    async fn watch(&self, id: &str) -> anyhow::Result<DeploymentInfo> {
        watch::to_the_end(&self.client, id, self.format).await
    }

    /// Says where everything is, and what to try.
    pub(super) fn say_what_next(&self, dir: &Path, went_well: bool, took: Duration) {
        let verdict = if went_well { "all went as it should" } else { "not all went as it should" };
        let dir = dir.display();
        self.say(&format!(
            "\n{verdict}, in {:.1} s\n\n  API      {}\n  bucket   s3://{} at {}\n  hosts    {dir}/hosts/host-1/root/srv/shop\n\n\
             try next\n  cutover --dir {dir} status\n  cutover --dir {dir} env -- aws deploy list-deployments\n  \
             cutover --dir {dir} env -- aws s3 cp app.zip s3://{}/shop/app.zip",
            took.as_secs_f64(),
            self.api,
            self.bucket,
            self.s3,
            self.bucket,
        ));
    }

    fn say(&self, words: &str) {
        // A story that nobody hears is told all the same.
        drop(writeln!(std::io::stderr(), "{words}"));
    }
}

fn name(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn exists_already<T>(answer: Result<T, CallError>, expected: ErrorName) -> anyhow::Result<()> {
    match answer {
        Err(CallError::Refused(refused)) if refused.name == expected => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(()),
    }
}

fn tell_of(info: &DeploymentInfo, rolled_back_by: Option<String>) -> Told {
    let place = info.revision.as_ref().and_then(|revision| revision.s3_location.as_ref());
    let revision = place.map(|place| {
        format!("s3://{}/{}", place.bucket.as_deref().unwrap_or_default(), place.key.as_deref().unwrap_or_default())
    });
    let ms = |time: Option<wire::codedeploy::Seconds>| time.map(engine::Timestamp::from).unwrap_or_default();
    let took = ms(info.complete_time).since_ms(ms(info.create_time));
    Told {
        id: info.deployment_id.clone().unwrap_or_default(),
        revision: revision.unwrap_or_default(),
        status: info.status.map(|status| status.name().to_owned()).unwrap_or_default(),
        seconds: f64::from(u32::try_from(took).unwrap_or(u32::MAX)) / 1000.0,
        rolled_back_by,
    }
}
