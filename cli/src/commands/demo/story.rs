//! The steps of the demo's story, done as a user would do them: over the API and the bucket.

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use engine::Timestamp;
use local::dir::Endpoints;
use serde::Serialize;
use wire::codedeploy::{
    Alarm, AlarmConfiguration, AutoRollbackConfiguration, CreateApplication, CreateDeploymentGroup,
    DeploymentInfo, DeploymentStyle, ErrorName, GroupSettings, LoadBalancerInfo, Seconds,
    TagFilter, TargetGroupInfo, UpdateDeploymentGroup,
};
use wire::cutover::{
    AddBalancer, CreateLadder, GetGroupStatus, Subscribe, UploadInfo, UploadState,
};

use super::bundles::{Shop, write_bundle};
use crate::client::{CallError, Client};
use crate::commands::load::{Counts, Load};
use crate::find::{self, Environment};
use crate::{output, pack, upload, watch};

const APPLICATION: &str = "shop";
const GROUP: &str = "web";

/// How often the story looks whether an upload has started its deployment.
const LOOK: Duration = Duration::from_millis(10);
/// How long an upload may take to start its deployment.
const PATIENCE: Duration = Duration::from_secs(20);

/// The configuration of the canaries: one host first, which is watched for a while.
const CANARY: &str = "canary";
const CANARY_STEPS: &str = "1 host@1500ms,100%";
/// What stops a canary.
const ALARM: &str = "home:shop error_rate>5% over 2s of 10";

/// The revisions, and what is said of each.
const CHAPTERS: [(u32, &str); 5] = [
    (1, "A first revision goes out, one host after the other."),
    (2, "A second one follows it, and users notice nothing."),
    (3, "A third one passes on the first host and fails its check on the second."),
    (4, "A fourth one goes to a canary first: one host, watched by its error rate."),
    (5, "A fifth one passes every check, and fails its users: the canary is withdrawn."),
];
/// The first chapter with a canary.
const FIRST_CANARY: u32 = 4;

/// The story, and whom it talks to.
pub(super) struct Story {
    client: Client,
    bucket: String,
    /// `ADDRESS:PORT` of the home.
    home: String,
    program: PathBuf,
    /// The shop's port on each host.
    port: u16,
}

/// What was told.
pub(super) struct Ending {
    /// The deployments in the order of their start, rollbacks included.
    pub(super) deployments: Vec<Told>,
    /// What became of the requests.
    pub(super) counts: Counts,
    /// Two more versions, for the reader to deploy.
    pub(super) next: Next,
}

/// One deployment of the story.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Told {
    /// Its id.
    pub(super) id: String,
    /// What it deployed.
    pub(super) revision: String,
    /// CodeDeploy's word.
    pub(super) status: String,
    /// From its creation to its end.
    pub(super) seconds: f64,
    /// The deployment that took it back.
    pub(super) rolled_back_by: Option<String>,
    /// Where users met a bad version: from its first bad response to its last response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seconds_from_first_bad_response_to_traffic_back: Option<f64>,
}

/// Versions that nobody has deployed yet.
pub(super) struct Next {
    /// A directory with one.
    pub(super) app: PathBuf,
    /// A bundle with the one after it.
    pub(super) archive: PathBuf,
}

impl Story {
    /// Tells it in the home at `endpoints`.
    pub(super) async fn tell(endpoints: &Endpoints, dir: &Path) -> anyhow::Result<Ending> {
        let client = Client::new(find::find(Some(dir), &Environment::default())?)?;
        let program = std::env::current_exe().context("this program cannot be found")?;
        // A port that is free here is most likely free on the hosts, which have addresses of their own.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let home = endpoints.api.trim_start_matches("http://").to_owned();
        let story = Self { client, bucket: endpoints.bucket.clone(), home, program, port };
        let url = story.set_up().await?;
        let mut deployments: Vec<Told> = Vec::new();
        let mut load = None;
        for (number, words) in CHAPTERS {
            output::note(&format!("\n{words}"));
            if number == FIRST_CANARY {
                story.want_canaries().await?;
            }
            let id = story.upload(number).await?;
            let ended = watch::witness(&story.client, &id).await?;
            let load: &Load = match &mut load {
                Some(load) => load,
                // Before this there was nothing to visit.
                none => none.insert(Load::begin(&url)?),
            };
            let version = load.counts().versions.get(&number.to_string()).copied();
            let exposed = version.and_then(|version| version.seconds_exposed());
            let mut told: Vec<Told> = ended.iter().map(tell_of).collect();
            if let Some(first) = told.first_mut().filter(|told| told.status != "Succeeded") {
                first.seconds_from_first_bad_response_to_traffic_back = exposed;
            }
            deployments.extend(told);
        }
        let counts = match load {
            Some(load) => load.end().await,
            None => Counts::default(),
        };
        let next = story.leave_more(&dir.join("demo"))?;
        Ok(Ending { deployments, counts, next })
    }

