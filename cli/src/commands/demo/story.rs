//! The steps of the demo's story, done as a user would do them: over the API and the bucket.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use engine::Timestamp;
use local::dir::Endpoints;
use wire::codedeploy::{
    AutoRollbackConfiguration, CreateApplication, CreateDeploymentGroup, DeploymentInfo, ErrorName,
    GroupSettings, Seconds, TagFilter,
};
use wire::cutover::{GetGroupStatus, Subscribe, UploadInfo, UploadState};

use super::Told;
use super::bundles::write_bundle;
use crate::client::{CallError, Client};
use crate::find::{self, Environment};
use crate::{output, pack, upload, watch};

const APPLICATION: &str = "shop";
const GROUP: &str = "web";

/// How often the story looks whether an upload has started its deployment.
const LOOK: Duration = Duration::from_millis(10);
/// How long an upload may take to start its deployment.
const PATIENCE: Duration = Duration::from_secs(20);

/// The revisions, and what is said of each.
const CHAPTERS: [(u32, &str); 3] = [
    (1, "A first revision goes out, one host after the other."),
    (2, "A second one follows it."),
    (3, "A third one passes on the first host and fails its check on the second."),
];

/// The story, and whom it talks to.
pub(super) struct Story {
    client: Client,
    bucket: String,
}

impl Story {
    /// Tells it in the home at `endpoints`: the deployments in the order of their start, rollbacks included.
    pub(super) async fn tell(endpoints: &Endpoints, dir: &Path) -> anyhow::Result<Vec<Told>> {
        let client = Client::new(find::find(Some(dir), &Environment::default())?)?;
        let story = Self { client, bucket: endpoints.bucket.clone() };
        story.set_up().await?;
        let mut told = Vec::new();
        for (number, words) in CHAPTERS {
            output::note(&format!("\n{words}"));
            let id = story.upload(number).await?;
            let ended = watch::witness(&story.client, &id).await?;
            told.extend(ended.iter().map(tell_of));
        }
        Ok(told)
    }

    async fn set_up(&self) -> anyhow::Result<()> {
        let application = CreateApplication {
            application_name: name(APPLICATION),
            ..CreateApplication::default()
        };
        unless_it_exists(
            self.client.call(&application).await,
            ErrorName::ApplicationAlreadyExists,
        )?;
        let tag =
            TagFilter { key: name("home"), value: name("yes"), r#type: name("KEY_AND_VALUE") };
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
        unless_it_exists(self.client.call(&group).await, ErrorName::DeploymentGroupAlreadyExists)?;
        let subscription = Subscribe {
            application_name: name(APPLICATION),
            deployment_group_name: name(GROUP),
            bucket: Some(self.bucket.clone()),
            prefix: name("shop/"),
        };
        self.client.call(&subscription).await?;
        output::note(&format!(
            "The group {APPLICATION}/{GROUP} has four hosts, and gets whatever is put under s3://{}/shop/.",
            self.bucket
        ));
        Ok(())
    }

    /// Puts a revision into the bucket and waits for the deployment that it starts.
    async fn upload(&self, number: u32) -> anyhow::Result<String> {
        let before: Vec<UploadInfo> = self.uploads().await?;
        let place = tempfile::tempdir()?;
        write_bundle(place.path(), number)?;
        let key = format!("shop/shop-{number}.zip");
        upload::put(self.client.connection(), &key, pack::pack(place.path(), None)?).await?;
        output::note(&format!("  put s3://{}/{key}", self.bucket));
        let is_new =
            |upload: &UploadInfo| before.iter().all(|known| known.identity != upload.identity);
        let started = async {
            loop {
                let ours = self.uploads().await?.into_iter().find(is_new).unwrap_or_default();
                match ours.state {
                    Some(UploadState::Started) => return anyhow::Ok(ours.deployment_id),
                    Some(UploadState::Refused) => {
                        bail!(
                            "the demo's own bundle was refused: {}",
                            ours.reason.unwrap_or_default()
                        )
                    }
                    Some(UploadState::Waiting | UploadState::Superseded) | None => {
                        tokio::time::sleep(LOOK).await;
                    }
                }
            }
        };
        let id = tokio::time::timeout(PATIENCE, started)
            .await
            .context("the upload started no deployment")?;
        id?.context("the upload's deployment has no id")
    }

    async fn uploads(&self) -> Result<Vec<UploadInfo>, CallError> {
        let status = GetGroupStatus {
            application_name: name(APPLICATION),
            deployment_group_name: name(GROUP),
        };
        Ok(self.client.call(&status).await?.uploads.unwrap_or_default())
    }
}

fn name(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn unless_it_exists<T>(answer: Result<T, CallError>, expected: ErrorName) -> Result<(), CallError> {
    match answer {
        Err(error) if !error.is(expected) => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn tell_of(info: &DeploymentInfo) -> Told {
    let place = info
        .revision
        .as_ref()
        .and_then(|revision| revision.s3_location.clone())
        .unwrap_or_default();
    let moment = |time: Option<Seconds>| time.map(Timestamp::from).unwrap_or_default();
    let took_ms = moment(info.complete_time).since_ms(moment(info.create_time));
    Told {
        id: info.deployment_id.clone().unwrap_or_default(),
        revision: format!(
            "s3://{}/{}",
            place.bucket.unwrap_or_default(),
            place.key.unwrap_or_default()
        ),
        status: info.status.map(|status| status.name().to_owned()).unwrap_or_default(),
        seconds: f64::from(u32::try_from(took_ms).unwrap_or(u32::MAX)) / 1000.0,
        rolled_back_by: info
            .rollback_info
            .as_ref()
            .and_then(|info| info.rollback_deployment_id.clone()),
    }
}
