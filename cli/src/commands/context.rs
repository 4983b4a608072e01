//! What every command is given besides its own arguments.

use std::path::PathBuf;

use crate::client::Client;
use crate::failure::Failure;
use crate::find::{self, Environment};
use crate::output::Format;

/// What every command is given besides its own arguments.
pub(crate) struct Context {
    /// `--dir`.
    pub(crate) dir: Option<PathBuf>,
    /// `--format`.
    pub(crate) format: Format,
    /// What the environment says.
    pub(super) environment: Environment,
}

impl Context {
    /// With what the environment says as it is now.
    pub(super) fn new(dir: Option<PathBuf>, format: Format) -> Self {
        Self { dir, format, environment: Environment::read() }
    }

    /// A client of the Cutover that the command is meant for.
    pub(crate) fn connect(&self) -> Result<Client, Failure> {
        Ok(Client::new(find::find(self.dir.as_deref(), &self.environment)?)?)
    }
}