    /// Leaves the next two versions in `place`, in which an earlier demo may have done so.
    fn leave_more(&self, place: &Path) -> anyhow::Result<Next> {
        let newest = CHAPTERS.map(|(number, _)| number).into_iter().max().unwrap_or_default();
        let next = Next { app: place.join("app"), archive: place.join("app.zip") };
        if place.exists() {
            fs::remove_dir_all(place)?;
        }
        fs::create_dir_all(&next.app)?;
        write_bundle(&next.app, newest + 1, &self.shop())?;
        let one_more = tempfile::tempdir()?;
        write_bundle(one_more.path(), newest + 2, &self.shop())?;
        let mut packed = pack::pack(one_more.path(), None)?.file;
        io::copy(&mut packed, &mut File::create(&next.archive)?)?;
        Ok(next)
    }

    fn shop(&self) -> Shop<'_> {
        Shop { program: &self.program, port: self.port, home: &self.home }
    }

    /// Lets each deployment reach one host first, and be stopped by the error rate that users see there.
    async fn want_canaries(&self) -> anyhow::Result<()> {
        let ladder = CreateLadder {
            deployment_config_name: name(CANARY),
            steps: name(CANARY_STEPS),
            minimum_healthy_hosts: None,
        };
        unless_it_exists(
            self.client.call(&ladder).await,
            ErrorName::DeploymentConfigAlreadyExists,
        )?;
        let settings = GroupSettings {
            deployment_config_name: name(CANARY),
            alarm_configuration: Some(AlarmConfiguration {
                enabled: Some(true),
                alarms: Some(vec![Alarm { name: name(ALARM) }]),
                ..AlarmConfiguration::default()
            }),
            ..GroupSettings::default()
        };
        let change = UpdateDeploymentGroup {
            application_name: name(APPLICATION),
            current_deployment_group_name: name(GROUP),
            settings,
            ..UpdateDeploymentGroup::default()
        };
        self.client.call(&change).await?;
        output::note(&format!("  steps {CANARY_STEPS}, alarm {ALARM}"));
        Ok(())
    }

    /// Makes the application, its group and its balancer; gives back the balancer's URL.
    async fn set_up(&self) -> anyhow::Result<String> {
        let balancer = AddBalancer {
            name: name(APPLICATION),
            target_port: Some(self.port),
            health_path: name("/health"),
            ..AddBalancer::default()
        };
        let balancer = self.client.call(&balancer).await?.balancer.unwrap_or_default();
        let url = balancer.url.context("the balancer has no URL")?;
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
                events: Some(vec![
                    "DEPLOYMENT_FAILURE".to_owned(),
                    "DEPLOYMENT_STOP_ON_ALARM".to_owned(),
                ]),
            }),
            deployment_style: Some(DeploymentStyle {
                deployment_type: name("IN_PLACE"),
                deployment_option: name("WITH_TRAFFIC_CONTROL"),
            }),
            load_balancer_info: Some(LoadBalancerInfo {
                target_group_info_list: Some(vec![TargetGroupInfo { name: name("home:shop") }]),
                ..LoadBalancerInfo::default()
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
            "The group {APPLICATION}/{GROUP} has four hosts behind {url}, and gets whatever is put under s3://{}/shop/.",
            self.bucket
        ));
        Ok(url)
    }

    /// Puts a revision into the bucket and waits for the deployment that it starts.
    async fn upload(&self, number: u32) -> anyhow::Result<String> {
        let before: Vec<UploadInfo> = self.uploads().await?;
        let place = tempfile::tempdir()?;
        write_bundle(place.path(), number, &self.shop())?;
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
        seconds_from_first_bad_response_to_traffic_back: None,
        rolled_back_by: info
            .rollback_info
            .as_ref()
            .and_then(|info| info.rollback_deployment_id.clone()),
    }
}
