//! What a start adds to the hosts that there were, and how it is taken out again.

use std::collections::BTreeSet;
use std::path::PathBuf;

use control::Control;

use super::error::HomeError;
use super::roster;
use crate::dir;
use crate::hosts::layout::{Connection, HostFiles, HostNumber};
use crate::hosts::process::{self, ProcessError};

/// What a start has added to the hosts that there were.
#[derive(Default)]
pub(super) struct Added {
    /// Those that did not belong to the home.
    hosts: Vec<HostFiles>,
    /// Those of them that had no directory either.
    made: Vec<PathBuf>,
    /// Those whose process was there before.
    found: BTreeSet<HostNumber>,
}

impl Added {
    /// Takes note of a host before anything is done with it.
    pub(super) fn note(&mut self, files: &HostFiles) -> Result<(), HomeError> {
        if process::find(files)?.is_some() {
            self.found.insert(files.number());
        }
        if Connection::read(files)?.is_none() {
            self.hosts.push(files.clone());
            if !files.dir().exists() {
                self.made.push(files.dir().to_owned());
            }
        }
        Ok(())
    }

    /// Whether a host's process was there before.
    pub(super) fn has_found(&self, host: HostNumber) -> bool {
        self.found.contains(&host)
    }

    /// Takes the hosts out of the home again.
    pub(super) async fn undo(&self, control: &Control) -> Result<(), HomeError> {
        for files in &self.hosts {
            roster::deregister(control, files.number().to_string()).await?;
            Connection::remove(files)?;
        }
        for path in &self.made {
            let removed = std::fs::remove_dir_all(path);
            if let Err(source) = removed.or_else(dir::unless_missing) {
                return Err(ProcessError::File { path: path.clone(), source }.into());
            }
        }
        Ok(())
    }
}
