//! A home to be measured: a process of its own, and what a user does with it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use local::dir::Endpoints;
use wire::codedeploy::{
    CreateApplication, CreateDeployment, CreateDeploymentGroup, DeploymentInfo, DeploymentStatus,
    GetDeployment, GroupSettings, RevisionLocation, S3Location, TagFilter, UpdateDeploymentGroup,
};
use wire::cutover::{GetGroupStatus, Subscribe};

use crate::client::Client;
use crate::find::{self, Environment};
use crate::pack::Packed;
use crate::upload;

/// How often the end of a deployment is looked for; figures that end with it are at most this much too high.
const LOOK: Duration = Duration::from_millis(10);
/// How long anything may take at all.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running `cutover up`, ended when it is dropped.
pub(super) struct BenchHome {
    pub(super) client: Client,
    process: Child,
    place: tempfile::TempDir,
}

impl BenchHome {
    /// Starts it, with a group of all its hosts that gets what is put under `app/`.
    pub(super) async fn start(program: &Path, hosts: u8) -> anyhow::Result<Self> {
        let place = tempfile::Builder::new().prefix("cutover-bench-").tempdir()?;
        let dir = place.path().join("home");
        let process = Command::new(program)
            .arg("--dir")
            .arg(&dir)
            .args(["up", "--port", "0", "--hosts", &hosts.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("`{}` cannot be started", program.display()))?;
        let began = Instant::now();
        while Endpoints::read(&dir)?.is_none() {
            ensure!(began.elapsed() < PATIENCE, "the home does not start");
            tokio::time::sleep(LOOK).await;
        }
        let client = Client::new(find::find(Some(&dir), &Environment::default())?)?;
        let home = Self { client, process, place };
        home.set_up().await?;
        Ok(home)
    }

    /// Its directory, with all links resolved: what its hosts see it as.
    pub(super) fn dir(&self) -> anyhow::Result<PathBuf> {
        Ok(self.place.path().join("home").canonicalize()?)
    }

    /// A directory beside it.
    pub(super) fn scratch(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.place.path().join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    pub(super) fn process_id(&self) -> u32 {
        self.process.id()
    }

    async fn set_up(&self) -> anyhow::Result<()> {
        let application =
            CreateApplication { application_name: text("app"), ..CreateApplication::default() };
        self.client.call(&application).await?;
        let tag =
            TagFilter { key: text("home"), value: text("yes"), r#type: text("KEY_AND_VALUE") };
        let settings = GroupSettings {
            deployment_config_name: text("CodeDeployDefault.OneAtATime"),
            on_premises_instance_tag_filters: Some(vec![tag]),
            service_role_arn: text("arn:aws:iam::000000000000:role/home"),
            ..GroupSettings::default()
        };
        let group = CreateDeploymentGroup {
            application_name: text("app"),
            deployment_group_name: text("all"),
            settings,
            ..CreateDeploymentGroup::default()
        };
        self.client.call(&group).await?;
        let subscribe = Subscribe {
            application_name: text("app"),
            deployment_group_name: text("all"),
            bucket: text("revisions"),
            prefix: text("app/"),
        };
        self.client.call(&subscribe).await?;
        Ok(())
    }

    /// Puts a bundle under `key` and says when the answer came.
    pub(super) async fn put(&self, key: &str, packed: Packed) -> anyhow::Result<Instant> {
        upload::put(self.client.connection(), key, packed).await?;
        Ok(Instant::now())
    }

    /// Waits until the group has nothing to do any more, and gives its newest deployment, which must have succeeded.
    pub(super) async fn settled(&self, not: Option<&str>) -> anyhow::Result<DeploymentInfo> {
        let status =
            GetGroupStatus { application_name: text("app"), deployment_group_name: text("all") };
        let began = Instant::now();
        loop {
            let found = self.client.call(&status).await?;
            if let (None, Some(id)) =
                (&found.active_deployment_id, &found.last_attempted_deployment_id)
                && not != Some(id.as_str())
            {
                return self.succeeded(id).await;
            }
            ensure!(began.elapsed() < PATIENCE, "the upload starts no deployment that ends");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Starts a deployment of what lies under `key`, and waits for its success.
    pub(super) async fn deploy(&self, key: &str, kind: &str) -> anyhow::Result<DeploymentInfo> {
        let id = self.begin(key, kind).await?;
        self.succeeded(&id).await
    }

    /// Changes the group.
    pub(super) async fn change(&self, settings: GroupSettings) -> anyhow::Result<()> {
        let change = UpdateDeploymentGroup {
            application_name: text("app"),
            current_deployment_group_name: text("all"),
            settings,
            ..UpdateDeploymentGroup::default()
        };
        self.client.call(&change).await?;
        Ok(())
    }

    /// Starts a deployment of what lies under `key`; its id.
    pub(super) async fn begin(&self, key: &str, kind: &str) -> anyhow::Result<String> {
        let place = S3Location {
            bucket: text("revisions"),
            key: text(key),
            bundle_type: text(kind),
            ..S3Location::default()
        };
        let request = CreateDeployment {
            application_name: text("app"),
            deployment_group_name: text("all"),
            file_exists_behavior: text("OVERWRITE"),
            revision: Some(RevisionLocation {
                revision_type: text("S3"),
                s3_location: Some(place),
                ..RevisionLocation::default()
            }),
            ..CreateDeployment::default()
        };
        Ok(self.client.call(&request).await?.deployment_id.unwrap_or_default())
    }

    async fn succeeded(&self, id: &str) -> anyhow::Result<DeploymentInfo> {
        let info = self.ended(id).await?;
        let is_good = info.status == Some(DeploymentStatus::Succeeded);
        ensure!(is_good, "deployment {id} did not succeed: {:?}", info.error_information);
        Ok(info)
    }

    /// Waits for the end of a deployment, and of its rollback if it has one.
    pub(super) async fn ended(&self, id: &str) -> anyhow::Result<DeploymentInfo> {
        let began = Instant::now();
        let (mut id, mut first) = (id.to_owned(), None);
        loop {
            let get = GetDeployment { deployment_id: Some(id.clone()) };
            let info = self.client.call(&get).await?.deployment_info.unwrap_or_default();
            match info.status {
                Some(
                    DeploymentStatus::Succeeded
                    | DeploymentStatus::Failed
                    | DeploymentStatus::Stopped,
                ) => {
                    let rollback = info.rollback_info.as_ref();
                    let rollback = rollback.and_then(|info| info.rollback_deployment_id.clone());
                    let told = first.get_or_insert(info).clone();
                    match rollback {
                        Some(rollback) => id = rollback,
                        None => return Ok(told),
                    }
                }
                Some(
                    DeploymentStatus::Created
                    | DeploymentStatus::Queued
                    | DeploymentStatus::InProgress
                    | DeploymentStatus::Baking
                    | DeploymentStatus::Ready,
                )
                | None => {}
            }
            ensure!(began.elapsed() < PATIENCE, "deployment {id} does not end");
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for BenchHome {
    fn drop(&mut self) {
        let id = self.process.id().to_string();
        // Asked, so that it ends its hosts too.
        drop(Command::new("kill").args(["-TERM", &id]).status());
        drop(self.process.wait());
    }
}

/// Writes the files of a bundle: those with a shebang can be executed.
pub(super) fn write_bundle(dir: &Path, files: &[(&str, &str)]) -> anyhow::Result<()> {
    for (name, content) in files {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap_or(dir))?;
        fs::write(&path, content)?;
        let mode = if content.starts_with("#!") { 0o755 } else { 0o644 };
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Runs a line of shell and says how long it took, in milliseconds.
pub(super) fn shell(script: &str, args: &[&Path]) -> anyhow::Result<f64> {
    let began = Instant::now();
    let status = Command::new("sh").args(["-ec", script, "sh"]).args(args).status()?;
    ensure!(status.success(), "`{script}` failed: it needs unzip, tar and cp ({status})");
    Ok(ms(began.elapsed()))
}

/// A time in milliseconds.
pub(super) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

pub(super) fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}
