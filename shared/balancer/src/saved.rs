//! The file in which a home keeps its balancers, so that a restart finds them with their ports, hosts and shares.

use std::io;
use std::path::Path;

use durable::Disk;
use engine::DeploymentId;
use serde::{Deserialize, Serialize};

use super::set_up_error::SetUpError;
use super::settings::Settings;

/// The name of the file in a home's directory.
const FILE: &str = "balancers.json";
/// The layout that this version writes.
const LAYOUT: u32 = 1;

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Saved {
    layout: u32,
    pub(super) balancers: Vec<SavedBalancer>,
}

/// One balancer as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedBalancer {
    /// With the port that it listens on.
    pub(super) settings: Settings,
    pub(super) groups: Vec<SavedGroup>,
    /// The group that a cohort gets.
    pub(super) new: Option<String>,
}

/// One target group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedGroup {
    pub(super) name: String,
    pub(super) percent: u8,
    pub(super) hosts: Vec<SavedHost>,
}

/// One host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedHost {
    pub(super) name: String,
    pub(super) version: DeploymentId,
    pub(super) wanted: SavedWanted,
}

/// Whether a host is to get traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SavedWanted {
    In,
    Out,
}

impl Saved {
    /// What the file in `dir` says; nothing if there is none.
    pub(super) fn read(dir: &Path) -> Result<Self, SetUpError> {
        let path = dir.join(FILE);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(SetUpError::File { path, source }),
        };
        let saved: Self = serde_json::from_slice(&text)
            .map_err(|source| SetUpError::Damaged { path: path.clone(), source })?;
        if saved.layout > LAYOUT {
            return Err(SetUpError::Newer { path, found: saved.layout });
        }
        Ok(saved)
    }

    /// Writes the file whole or not at all, and returns when it would survive a loss of power.
    pub(super) async fn write(&self, dir: &Path) -> Result<(), SetUpError> {
        let path = dir.join(FILE);
        let saved = Self { layout: LAYOUT, ..self.clone() };
        let place = path.clone();
        let written = tokio::task::spawn_blocking(move || {
            let text = serde_json::to_vec_pretty(&saved).map_err(io::Error::other)?;
            Disk::default().replace(&place, &text, 0o600)
        });
        let written = written.await.map_err(io::Error::other).and_then(|written| written);
        written.map_err(|source| SetUpError::File { path, source })
    }

    /// The balancer and place of a target group.
    pub(super) fn group(&mut self, name: &str) -> Option<&mut SavedGroup> {
        let mut groups = self.balancers.iter_mut().flat_map(|balancer| &mut balancer.groups);
        groups.find(|group| group.name == name)
    }
}

impl SavedBalancer {
    /// A balancer that was never used: all traffic goes to its first group.
    pub(super) fn new(settings: Settings) -> Self {
        let percents = [100, 0];
        let group = |(name, percent)| SavedGroup { name, percent, hosts: Vec::new() };
        let groups = settings.groups().into_iter().zip(percents).map(group).collect();
        Self { settings, groups, new: None }
    }
}

impl SavedGroup {
    /// Notes that a host is to get traffic.
    pub(super) fn admit(&mut self, host: &str, version: &DeploymentId) {
        self.hosts.retain(|known| known.name != host);
        let (name, version) = (host.to_owned(), version.clone());
        self.hosts.push(SavedHost { name, version, wanted: SavedWanted::In });
    }

    /// Notes that hosts are to get none.
    pub(super) fn drain(&mut self, hosts: &[String]) {
        for host in self.hosts.iter_mut().filter(|host| hosts.contains(&host.name)) {
            host.wanted = SavedWanted::Out;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_file_is_replaced_whole_and_a_newer_one_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(Saved::read(home.path()).unwrap(), Saved::default());
        let mut saved = Saved::default();
        saved.balancers.push(SavedBalancer::new(Settings::new("web", 80)));
        saved.group("web").unwrap().admit("host-1", &"d-AAAAAAAAA".parse().unwrap());
        std::fs::write(home.path().join("balancers.json.new"), "left by a crash").unwrap();
        saved.write(home.path()).await.unwrap();
        assert_eq!(Saved::read(home.path()).unwrap().balancers, saved.balancers);
        let file = home.path().join(FILE);
        std::fs::write(&file, r#"{"layout":2,"balancers":[]}"#).unwrap();
        let error = Saved::read(home.path()).unwrap_err();
        assert!(matches!(error, SetUpError::Newer { found: 2, .. }), "{error}");
        std::fs::write(&file, "{").unwrap();
        let error = Saved::read(home.path()).unwrap_err();
        assert!(matches!(error, SetUpError::Damaged { .. }), "{error}");
    }
}
