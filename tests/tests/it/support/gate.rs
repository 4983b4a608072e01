//! What a test and the hooks of its hosts tell each other: files in `/dev/shm`, which hosts share with the machine.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::wait_for;

/// A directory that hooks can reach.
pub(crate) struct Gate(TempDir);

impl Gate {
    /// One that is closed.
    pub(crate) fn closed() -> Self {
        let place = tempfile::tempdir_in("/dev/shm").unwrap();
        // Hosts may run hooks as other users.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(place.path(), mode).unwrap();
        Self(place)
    }

    /// A file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Lines of shell: notes that a hook has come, and waits until the gate is open.
    pub(crate) fn pass(&self) -> String {
        let place = self.0.path().display();
        format!(
            "echo \"$DEPLOYMENT_ID $HOST_ADDRESS\" >>{place}/came\n\
             while ! [ -e {place}/open ]; do sleep 0.05; done"
        )
    }

    /// Lets everything through.
    pub(crate) fn open(&self) {
        fs::write(self.file("open"), "").unwrap();
    }

    /// Which hooks have come: a deployment's id and a host's address each.
    pub(crate) fn came(&self) -> Vec<String> {
        let text = fs::read_to_string(self.file("came")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until so many hooks have come.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) {
        wait_for(&format!("{count} hooks to come"), || (self.came().len() >= count).then_some(()));
    }
}
