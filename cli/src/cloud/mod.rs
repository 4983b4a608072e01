//! A connection to a cloud installation: the file that `cutover connect` writes and every other command reads. It holds
//! no secrets; whose keys sign is found out at each run.

mod aws;
mod keys;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use durable::Disk;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub(crate) use self::aws::settings;
pub(crate) use self::keys::{Keys, KeysError};

/// The form of the file that this version writes.
const FORM: u32 = 1;
/// Its name.
const FILE: &str = "cloud.json";

/// What a stack's outputs say, and how it was connected to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cloud {
    form: u32,
    /// The stack's name.
    pub(crate) stack: String,
    /// Its region.
    pub(crate) region: String,
    /// The profile whose keys sign, if the environment names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<String>,
    /// The URL of the API.
    pub(crate) api_url: String,
    /// The bucket that revisions are pushed to.
    pub(crate) revisions_bucket: String,
}

/// Why a directory's connection cannot be used.
#[derive(Debug, Error)]
pub(crate) enum CloudError {
    /// The file cannot be read or written.
    #[error("`{}` cannot be used: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file has another content than this version writes.
    #[error("`{}` cannot be understood: {reason}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A home lives in the directory.
    #[error("`{}` is the directory of a home", .0.display())]
    Home(PathBuf),
}

impl Cloud {
    /// The connection to a stack.
    pub(crate) fn new(
        stack: String,
        region: String,
        profile: Option<String>,
        api_url: String,
        revisions_bucket: String,
    ) -> Self {
        Self { form: FORM, stack, region, profile, api_url, revisions_bucket }
    }

    /// Reads the connection in `dir`, if there is one.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>, CloudError> {
        let path = file(dir);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CloudError::File { path, source }),
        };
        let damaged = |reason: String| CloudError::Damaged { path: path.clone(), reason };
        let cloud: Self =
            serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        if cloud.form > FORM {
            return Err(damaged("a newer version of `cutover` has written it".to_owned()));
        }
        Ok(Some(cloud))
    }

    /// Writes it into `dir`, whole or not at all. Says where.
    pub(crate) fn write(&self, dir: &Path) -> Result<PathBuf, CloudError> {
        if local::dir::is_home(dir) {
            return Err(CloudError::Home(dir.to_owned()));
        }
        let path = file(dir);
        let written = serde_json::to_vec_pretty(self).map_err(io::Error::other).and_then(|text| {
            fs::create_dir_all(dir)?;
            Disk::default().replace(&path, &text, 0o644)
        });
        match written {
            Ok(()) => Ok(path),
            Err(source) => Err(CloudError::File { path, source }),
        }
    }
}

/// The file of the connection in `dir`.
pub(crate) fn file(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cloud() -> Cloud {
        Cloud::new(
            "shop".to_owned(),
            "eu-central-1".to_owned(),
            None,
            "https://api.example".to_owned(),
            "shop-revisions".to_owned(),
        )
    }

    #[test]
    fn a_connection_is_read_as_it_was_written() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("new");
        assert_eq!(Cloud::read(&dir).unwrap(), None);
        cloud().write(&dir).unwrap();
        assert_eq!(Cloud::read(&dir).unwrap(), Some(cloud()));
    }

    #[test]
    fn a_connection_that_is_damaged_or_newer_is_not_used() {
        let place = tempfile::tempdir().unwrap();
        let newer = Cloud { form: FORM + 1, ..cloud() };
        for text in ["{", "{}", &serde_json::to_string(&newer).unwrap()] {
            fs::write(file(place.path()), text).unwrap();
            assert!(matches!(Cloud::read(place.path()), Err(CloudError::Damaged { .. })), "{text}");
        }
    }

    #[test]
    fn a_homes_directory_takes_no_connection() {
        let place = tempfile::tempdir().unwrap();
        drop(local::dir::Dir::open(place.path()).unwrap());
        assert!(matches!(cloud().write(place.path()), Err(CloudError::Home(_))));
        assert_eq!(Cloud::read(place.path()).unwrap(), None);
    }
}
